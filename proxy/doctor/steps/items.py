"""Items: one of each kind and as many others as the bounds allow, the small ones to their end."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from proxy.doctor.bounds import Bounds
from proxy.doctor.checks import extras, items
from proxy.doctor.clients import Kind
from proxy.doctor.exchange import Exchange, Trouble
from proxy.doctor.steps.context import Context
from proxy.doctor.steps.documents import Lists
from proxy.doctor.wanted import Wanted, wanted

_PIECE_S = 20.0
"""Within this a part of an item should have come; how long all of it takes is told from its pace."""
_WHOLE_S = 7200.0
_MOST_ENDS = 8
_MOST_ALONE = 3
_SURPLUS_BYTES = 1024
_OK = 200

Looked = list[tuple[Wanted, Exchange]]


async def look_at_items(context: Context, contents: Lists) -> Looked:
    """Look at what the client would fetch; return what came, the smallest first."""
    named = wanted(context.client, contents)
    context.named_items = len(named)
    if not any(one.is_taken for one in named) and context.client.kind not in {Kind.JUJU, Kind.TOOL}:
        detail = f"{len(contents)} lists were read"
        context.found([context.voice.fault("nothing", detail=detail, url=context.shown_url)])
        return []
    if contents and not any(content.get("products") for content in contents):
        detail = "not one of the lists has a product"
        context.found([context.voice.fault("nothing", detail=detail, url=context.shown_url)])
    for one in named:
        less = not one.is_taken
        if context.reaches(one.path):
            said = items.of_listing(context.client, context.voice, one, context.address(one.path))
            context.found(said, lessened=less)
        else:
            facts = {"path": one.path, "url": context.shown_url}
            context.found([context.voice.fault("item-path", **facts)], lessened=less)
    chosen = _chosen([one for one in named if context.reaches(one.path)], context.bounds)
    looked = await _all_looked(context, chosen)
    left_out = items.left_out(looked) if context.client.kind is Kind.TOOL else frozenset()
    largest = max((one.size_bytes or 0 for one in named if one.is_taken), default=0)
    for one, came in looked:
        if (one.product, one.version) in left_out:
            context.found([context.voice.warning("old-absent", subject=one.path, url=came.url)])
            continue
        # What is too slow for the doctor need not be so for the client: its pace says more.
        exchange = replace(came, trouble=None) if came.trouble is Trouble.SLOW else came
        found = [
            *items.of_item(context.client, context.voice, one, exchange, context.host),
            *items.of_pace(context.client, context.voice, one, exchange, largest),
        ]
        context.found(found, lessened=not one.is_taken)
    _compare_combined(context, looked)
    await _look_at_ends(context, looked)
    return looked


def _chosen(named: Iterable[Wanted], bounds: Bounds) -> list[tuple[Wanted, bool]]:
    """Return which items to look at, and which of them to their end."""
    taken = sorted(named, key=lambda one: (not one.is_taken, one.size_bytes or 0))
    first = {(one.is_taken, one.kind): one for one in reversed(taken)}
    order = [*first.values(), *(one for one in taken if one not in first.values())]
    order.sort(key=lambda one: (not one.is_taken, first[one.is_taken, one.kind] is not one))
    left, chosen = bounds.whole_bytes, []
    for one in order if bounds.is_full else order[: bounds.items]:
        size = one.size_bytes if one.size_bytes is not None else bounds.largest_whole_bytes
        is_whole = (bounds.is_full and one.is_taken) or (size <= bounds.largest_whole_bytes and size <= left)
        left -= size if is_whole else bounds.piece_bytes
        chosen.append((one, is_whole))
    return chosen


async def _all_looked(context: Context, chosen: list[tuple[Wanted, bool]]) -> Looked:
    """Look at items, several at once; what fails as under load is asked for again, alone."""
    places = asyncio.Semaphore(context.bounds.at_once)

    async def one_of_many(one: Wanted, is_whole: bool) -> tuple[Wanted, Exchange]:
        async with places:
            return one, await _looked(context, one, is_whole=is_whole)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one_of_many(one, is_whole)) for one, is_whole in chosen]
    looked = [task.result() for task in tasks]
    is_whole_of = {one.path: is_whole for one, is_whole in chosen}
    alone = 0
    for number, (one, exchange) in enumerate(looked):
        if extras.is_crowded(exchange) and alone < _MOST_ALONE:
            alone += 1
            again = await _looked(context, one, is_whole=is_whole_of[one.path])
            count = context.bounds.at_once
            found = list(extras.of_crowd(context.client, context.voice, one.path, exchange, again, count))
            if found:
                context.found(found)
                looked[number] = one, again
    return looked


async def _looked(context: Context, one: Wanted, *, is_whole: bool) -> Exchange:
    bounds, size = context.bounds, one.size_bytes or 0
    is_large = size > bounds.largest_whole_bytes
    total_s = _WHOLE_S if is_whole and is_large else _PIECE_S
    most = bounds.piece_bytes
    if is_whole:
        # What is packed on its way may be a little longer.
        expected = bounds.largest_whole_bytes if one.size_bytes is None else size
        most = expected + expected // 1000 + _SURPLUS_BYTES
    ask = context.follow if context.client.follows_items else context.look
    return await ask(
        context.address(one.path),
        most_bytes=most,
        patience=replace(context.client.patience, total_s=total_s),
        is_kept=not is_large or not is_whole,
    )


def _compare_combined(context: Context, looked: Looked) -> None:
    by_path = {one.path: exchange for one, exchange in looked}
    for one, exchange in looked:
        for said in one.combined:
            if (root := by_path.get(said.root)) is not None:
                context.found(items.of_combined(context.voice, one, said, exchange, root))


async def _look_at_ends(context: Context, looked: Looked) -> None:
    """Ask for the ends of large items of which only the beginning was read."""
    parts = [(one, ex) for one, ex in looked if one.is_taken and ex.status == _OK and not ex.is_whole]
    for one, _ in parts[:_MOST_ENDS]:
        if one.size_bytes is None or one.size_bytes <= context.bounds.piece_bytes:
            continue
        start = one.size_bytes - context.bounds.piece_bytes
        exchange = await context.part(one.path, start)
        context.found(extras.of_range(context.client, context.voice, one, exchange, start, None))
        if exchange.status == _OK:  # All others would be answered so, too.
            return
