"""What single clients do besides: resume, ask HEAD first, try plain http, send a stray chunk, crowd."""

import asyncio
from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit

from proxy.doctor.checks import extras
from proxy.doctor.exchange import Exchange, Patience
from proxy.doctor.steps.context import Context
from proxy.doctor.wanted import Wanted

_OK = 200
_STRAY = b"0\r\n\r\n"
_HTTP_S = 8.0

Looked = list[tuple[Wanted, Exchange]]


async def try_habits(context: Context, looked: Looked) -> None:
    """Do what the client does besides fetching, with the smallest items that came as they should."""
    client = context.client
    good = [pair for pair in looked if pair[1].status == _OK and pair[1].is_whole and pair[1].body]
    good.sort(key=lambda pair: pair[1].body_bytes)
    if client.asks_head:
        await _try_head(context, good)
    if not good:
        return
    one, exchange = good[0]
    if client.resumes:
        start = exchange.body_bytes // 2
        part = await context.part(one.path, start)
        context.found(extras.of_range(client, context.voice, one, part, start, exchange.body[start:]))
    if client.sends_stray:
        stray = await context.look(
            context.address(one.path), stray=_STRAY, most_bytes=exchange.body_bytes + 1
        )
        is_whole_client = not client.is_family
        context.found(extras.of_stray_chunk(context.voice, stray, is_whole_client=is_whole_client))
    if client.tries_http and urlsplit(context.url).scheme == "https":
        await _try_plain_http(context, one)
    if context.bounds.load:
        await _try_load(context, one, exchange)


async def _try_head(context: Context, good: Looked) -> None:
    entry = context.client.entries[-1]
    subjects: list[tuple[str, str, int | None]] = [(entry, f"{context.base}/{entry}", None)]
    subjects += [(one.path, context.address(one.path), exchange.body_bytes) for one, exchange in good[-1:]]
    for subject, url, size in subjects:
        head = await context.look(url, method="HEAD")
        context.found(extras.of_head(context.client, context.voice, subject, head, size))


async def _try_plain_http(context: Context, one: Wanted) -> None:
    """Ask for an item on the same port by plain http, where without a port 80 is meant."""
    url = urlunsplit(urlsplit(context.address(one.path))._replace(scheme="http"))
    if context.asker.proxy_for(url):
        return
    patience = Patience(connect_s=_HTTP_S, first_byte_s=_HTTP_S, gap_s=_HTTP_S, total_s=_HTTP_S)
    context.found(extras.of_plain_http(context.voice, await context.look(url, patience=patience)))


async def _try_load(context: Context, one: Wanted, alone: Exchange) -> None:
    url, most = context.address(one.path), alone.body_bytes + 1
    count = context.bounds.load
    looks = [context.look(url, most_bytes=most, is_kept=False) for _ in range(count)]
    crowd = await asyncio.gather(*looks)
    failed = [exchange for exchange in crowd if extras.is_crowded(exchange)]
    client = replace(context.client, crowd=max(count, context.client.crowd))
    for exchange in failed[:1]:
        context.found(extras.of_crowd(client, context.voice, one.path, exchange, alone, count))
