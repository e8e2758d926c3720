"""The index and its lists, one after another, as each client asks for them."""

from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from proxy.doctor.checks import documents, extras, lists, verdicts
from proxy.doctor.checks.documents import Document
from proxy.doctor.clients import Client, Judge, Kind
from proxy.doctor.exchange import Exchange, Trouble
from proxy.doctor.findings import Finding, Severity
from proxy.doctor.steps.context import Context
from proxy.readable import duration

_ABSENT = frozenset({404, 410})
_OK = 200
_HOPELESS = frozenset(
    {Trouble.NAME, Trouble.REFUSED, Trouble.UNREACHABLE, Trouble.CONNECT_TIMEOUT, Trouble.TLS, Trouble.PROXY}
)
_CLOCK_S = 300.0
_MOST_LISTS = 100
_DEEPEST = 3
_LONG = 0.5
"""Of what a client waits for: from then on it is told."""
_UNSIGNED_ENTRIES = ("streams/v1/index2.json", "streams/v1/index.json")

Lists = list[dict[str, Any]]


async def read_all(context: Context) -> Lists | None:
    """Read the index and all lists that the client reads; None when nothing answers at all."""
    pasted = await _try_pasted(context)
    found = await _index(context)
    if found is None:
        return None
    document, exchange = found
    context.found(_clock(context, exchange))
    if document.content is None:
        return []
    context.found(pasted)  # Where nothing works, it would say the same again.
    contents: Lists = []
    await _lists_of(context, document, contents, depth=0)
    _judge_pace(context, context.documents_s)
    return contents


async def _try_pasted(context: Context) -> list[Finding]:
    """Ask for the path pasted to the URL, as python-simplestreams does where there is no slash between."""
    client, url = context.client, context.url
    if client.kind in {Kind.LXD, Kind.INCUS} and url.endswith("/"):
        doubled = f"{context.base}//{client.entries[0]}"
        exchange = await context.look(doubled)
        if exchange.status != _OK and exchange.trouble is None:
            facts = {"url": exchange.url, "status": exchange.status}
            return [context.voice.note("doubled-slash", **facts)]
    if not client.is_glued or url.rstrip("/") != context.base:
        return []
    if not urlsplit(context.base).path:
        if not url.endswith("/"):
            pasted = f"{context.shown_url}{client.entries[0]}"
            return [context.voice.warning("glued-host", url=pasted)]
        return []
    exchange = await context.look(f"{context.base}{client.entries[0]}")
    is_used = client.is_family or not url.endswith("/")
    return list(extras.of_glued(context.voice, exchange, is_used=is_used))


async def _index(context: Context) -> tuple[Document, Exchange] | None:
    """Find the index, by the first entry that is there."""
    client = context.client
    entries = list(client.entries)
    if client.kind is Kind.JUJU:
        entries += _UNSIGNED_ENTRIES
    exchange, subject = None, "the index"
    for number, entry in enumerate(entries):
        subject = f"the index {entry}"
        exchange = (await context.fetch(f"{context.base}/{entry}"))[-1]
        if exchange.status not in _ABSENT or number + 1 == len(entries):
            if number >= len(client.entries) and exchange.status == _OK:
                context.found([context.voice.warning("fell-back", url=exchange.url)])
                context.client = replace(client, judge=Judge.NOBODY)
            break
    assert exchange is not None  # noqa: S101 - every client has an entry
    if exchange.status in _ABSENT:
        subject = f"the index {client.entries[-1]}"
    document = await _document(context, subject, exchange)
    context.found(document.findings)
    if exchange.trouble in _HOPELESS:
        return None
    if document.content is not None:
        context.found(lists.of_index(context.client, context.voice, document, context.now()))
    return document, exchange


async def _lists_of(context: Context, index: Document, contents: Lists, depth: int) -> None:
    client = context.client
    seen: set[str] = set()
    for name, entry in lists.entries_of(client, index.content or {})[:_MOST_LISTS]:
        path = entry["path"]
        if path in seen or not context.asker.has_time:
            continue
        seen.add(path)
        url = f"{context.base}/{path}"
        subject = f"the list {path}"
        if not context.is_within(url):
            context.found([context.voice.fault("item-path", path=path, url=url)])
            continue
        exchange = (await context.fetch(url))[-1]
        kind = entry.get("format") or "products:1.0"
        if client.kind is Kind.TOOL and kind not in {"products:1.0", "index:1.0"}:
            context.found(_received(context, subject, exchange).findings)
            continue
        document = await _document(context, subject, exchange)
        context.found(document.findings)
        if document.content is None:
            continue
        context.found(lists.of_list(client, context.voice, document, (name, entry), context.now()))
        if document.content.get("format") == "index:1.0" and depth < _DEEPEST:
            await _lists_of(context, document, contents, depth + 1)
        else:
            contents.append(document.content)


async def _document(context: Context, subject: str, exchange: Exchange) -> Document:
    """Return what a reply says, judged as the client judges it; its findings are in it."""
    client, voice = context.client, context.voice
    document = _received(context, subject, exchange)
    if any(one.severity is Severity.FAULT for one in document.findings) and not document.raw:
        return document
    if client.is_signed:
        await _judged(context, document)
    documents.read(client, voice, document)
    return document


def _received(context: Context, subject: str, exchange: Exchange) -> Document:
    return documents.received(context.client, context.voice, subject, exchange, context.host, context.bounds)


async def _judged(context: Context, document: Document) -> None:
    voice, judge = context.voice, context.judge
    facts = {"subject": document.subject, "url": document.url}
    if judge is None:
        return
    verdict = await judge.judge(document.raw)
    if verdict is None:
        detail = "there is neither gpgv nor gpg here, or it did not end"
        document.findings.append(voice.warning("unjudged", **facts, detail=detail))
        return
    keyring = str(judge.keyring.path)
    now = context.now()
    document.findings += verdicts.of_signature(context.client, voice, document, verdict, keyring, now)


def _clock(context: Context, exchange: Exchange) -> list[Any]:
    try:
        said = parsedate_to_datetime(exchange.header("Date")).timestamp()
    except (ValueError, TypeError, OverflowError):
        return []
    # A cache repeats the date of what it holds, or gives its own, beside the age in either case.
    age = exchange.header("Age").strip()
    repeated_s = said + (int(age[:12]) if age.isdigit() else 0)
    by_s = min(abs(moment_s - context.now()) for moment_s in (said, repeated_s))
    if by_s <= _CLOCK_S:
        return []
    return [context.voice.warning("clock", by=duration(by_s), date=exchange.header("Date"), url=exchange.url)]


def _judge_pace(context: Context, took_s: float) -> None:
    limit_s = context.client.pass_s
    if limit_s is None:
        return
    facts = {"seconds": round(took_s, 1), "limit": limit_s, "url": context.shown_url}
    if took_s >= limit_s:
        context.found([context.voice.fault("pass-slow", **facts)])
    elif took_s >= limit_s * _LONG:
        context.found([context.voice.warning("pass-long", **facts)])


def split_entry(client: Client, url: str) -> tuple[str, str]:
    """Return a URL without the index that it ends with, and that index; "" where it names none."""
    if client.kind in {Kind.MAAS, Kind.MAAS_MODELS, Kind.TOOL}:
        before, found, name = url.rpartition("streams/v1/")
        if found and "/" not in name and name.endswith((".json", ".sjson")):
            return before, found + name
    return url, ""
