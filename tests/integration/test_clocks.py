"""A clock that is wrong for a while and then set, either way: nothing waits for what it said."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.faults import Fault
from support.origin import Origin
from support.rules import HOUR, due_at, ran, scheduled, some_looks
from support.running import Clock, RunningProxy, make_config, run_proxy
from support.tree import SignedTree, TreeItem

from proxy.digest import Digest
from proxy.fills.records import last_wrong_copies
from proxy.jobs.rulebook import Result, RuleBook
from proxy.jobs.rules import Rule
from proxy.jobs.scrub import Scrubber, ScrubPolicy
from proxy.jobs.upkeep import Upkeep
from proxy.mirror import Mirror
from proxy.simplestreams.model import Item
from proxy.sources.route import DISTRUST_S
from proxy.store.blob_records import Proof
from proxy.store.limits import StoreLimits

MIB = 1024 * 1024
INDEX = "streams/v1/index.sjson"
PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
SECOND_LIST = "streams/v1/second.sjson"
YEAR_2100 = 4102444800.0

COURSES = {
    "two hours ahead at boot, then right": (2 * HOUR, 0.0),
    "right, then two hours behind": (0.0, -2 * HOUR),
    "right, then two days behind": (0.0, -48 * HOUR),
    "two days ahead, then right": (48 * HOUR, 0.0),
    "1970, then right": (5.0, 0.0),
    "2100, then right": (YEAR_2100, 0.0),
    "right, then 1970": (0.0, 5.0),
}


class Course:
    """What a clock shows: first wrong, then set."""

    def __init__(self, clock: Clock, first: float, then: float) -> None:
        self._clock = clock
        right = clock.now
        self._first, self._then = (_moment(right, one) for one in (first, then))

    def begin(self) -> None:
        self._clock.now = self._first

    def set_clock(self) -> None:
        self._clock.now = self._then


def _moment(right: float, told: float) -> float:
    return told if told in {5.0, YEAR_2100} else right + told


@pytest.fixture(params=list(COURSES.values()), ids=list(COURSES))
def course(request: pytest.FixtureRequest, clock: Clock) -> Course:
    course = Course(clock, *request.param)
    course.begin()
    return course


@pytest.fixture
def item(tree: SignedTree) -> TreeItem:
    item = tree.add_item(PRODUCT, "20250718", "squashfs", size=MIB)
    tree.publish()
    return item


@pytest.fixture
async def proxy(tmp_path: Path, mirror: Mirror, clock: Clock, course: Course) -> AsyncIterator[RunningProxy]:
    """Return a proxy whose clock is wrong already when it starts."""
    del course
    async with run_proxy(make_config(tmp_path / "data", mirror), clock) as proxy:
        yield proxy


async def test_lists_are_checked_again(
    proxy: RunningProxy, course: Course, tree: SignedTree, origin: Origin, item: TreeItem
) -> None:
    assert (await proxy.read(INDEX)).status == 200
    tree.publish()
    origin.clear()
    course.set_clock()
    assert (await proxy.read(item.path)).body == item.read()
    async with asyncio.timeout(10):
        await origin.arrived(INDEX)
    await proxy.documents.checks.revalidate()
    assert int((await proxy.read(INDEX)).headers["Age"]) < 60


async def test_who_failed_is_asked_again(
    proxy: RunningProxy, course: Course, origin: Origin, item: TreeItem
) -> None:
    down = origin.fault("*", Fault(status=500))
    assert (await proxy.read(INDEX)).status == 503
    down.remove()
    course.set_clock()
    assert (await proxy.read(INDEX)).status == 200
    assert (await proxy.read(item.path)).status == 200


async def test_what_was_absent_is_asked_for_again(
    proxy: RunningProxy, course: Course, origin: Origin, item: TreeItem
) -> None:
    gone = origin.fault(item.path, Fault(status=404))
    assert (await proxy.read(item.path)).status == 404
    gone.remove()
    course.set_clock()
    assert (await proxy.read(item.path)).status == 200


async def test_what_was_wrong_is_asked_for_again(
    proxy: RunningProxy, course: Course, origin: Origin, item: TreeItem
) -> None:
    wrong = origin.fault(item.path, Fault(corrupt_at=10))
    assert not (await proxy.read(item.path)).is_complete
    await proxy.fills_ended()
    wrong.remove()
    course.set_clock()
    assert (await proxy.read(item.path)).body == item.read()


async def test_a_doubt_makes_it_check_again(
    proxy: RunningProxy, course: Course, origin: Origin, item: TreeItem
) -> None:
    """However short a while ago, by that clock, the last one was."""
    await proxy.read(INDEX)
    proxy.documents.checks.check_soon()
    await origin.idle()
    await proxy.documents.checks.revalidate()
    origin.fault(item.path, Fault(status=404))
    course.set_clock()
    origin.clear()
    assert (await proxy.read(item.path)).status == 404
    async with asyncio.timeout(10):
        await origin.arrived(INDEX)


async def test_a_new_index_is_held_back_no_longer_than_it_may(
    proxy: RunningProxy, course: Course, clock: Clock, tree: SignedTree, item: TreeItem
) -> None:
    tree.add_item("second", "20250701", "squashfs", content_id="second")
    tree.publish()
    await proxy.documents.checks.revalidate()
    old = (await proxy.read(INDEX)).body
    tree.publish()
    (tree.root / SECOND_LIST).unlink()
    await proxy.documents.checks.revalidate()
    assert (await proxy.read(INDEX)).body == old
    course.set_clock()
    await proxy.documents.checks.revalidate()
    clock.advance(proxy.config.freshness.hold_back_s)
    await proxy.documents.checks.revalidate()
    assert (await proxy.read(INDEX)).body != old
    assert (await proxy.read(item.path)).status == 200


async def test_who_sent_wrong_bytes_is_distrusted_no_longer_than_others(
    proxy: RunningProxy, course: Course, clock: Clock, origin: Origin, item: TreeItem
) -> None:
    wrong = origin.fault(item.path, Fault(corrupt_at=10))
    await proxy.read(item.path)
    await proxy.fills_ended()
    wrong.remove()
    course.set_clock()
    storage = proxy.cache.storage
    assert await storage.threads.ledger(last_wrong_copies, storage.ledger)
    failures = proxy.cache._flights.facilities.failures
    listed = Item(path=item.path, digest=Digest(item.digest), size_bytes=item.size)
    left_s = (await failures.known(listed)).distrusted_s.get(origin.url, 0.0)
    assert left_s <= DISTRUST_S
    clock.advance(DISTRUST_S + 10)
    async with proxy.session.get(proxy.url("/-/stats")) as response:
        assert (await response.json())["origins"][origin.url]["distrusted_until"] is None


async def test_a_scrub_that_was_asked_for_ends(
    proxy: RunningProxy, course: Course, clock: Clock, item: TreeItem
) -> None:
    assert (await proxy.read(item.path)).status == 200
    await proxy.fills_ended()
    scrubber = Scrubber(proxy.cache, replace(ScrubPolicy(), rate_bytes=None), clock)
    await scrubber.ask()
    course.set_clock()
    for _ in range(3):
        clock.advance(60)
        await scrubber.run()
    async with proxy.session.get(proxy.url("/-/stats")) as response:
        checked = (await response.json())["scrub"]["checked_bytes"]
    blobs = sum(path.stat().st_size for path in proxy.layout.blobs.glob("*/*"))
    assert blobs <= checked <= 2 * blobs
    state = await scrubber.state()
    assert state.due_blobs == 0
    assert state.completed_at is not None
    assert state.completed_at <= clock.now


async def test_what_was_proved_ahead_of_time_is_proved_again(
    proxy: RunningProxy, course: Course, clock: Clock, item: TreeItem
) -> None:
    assert (await proxy.read(item.path)).status == 200
    await proxy.fills_ended()
    storage, digest = proxy.cache.storage, Digest(item.digest)
    ahead = Proof(clock.now + 48 * HOUR, storage.store.changed_ns(digest) or 0)
    await storage.threads.ledger(storage.blobs.record_proof, digest, ahead)
    course.set_clock()
    scrubber = Scrubber(proxy.cache, replace(ScrubPolicy(), rate_bytes=None, every_s=1e8), clock)
    await scrubber.run()
    proof = await storage.threads.ledger(storage.blobs.proof, digest)
    assert proof is not None
    if clock.now < ahead.hashed_at:
        assert abs(proof.hashed_at - clock.now) < 10


async def test_a_rule_that_ran_in_times_to_come_runs(
    proxy: RunningProxy, course: Course, clock: Clock, item: TreeItem
) -> None:
    """Whether the clock is set while the server runs, or while it does not."""
    rule = Rule(name="lab", mirror="test", filters=("ftype=squashfs",), schedule="every 6h")
    async with scheduled(proxy, clock, rule) as book:
        first = await ran(proxy, book, "lab", 0)
        await due_at(proxy, book, "lab", clock.now)
        course.set_clock()
        await some_looks()
        set_at = clock.now
        clock.advance(6 * HOUR)
        second = await ran_again(proxy, book, first)
        assert set_at <= second.started_at <= clock.now
    course.begin()
    async with scheduled(proxy, clock, rule) as book:
        await some_looks()
        clock.advance(6 * HOUR + 60)
        third = await ran_again(proxy, book, second)
    course.set_clock()
    async with scheduled(proxy, clock, rule) as book:
        set_at = clock.now
        await some_looks()
        clock.advance(6 * HOUR + 60)
        last = await ran_again(proxy, book, third)
    assert set_at <= last.started_at <= clock.now
    assert proxy.store.has(Digest(item.digest))


async def ran_again(proxy: RunningProxy, book: RuleBook, before: Result) -> Result:
    """Wait for another run than the one before, and than one that the end of a server has interrupted."""
    ledger = proxy.cache.storage.threads.ledger
    async with asyncio.timeout(30):
        while True:
            last = (await ledger(book.page, "lab")).last
            if last is not None and last != before and last.outcome != "interrupted":
                return last
            await asyncio.sleep(0.05)


async def test_what_was_used_in_times_to_come_is_let_go_like_the_rest(
    proxy: RunningProxy, course: Course, clock: Clock, item: TreeItem
) -> None:
    assert (await proxy.read(item.path)).status == 200
    await proxy.fills_ended()
    await proxy.cache.delivery._usage.flush()
    course.set_clock()
    storage = proxy.cache.storage
    upkeep = Upkeep(proxy.cache, StoreLimits(), Scrubber(proxy.cache, ScrubPolicy(), clock), clock)
    await upkeep.tidy()
    clock.advance(60)
    usages = await storage.threads.ledger(storage.blobs.usages)
    assert all(usage.used_at <= clock.now - 60 for usage in usages)
