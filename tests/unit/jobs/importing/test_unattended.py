"""What waits is looked at now and then, and served once it lacks nothing, unless it may go back."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from support.mirrors import folder_mirror
from support.running import make_config
from support.tree import SignedTree
from support.waiting import waits_for

from proxy.jobs.importing.unattended import WaitingWatch
from proxy.jobs.importing.waiting import Waiting, keep_waiting
from proxy.runtime import open_runtime
from proxy.store.files import StoreFault
from proxy.store.storage import Storage


class Site:
    """A store, and what was to be served of it."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.served: list[list[str]] = []
        self.fault: Exception | None = None
        self.tried = asyncio.Event()
        self.watch = WaitingWatch(storage, ["test"], self.serve, look_every_s=0.01)

    async def serve(self, mirrors: Sequence[str]) -> None:
        self.served.append([*mirrors])
        if len(self.served) > 1:
            self.tried.set()
        if self.fault is not None:
            raise self.fault

    async def waits_for(self, *items: bytes, accepts_older: bool = False) -> Waiting:
        store = self.storage.store
        return await self.storage.threads.slow(lambda: waits_for(store, *items, accepts_older=accepts_older))

    async def keep(self, one: Waiting, mirror: str = "test") -> None:
        await self.storage.threads.ledger(keep_waiting, self.storage.ledger, mirror, one)


@pytest.fixture
async def site(tmp_path: Path, tree: SignedTree, keyring: Path) -> AsyncIterator[Site]:
    async with open_runtime(make_config(tmp_path / "data", folder_mirror(tree, keyring))) as cache:
        yield Site(cache.storage)


async def test_what_waits_is_served_once_its_last_item_is_here(site: Site) -> None:
    await site.watch.look()
    await site.keep(await site.waits_for(b"one", b"two"))
    for data in (b"one", b"two"):
        assert site.served == []
        await site.storage.threads.slow(site.storage.store.put, data)
        await site.watch.look()
    assert site.served == [["test"]]

    await site.watch.look()  # It was not accepted, which the audit log tells: no use in trying each minute.
    assert site.served == [["test"]]


async def test_what_failed_is_tried_again(site: Site) -> None:
    await site.keep(await site.waits_for())
    site.fault = StoreFault("the disk is full")
    with pytest.raises(StoreFault):
        await site.watch.look()
    site.fault = None
    await site.watch.look()
    assert site.served == [["test"], ["test"]]


@pytest.mark.parametrize(
    "fault", [StoreFault("the disk is full"), OSError("gone"), RuntimeError("a fault of ours")]
)
async def test_nothing_ends_the_watch(site: Site, fault: Exception) -> None:
    await site.keep(await site.waits_for())
    site.fault = fault
    watching = asyncio.create_task(site.watch.run())
    await site.tried.wait()
    assert not watching.done()
    watching.cancel()
    await asyncio.wait([watching])


async def test_what_may_go_back_waits_for_an_operator(site: Site) -> None:
    await site.keep(await site.waits_for(accepts_older=True))
    await site.watch.look()
    assert site.served == []


async def test_what_waits_for_a_mirror_that_is_not_configured_any_more_is_passed_over(site: Site) -> None:
    await site.keep(await site.waits_for(), "another")
    await site.watch.look()
    assert site.served == []
