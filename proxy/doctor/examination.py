"""One examination: a client's whole way through a mirror, and the report of it."""

import time
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlsplit

from proxy.doctor.bounds import Bounds
from proxy.doctor.clients import Client, unsigned
from proxy.doctor.exchange import without_credentials
from proxy.doctor.findings import Report, merged
from proxy.doctor.gpgv import Gpgv
from proxy.doctor.steps.context import Context
from proxy.doctor.steps.documents import read_all, split_entry
from proxy.doctor.steps.habits import try_habits
from proxy.doctor.steps.items import Looked, look_at_items
from proxy.doctor.steps.surroundings import look_around
from proxy.doctor.wire.asking import Asker

_DAY_S = 24 * 3600.0
_ENDS_SOON_DAYS = 14


async def examine(
    client: Client,
    url: str,
    asker: Asker,
    judge: Gpgv | None,
    bounds: Bounds,
    *,
    is_keyring_given: bool = False,
    now: Callable[[], float] = time.time,
) -> Report:
    """Go through a mirror as a client does; `now` gives Unix seconds."""
    scheme, _, rest = url.partition(":")
    base, entry = split_entry(client, f"{scheme.lower()}:{rest}")
    if entry:
        client = _with_entry(client, entry, is_keyring_given=is_keyring_given)
    context = Context(client, url, base.rstrip("/"), asker, judge, bounds, now)
    began = time.monotonic()
    if entry and not client.is_signed:
        context.found([context.voice.note("unchecked", url=context.shown_url)])
    await look_around(context)
    if client.is_signed and judge is not None and judge.keyring.is_armored and client.needs_binary_keyring:
        context.found([context.voice.fault("keyring-armored", keyring=judge.keyring.path)])
    contents = await read_all(context)
    looked: Looked = []
    if contents:
        looked = await look_at_items(context, contents)
        await try_habits(context, looked)
    _judge_certificate(context)
    return Report(
        client=client.name,
        url=without_credentials(url),
        findings=merged(context.findings),
        tried={
            "requests": asker.requests,
            "bytes": asker.bytes,
            "lists": len(contents or ()),
            "items": len(looked),
            "whole_items": sum(exchange.is_whole for _, exchange in looked),
            "named_items": context.named_items,
        },
        took_s=time.monotonic() - began,
    )


def _with_entry(client: Client, entry: str, *, is_keyring_given: bool) -> Client:
    if entry.endswith(".sjson") or is_keyring_given:
        return replace(client, entries=(entry,))
    return unsigned(client, entry)


def _judge_certificate(context: Context) -> None:
    place = urlsplit(context.url).netloc.rpartition("@")[2]
    broken = context.asker.distrust(context.url)
    if broken is not None:
        context.found([context.voice.fault("certificate", host=place, detail=broken.detail)])
        return
    ends_at = context.asker.ends_at(context.url)
    if ends_at is not None and (days := (ends_at - context.now()) / _DAY_S) < _ENDS_SOON_DAYS:
        context.found([context.voice.warning("certificate-ends", host=place, days=round(days))])
