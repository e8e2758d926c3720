"""What came of a request for an item, beside what the list says of it. Pure."""

import hashlib
from collections.abc import Iterable, Iterator

from proxy.doctor.checks.replies import (
    GONE,
    BadEncoding,
    encodings,
    in_trouble,
    is_page,
    looks_packed,
    of_status,
    unpacked,
)
from proxy.doctor.clients import Client, Kind
from proxy.doctor.exchange import Exchange
from proxy.doctor.findings import Finding
from proxy.doctor.wanted import Combined, Wanted
from proxy.doctor.wording import Voice
from proxy.readable import duration, size

_OK = 200
_MOST_UNPACKED = 64 * 1024 * 1024
_TWO_HOURS_S = 7200.0
_ENOUGH_TO_MEASURE = 256 * 1024
_LONG_ENOUGH_S = 10.0
_ODD = {"no-sum": "checksum", "no-size": "size"}


def of_listing(client: Client, voice: Voice, one: Wanted, url: str) -> Iterator[Finding]:
    """Say what the list says oddly of an item."""
    facts = {"subject": one.path, "url": url}
    for oddity in one.oddities:
        if oddity == "text-size":
            yield voice.fault("item-unproven", **facts, what="size as a number, but as a text")
        elif oddity == "capitals":
            yield voice.fault("item-case", **facts)
        elif client.kind is not Kind.JUJU:
            yield voice.fault("item-unproven", **facts, what=_ODD[oddity])


def of_item(client: Client, voice: Voice, one: Wanted, exchange: Exchange, host: str) -> Iterator[Finding]:
    """Say what the client makes of an item's reply."""
    facts = {"subject": one.path, "url": exchange.url}
    declared = exchange.declared_bytes
    is_plain = exchange.status == _OK and not encodings(exchange) and not is_page(exchange)
    if is_plain and None not in {declared, one.size_bytes} and declared != one.size_bytes:
        yield voice.fault("item-size", **facts, actual=declared, expected=one.size_bytes)
        return
    if exchange.trouble is not None:
        yield from in_trouble(voice, one.path, exchange, host)
        return
    if exchange.status != _OK:
        yield from of_status(voice, one.path, exchange, is_item=True, follows=client.follows_items)
        return
    if is_page(exchange) and declared != one.size_bytes:
        yield voice.fault("login-page", **facts)
        return
    if said := encodings(exchange):
        yield from _of_encoded(client, voice, one, exchange, ", ".join(said))
        return
    if exchange.first_byte_s >= client.patience.first_byte_s / 2:
        yield voice.warning("item-late", **facts, seconds=round(exchange.first_byte_s, 1))
    if exchange.is_whole:
        yield from _of_whole(voice, one, exchange)
    elif one.size_bytes is not None and exchange.body_bytes > one.size_bytes:
        yield voice.fault(
            "item-size", **facts, actual=f"more than {exchange.body_bytes}", expected=one.size_bytes
        )
    if declared is None:
        yield voice.note("item-unmeasured", **facts)


def of_pace(client: Client, voice: Voice, one: Wanted, exchange: Exchange, largest: int) -> Iterator[Finding]:
    """Say whether the largest item would come in time at the pace of this one."""
    is_enough = exchange.body_bytes >= _ENOUGH_TO_MEASURE
    is_measured = is_enough or exchange.took_s - exchange.first_byte_s >= _LONG_ENOUGH_S
    if exchange.trouble is None and is_measured and largest / exchange.rate_bytes_s > _TWO_HOURS_S:
        say = voice.fault if client.kind in {Kind.MAAS, Kind.MAAS_MODELS} else voice.warning
        facts = {"rate": size(exchange.rate_bytes_s), "size": size(largest)}
        yield say(
            "item-long",
            subject=one.path,
            url=exchange.url,
            **facts,
            duration=duration(largest / exchange.rate_bytes_s),
        )


def left_out(looked: Iterable[tuple[Wanted, Exchange]]) -> frozenset[tuple[str, str]]:
    """Return products with the versions of which nothing is there, beside a newer one that is there."""
    statuses: dict[str, dict[str, set[int]]] = {}
    for one, exchange in looked:
        statuses.setdefault(one.product, {}).setdefault(one.version, set()).add(exchange.status)
    return frozenset(
        (product, version)
        for product, versions in statuses.items()
        for version, found in versions.items()
        if found <= GONE and any(name > version and _OK in other for name, other in versions.items())
    )


def of_combined(
    voice: Voice, one: Wanted, said: Combined, meta: Exchange, root: Exchange
) -> Iterator[Finding]:
    """Say whether a container's metadata and root have the common hash that is the image's fingerprint."""
    if all(one.status == _OK and one.is_whole and one.body for one in (meta, root)):
        actual = hashlib.sha256(meta.body + root.body).hexdigest()
        if actual != said.sha256.lower():
            yield voice.warning("combined", subject=one.path, field=said.field, url=meta.url)


def _of_whole(voice: Voice, one: Wanted, exchange: Exchange) -> Iterator[Finding]:
    facts = {"subject": one.path, "url": exchange.url}
    if one.size_bytes is not None and exchange.body_bytes != one.size_bytes:
        yield voice.fault("item-size", **facts, actual=exchange.body_bytes, expected=one.size_bytes)
        return
    for algorithm, actual in (("sha512", exchange.sha512), ("sha256", exchange.sha256)):
        expected = one.sums.get(algorithm)
        if expected and expected != actual:
            yield voice.fault("item-hash", **facts, algorithm=algorithm, actual=actual, expected=expected)
            return


def _of_encoded(
    client: Client, voice: Voice, one: Wanted, exchange: Exchange, encoding: str
) -> Iterator[Finding]:
    """Say what a Content-Encoding does to an item: the client unpacks what it is told is packed."""
    facts = {"subject": one.path, "encoding": encoding, "url": exchange.url}
    if encoding.removeprefix("x-") not in client.encodings:
        yield voice.fault("encoding-unasked", **facts)
        return
    if not exchange.is_whole:
        is_own = exchange.declared_bytes == one.size_bytes
        if not looks_packed(exchange.body) or is_own:
            detail = (
                "the file itself is packed" if is_own and looks_packed(exchange.body) else "it is not packed"
            )
            yield voice.fault("encoding-false", **facts, detail=detail)
        return
    try:
        data = unpacked(exchange.body, encoding, _MOST_UNPACKED)
    except BadEncoding as error:
        yield voice.fault("encoding-false", **facts, detail=error)
        return
    if one.size_bytes is not None and len(data) != one.size_bytes:
        detail = f"unpacked it has {len(data)} bytes, and the list says {one.size_bytes}"
        yield voice.fault("encoding-false", **facts, detail=detail)
    elif one.sums.get("sha256") not in {None, hashlib.sha256(data).hexdigest()}:
        yield voice.fault(
            "item-hash", **facts, algorithm="sha256", actual="another", expected=one.sums["sha256"]
        )
    else:
        yield voice.warning("encoding-used", **facts)
