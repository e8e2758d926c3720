"""What single clients do besides fetching: ranges, HEAD, plain http, pasted paths, stray chunks. Pure."""

import re
from collections.abc import Iterator

from proxy.doctor.checks.replies import TRANSIENT
from proxy.doctor.clients import Client
from proxy.doctor.exchange import Exchange, Trouble
from proxy.doctor.findings import Finding
from proxy.doctor.wanted import Wanted
from proxy.doctor.wording import Voice

_OK, _PARTIAL, _ABSENT, _BAD = 200, 206, 404, 400
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_SLOW_S = 5.0
_WITHOUT_RANGES = "HTTP/1.0"


def of_range(
    client: Client, voice: Voice, one: Wanted, exchange: Exchange, start: int, wanted: bytes | None
) -> Iterator[Finding]:
    """Say how a request for the bytes from `start` on was answered; `wanted` are they, if known."""
    facts = {"subject": one.path, "url": exchange.url}
    if exchange.trouble is Trouble.BOUND:
        return
    if exchange.status == _OK:
        claims = "bytes" in exchange.header("Accept-Ranges").lower()
        # HTTP/1.0 has no ranges: such a server is simple throughout, and small trees never need them.
        is_able = claims or exchange.version != _WITHOUT_RANGES
        say = voice.note if not client.resumes else voice.fault if is_able else voice.warning
        yield say("range-ignored", **facts, though=", though it says Accept-Ranges: bytes" if claims else "")
    elif exchange.status != _PARTIAL:
        say = voice.fault if client.resumes else voice.note
        status = exchange.status or exchange.detail
        yield say("range-denied", **facts, status=status, reason=exchange.reason)
    elif problem := _range_problem(one, exchange, start, wanted):
        say = voice.fault if client.resumes else voice.warning
        yield say("range-wrong", **facts, detail=problem)


def _range_problem(one: Wanted, exchange: Exchange, start: int, wanted: bytes | None) -> str:
    said = exchange.header("Content-Range")
    match = _CONTENT_RANGE.fullmatch(said.strip())
    if match is None:
        return f"Content-Range is {said or 'missing'}"
    first, last, total = int(match[1]), int(match[2]), match[3]
    problem = ""
    if first != start:
        problem = f"it begins with byte {first}, asked for {start}"
    elif one.size_bytes is not None and total not in {"*", str(one.size_bytes)}:
        problem = f"it is said to be of {total} bytes, and the list says {one.size_bytes}"
    elif exchange.trouble is not None:
        problem = exchange.detail
    elif exchange.is_whole and exchange.body_bytes != last - first + 1:
        problem = f"{exchange.body_bytes} bytes came for {said}"
    elif wanted is not None and exchange.is_whole and exchange.body != wanted:
        problem = "its bytes are not those of the whole file"
    return problem


def of_head(
    client: Client, voice: Voice, subject: str, head: Exchange, get_bytes: int | None
) -> Iterator[Finding]:
    """Say how HEAD was answered."""
    facts = {"subject": subject, "url": head.url}
    if head.trouble is Trouble.BOUND:
        return
    if head.trouble is not None or head.status >= _BAD:
        say = voice.fault if client.asks_head else voice.note
        yield say("head-failed", **facts, status=head.status or "", reason=head.reason, detail=head.detail)
    elif head.declared_bytes is not None and get_bytes is not None and head.declared_bytes != get_bytes:
        yield voice.warning("head-differs", **facts, head=head.declared_bytes, get=get_bytes)


def of_glued(voice: Voice, exchange: Exchange, *, is_used: bool) -> Iterator[Finding]:
    """Say how the pasted path was answered, which is to be absent; `is_used` if the client really asks so."""
    facts = {"url": exchange.url}
    say = voice.fault if is_used else voice.warning
    if exchange.trouble is Trouble.BOUND:
        return
    if exchange.trouble is not None:
        yield say("glued", **facts, detail=exchange.detail)
    elif exchange.status != _ABSENT:
        yield say("glued", **facts, detail=f"it gets {exchange.status} {exchange.reason}")
    elif exchange.took_s > _SLOW_S:
        yield voice.warning("glued", **facts, detail=f"404 came after {exchange.took_s:.1f} s")


def of_plain_http(voice: Voice, exchange: Exchange) -> Iterator[Finding]:
    """Say whether the attempt by plain http fails fast, if it fails."""
    if exchange.trouble in {Trouble.SILENT, Trouble.STALLED, Trouble.SLOW, Trouble.CONNECT_TIMEOUT}:
        yield voice.warning("http-hangs", url=exchange.url, detail=exchange.detail)
    elif exchange.took_s > _SLOW_S:
        yield voice.warning("http-hangs", url=exchange.url, detail=f"it took {exchange.took_s:.1f} s")


def of_stray_chunk(voice: Voice, exchange: Exchange, *, is_whole_client: bool) -> Iterator[Finding]:
    """Say what a request gets that follows a stray chunk on its connection."""
    again = exchange.again
    if again is None or (again.status == _OK and again.trouble is None):
        return
    got = f"{again.status} {again.reason}" if again.status else again.detail
    say = voice.warning if is_whole_client else voice.note
    yield say("stray-chunk", url=exchange.url, detail=got)


def is_crowded(exchange: Exchange) -> bool:
    """Whether a request failed as it does where too many are made at once."""
    is_closed = exchange.trouble in {Trouble.CLOSED, Trouble.REFUSED, Trouble.CONNECT_TIMEOUT}
    return is_closed or exchange.status in TRANSIENT


def of_crowd(
    client: Client, voice: Voice, subject: str, crowded: Exchange, alone: Exchange, count: int
) -> Iterator[Finding]:
    """Say that a request which failed beside others works alone."""
    if is_crowded(crowded) and alone.status == _OK and alone.trouble is None:
        got = f"{crowded.status} {crowded.reason}" if crowded.status else crowded.detail
        facts = {"subject": subject, "count": count, "crowd": client.crowd, "url": crowded.url}
        yield voice.fault("crowd", **facts, detail=got)
