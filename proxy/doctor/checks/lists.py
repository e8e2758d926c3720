"""What an index and its lists say, by themselves and beside each other. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from proxy.doctor.checks.documents import Document
from proxy.doctor.clients import Client, Kind
from proxy.doctor.findings import Finding
from proxy.doctor.models import images, maas, structures
from proxy.doctor.models.fields import misfits
from proxy.doctor.wording import Voice
from proxy.readable import date, duration
from proxy.simplestreams.parse import parse_updated

_INDEX, _PRODUCTS = "index:1.0", "products:1.0"
_OLD_S = 45 * 24 * 3600.0
_AHEAD_S = 300.0
_SLACK_S = 120.0
"""Who publishes by a script stamps lists and index one after the other."""
_MOST_TOLD = 3
_MAAS_KINDS = frozenset({Kind.MAAS, Kind.MAAS_MODELS})
_BLIND_TO_FORMATS = frozenset({Kind.LXD, Kind.INCUS, Kind.MULTIPASS})
_Misfits = Callable[[dict[str, Any]], Iterator[str]]
_INDEX_MISFITS: Mapping[Kind, _Misfits] = {
    Kind.MAAS_MODELS: maas.index_misfits,
    Kind.BUILDER: images.builder_index_misfits,
    Kind.LXD: partial(misfits, wanted=structures.INDEX),
    Kind.INCUS: partial(misfits, wanted=structures.INDEX),
    Kind.JUJU: partial(misfits, wanted=structures.JUJU_INDEX),
}
_LIST_MISFITS: Mapping[Kind, _Misfits] = {
    Kind.MAAS_MODELS: maas.list_misfits,
    Kind.BUILDER: images.builder_misfits,
    Kind.MULTIPASS: images.multipass_misfits,
    Kind.LXD: partial(misfits, wanted=structures.IMAGES),
    Kind.INCUS: partial(misfits, wanted=structures.IMAGES),
    Kind.JUJU: partial(misfits, wanted=structures.JUJU),
}
"""What does not fit the structures of those clients that have them; others need one object only."""


def of_index(client: Client, voice: Voice, document: Document, now: float) -> Iterator[Finding]:
    """Say what the client makes of an index that is JSON."""
    content = document.content or {}
    facts = {"subject": document.subject, "url": document.url}
    is_named = client.kind is not Kind.MAAS_MODELS or "format" in content
    if content.get("format") != _INDEX and is_named and client.kind not in _BLIND_TO_FORMATS:
        yield voice.fault("format", **facts, format=content.get("format"), wanted=_INDEX)
    if problem := _first_few(_index_misfits(client, content)):
        yield voice.fault("index-misfit", **facts, detail=problem)
    elif not entries_of(client, content):
        yield voice.fault(
            "no-lists" if not content.get("index") else "nothing", **facts, detail=_types(content)
        )
    yield from _of_age(voice, document, now)


def of_list(
    client: Client, voice: Voice, document: Document, entry: tuple[str, dict[str, Any]], now: float
) -> Iterator[Finding]:
    """Say what the client makes of a list, and whether it is the one that the index names."""
    content = document.content or {}
    facts = {"subject": document.subject, "url": document.url}
    name, said = entry
    wanted = said.get("format") or _PRODUCTS
    if content.get("format") != wanted and client.kind not in _BLIND_TO_FORMATS:
        yield voice.fault("format", **facts, format=content.get("format"), wanted=wanted)
        return
    if problem := _first_few(_list_misfits(client, content)):
        if client.is_family and _is_for_older_maas(content):
            yield voice.warning("list-unmodelled", **facts, detail=problem)
            return
        consequence = ", so that all of the source fails" if client.kind is Kind.MAAS_MODELS else ""
        yield voice.fault("list-misfit", **facts, detail=problem, consequence=consequence)
    content_id = content.get("content_id")
    if isinstance(content_id, str) and content_id != name and client.kind in {*_MAAS_KINDS, Kind.TOOL}:
        yield voice.warning("wrong-list", **facts, content_id=content_id, entry=name)
    yield from _of_products(client, voice, document, said)
    yield from _of_dates(voice, document, said, now)


def entries_of(client: Client, content: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the entries of an index that the client follows, in its order."""
    listed = content.get("index")
    found = []
    for name, entry in listed.items() if isinstance(listed, dict) else ():
        if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
            continue
        if client.datatypes is not None and entry.get("datatype") not in client.datatypes:
            continue
        if client.kind in {Kind.LXD, Kind.INCUS} and not entry.get("products"):
            continue
        if client.kind is Kind.BUILDER and entry.get("format") != _PRODUCTS:
            continue
        found.append((name, entry))
    return found[:1] if client.kind is Kind.MULTIPASS else found


def _index_misfits(client: Client, content: dict[str, Any]) -> Iterator[str]:
    find = _INDEX_MISFITS.get(client.kind)
    return _lacks_object(content, "index") if find is None else find(content)


def _list_misfits(client: Client, content: dict[str, Any]) -> Iterator[str]:
    if find := _LIST_MISFITS.get(client.kind):
        return find(content)
    return _lacks_object(content, "products") if content.get("format") == _PRODUCTS else iter(())


def _is_for_older_maas(content: dict[str, Any]) -> bool:
    """Whether a list has what every MAAS needs, and in no product what only 3.8 needs."""
    return not any(maas.head_misfits(content)) and not maas.is_written_for_models(content)


def _lacks_object(content: dict[str, Any], name: str) -> Iterator[str]:
    if not isinstance(content.get(name), dict):
        yield f"it has no object '{name}'"
    elif name == "products" and not isinstance(content.get("content_id"), str):
        yield "it has no content_id"


def _of_products(client: Client, voice: Voice, document: Document, said: dict[str, Any]) -> Iterator[Finding]:
    there = (document.content or {}).get("products")
    promised = said.get("products")
    if not isinstance(there, dict) or not isinstance(promised, list):
        return
    missing = [one for one in promised if isinstance(one, str) and one not in there]
    say = voice.fault if client.kind is Kind.JUJU else voice.warning
    for product in missing[:_MOST_TOLD]:
        yield say("product-missing", subject=document.subject, product=product, url=document.url)


def _of_dates(voice: Voice, document: Document, said: dict[str, Any], now: float) -> Iterator[Finding]:
    listed, promised = (
        parse_updated((document.content or {}).get("updated")),
        parse_updated(said.get("updated")),
    )
    if listed is None or promised is None:
        return
    facts = {
        "subject": document.subject,
        "list_date": date(listed),
        "index_date": date(promised),
        "url": document.url,
    }
    if listed < promised - _SLACK_S:
        yield voice.fault("list-older", **facts)
    elif listed > promised + _SLACK_S:
        # Lists are published before the index: for minutes, or hours of a slow copy, so it should be.
        yield voice.note("list-newer", **facts, ahead=duration(listed - promised))
    if listed > now + _AHEAD_S:
        yield voice.warning("future", subject=document.subject, date=date(listed), url=document.url)


def _of_age(voice: Voice, document: Document, now: float) -> Iterator[Finding]:
    updated = parse_updated((document.content or {}).get("updated"))
    if updated is None:
        return
    if updated > now + _AHEAD_S:
        yield voice.warning("future", subject=document.subject, date=date(updated), url=document.url)
    elif now - updated > _OLD_S:
        yield voice.warning("old", date=date(updated), age=duration(now - updated), url=document.url)


def _types(content: dict[str, Any]) -> str:
    listed = content.get("index")
    entries: Sequence[Any] = list(listed.values()) if isinstance(listed, dict) else []
    found = {str(entry.get("datatype")) for entry in entries if isinstance(entry, dict)}
    return f"its entries are of the types {', '.join(sorted(found)[:5])}"


def _first_few(problems: Iterator[str]) -> str:
    """Return the first problems in one text; how many more there are nobody needs to know exactly."""
    told: list[str] = []
    for problem in problems:
        if len(told) == _MOST_TOLD:
            told.append("and more")
            break
        told.append(problem)
    return "; ".join(told)
