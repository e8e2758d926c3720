"""A client's way to an item: which fills it joins, how often it starts over, when it goes past the store."""

import asyncio
import threading
from pathlib import Path

import pytest
from support.origin import Origin
from support.transfers import Process, Received, listed, run_process
from support.tree import TreeItem

from proxy.errors import ProxyError
from proxy.fills.bodies import Outcome, StoredBody
from proxy.fills.bypass_body import BypassBody
from proxy.fills.errors import BadItem, TransferDiscarded
from proxy.fills.fill import Fill
from proxy.fills.opening import Opening
from proxy.fills.state import State
from proxy.simplestreams.model import Item
from proxy.sources.candidates import Source
from proxy.sources.errors import ItemAbsent, ItemUnobtainable
from proxy.store.files import StoreFault
from proxy.store.local.incoming import LocalIncoming

FEW = 20
"""More joins than any client makes."""


@pytest.fixture
def item(listing: TreeItem) -> Item:
    return listed(listing)


def errors_of(item: Item) -> dict[str, ProxyError]:
    """Return what a fill may end with that is no fault of the store."""
    return {
        "absent": ItemAbsent(item.path),
        "unobtainable": ItemUnobtainable(item.path, None),
        "wrong": TransferDiscarded(item, "its bytes were wrong"),
    }


@pytest.mark.parametrize(
    ("error", "outcome", "joins", "raised"),
    [
        ("absent", Outcome.MISS, 1, ItemAbsent),
        ("absent", Outcome.JOIN, 3, ItemAbsent),
        ("unobtainable", Outcome.MISS, 1, ItemUnobtainable),
        ("unobtainable", Outcome.JOIN, 3, ItemUnobtainable),
        ("wrong", Outcome.MISS, 3, BadItem),
        ("wrong", Outcome.JOIN, 3, BadItem),
    ],
)
async def test_a_client_of_one_origin_tries_three_times_where_another_try_can_help(
    process: Process,
    item: Item,
    monkeypatch: pytest.MonkeyPatch,
    error: str,
    outcome: Outcome,
    joins: int,
    raised: type[Exception],
) -> None:
    """Its own fill has asked all of its sources; one that it joined may have asked others."""
    fill, _ = process.flights.join(item, Source(process.route, item.path))
    joined: list[Source] = []

    def join(_: Item, source: Source, *__: object) -> tuple[Fill, Outcome]:
        joined.append(source)
        assert len(joined) < FEW
        return fill, outcome

    async def fail(_: Fill) -> None:
        raise errors_of(item)[error]

    monkeypatch.setattr(process.flights, "join", join)
    monkeypatch.setattr(Fill, "begun", fail)
    with pytest.raises(raised):
        await process.open(item)
    assert len(joined) == joins


async def test_who_goes_on_past_the_store_gets_all_of_it(
    process: Process, item: Item, listing: TreeItem
) -> None:
    opened = await process.open(item)
    opening = Opening(process.flights, item, process.route, "192.0.2.1")
    body, received = await opening.replacement(process.fill, StoreFault("the disk is gone")), Received()
    try:
        assert isinstance(body, BypassBody)
        await body.send_to(received, 0, item.size_bytes)
    finally:
        await body.close()
        await opened.body.close()
    assert bytes(received.body) == listing.read()


async def test_what_the_store_cannot_take_goes_past_it(
    process: Process, item: Item, listing: TreeItem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has begun when it is handed on: what goes wrong before can still be said by a status."""
    begin, begun = BypassBody.begin, []

    async def fail(_: Fill) -> None:
        raise StoreFault("the disk is gone")

    async def begin_noted(body: BypassBody) -> None:
        await begin(body)
        begun.append(body)

    monkeypatch.setattr(Fill, "begun", fail)
    monkeypatch.setattr(BypassBody, "begin", begin_noted)
    opened, received = await process.open(item), Received()
    assert opened.outcome is Outcome.BYPASS
    assert begun == [opened.body]
    await opened.body.send_to(received, 0, item.size_bytes)
    await opened.body.close()
    assert bytes(received.body) == listing.read()


@pytest.mark.parametrize("error", [ItemAbsent("a"), asyncio.CancelledError()], ids=["absent", "cancelled"])
async def test_what_cannot_begin_past_the_store_is_closed(
    process: Process, item: Item, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    close, closed = BypassBody.close, []

    async def fail_in_store(_: Fill) -> None:
        raise StoreFault("the disk is gone")

    async def fail_to_begin(_: BypassBody) -> None:
        raise error

    async def close_noted(body: BypassBody) -> None:
        closed.append(body)
        await close(body)

    monkeypatch.setattr(Fill, "begun", fail_in_store)
    monkeypatch.setattr(BypassBody, "begin", fail_to_begin)
    monkeypatch.setattr(BypassBody, "close", close_noted)
    with pytest.raises(type(error)):
        await process.open(item)
    assert len(closed) == 1


async def test_what_is_stored_before_it_was_begun_comes_from_the_store(
    process: Process, item: Item, listing: TreeItem, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = Fill.begun

    async def begun_late(fill: Fill) -> None:
        await begun(fill)
        while fill.progress.state is not State.COMMITTED:
            await fill.progress.changed()

    monkeypatch.setattr(Fill, "begun", begun_late)
    opened, received = await process.open(item), Received()
    assert isinstance(opened.body, StoredBody)
    assert opened.outcome is Outcome.MISS
    await opened.body.send_to(received, 0, item.size_bytes)
    await opened.body.close()
    assert bytes(received.body) == listing.read()


async def test_what_another_process_has_proved_is_a_hit(
    data_dir: Path, process: Process, origin: Origin, item: Item, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it is still being committed there."""
    commit, may_commit = LocalIncoming.commit, threading.Event()

    def commit_later(incoming: LocalIncoming) -> None:
        may_commit.wait(30)
        commit(incoming)

    monkeypatch.setattr(LocalIncoming, "commit", commit_later)
    async with run_process(data_dir, origin) as other, asyncio.timeout(30):
        first = await process.open(item)
        joined = await other.open(item)
        while not other.fill.progress.state.is_proved:
            await other.fill.progress.changed()
        later = await other.open(item, "192.0.2.2")
        may_commit.set()
        assert [one.outcome for one in (first, joined, later)] == [Outcome.MISS, Outcome.JOIN, Outcome.HIT]
        for one in (first, joined, later):
            await one.body.close()
