"""The server's schedule: when rules run, and what happens when something goes wrong with one."""

import asyncio
import os
import subprocess
import sys
import time
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from support.faults import Fault
from support.keys import SigningKey
from support.maas import maas_tree
from support.origin import Origin
from support.rules import HOUR, due_at, ran, runner_of, scheduled, some_looks
from support.running import Clock, RunningProxy, make_config, run_proxy
from support.tree import SignedTree

from proxy.digest import Digest
from proxy.jobs.local_time import LocalTime
from proxy.jobs.rulebook import Result
from proxy.jobs.rules import Rule
from proxy.jobs.watching import Watcher
from proxy.mirror import Mirror
from proxy.runtime import open_rulebook
from proxy.store.limits import StoreLimits


@pytest.fixture
def tree(tmp_path: Path, key: SigningKey) -> SignedTree:
    """Return a tree like MAAS's."""
    return maas_tree(tmp_path / "upstream", key, releases=("24.04",))


async def test_the_server_runs_a_rule_when_it_is_due(
    proxy: RunningProxy, clock: Clock, origin: Origin
) -> None:
    rule = Rule(name="lab", mirror="test", filters=("release=noble",), schedule="every 6h", jitter_s=600)
    async with scheduled(proxy, clock, rule) as book:
        started_at = clock.now
        first_at = await due_at(proxy, book, "lab", started_at)
        clock.advance(600)
        first = await ran(proxy, book, "lab", started_at)
        next_at = await due_at(proxy, book, "lab", clock.now)
        origin.clear()
        clock.advance(5 * HOUR)
        await some_looks()
        assert not origin.requests
        clock.advance(HOUR + 600)
        second = await ran(proxy, book, "lab", first.started_at + HOUR)

    assert first.outcome == second.outcome == "complete"
    assert started_at < first_at <= started_at + 600
    assert 6 * HOUR <= next_at - first.started_at <= 6 * HOUR + 600
    assert first.fetched_items > 0
    assert second.fetched_items == 0


async def test_a_rule_that_somebody_asks_for_runs_at_once(proxy: RunningProxy, clock: Clock) -> None:
    rule = Rule(name="lab", mirror="test", filters=("release=noble",), max=1)
    async with scheduled(proxy, clock, rule) as book:
        await proxy.cache.storage.threads.ledger(book.ask, "lab")
        result = await ran(proxy, book, "lab", 0)
    assert result.outcome == "complete"
    assert result.added


async def test_a_run_stops_when_its_window_closes_and_goes_on_when_it_opens(
    proxy: RunningProxy, clock: Clock, tree: SignedTree, origin: Origin
) -> None:
    kernel = next(item for item in tree.items if item.path.endswith("boot-kernel"))
    origin.fault(kernel.path, Fault(stall_after=100), times=1)
    rule = Rule(name="lab", mirror="test", filters=("ftype=boot-kernel",))
    book = await open_rulebook(proxy.config, proxy.cache)
    runner = runner_of(proxy, book, clock)

    paused = await runner.run(rule, Watcher(), clock.now + 0.5)
    complete = await runner.run(rule, Watcher(), None)

    assert (paused.outcome, complete.outcome) == ("paused", "complete")
    assert paused.fetched_items + complete.fetched_items == complete.wanted_items


async def test_a_rule_that_is_gone_keeps_nothing(tmp_path: Path, mirror: Mirror, clock: Clock) -> None:
    rule = Rule(name="lab", mirror="test", filters=("release=noble",))
    async with run_proxy(make_config(tmp_path / "data", mirror), clock) as proxy:
        async with scheduled(proxy, clock, rule) as book:
            await proxy.cache.storage.threads.ledger(book.ask, "lab")
            await ran(proxy, book, "lab", 0)
        assert await proxy.cache.storage.threads.ledger(proxy.cache.storage.pins.names)
        async with scheduled(proxy, clock, replace(rule, name="other")) as book:
            await proxy.cache.storage.threads.ledger(book.ask, "other")
            await ran(proxy, book, "other", 0)
        pins = await proxy.cache.storage.threads.ledger(proxy.cache.storage.pins.names)

    assert {name for names in pins.values() for name in names} == {"rule other"}


async def test_a_rules_bandwidth_is_its_own(proxy: RunningProxy, clock: Clock, tree: SignedTree) -> None:
    tree.add_item("p", "1", "one", size=300_000)
    tree.publish()
    rule = Rule(name="lab", mirror="test", filters=("product_name=p",), limit_bytes_s=200_000)
    runner = runner_of(proxy, await open_rulebook(proxy.config, proxy.cache), clock)

    began = time.monotonic()
    result = await runner.run(rule, Watcher())

    assert result.outcome == "complete"
    assert time.monotonic() - began > 1.0  # A quarter of a second's worth passes at once.


# What may go wrong


async def test_no_byte_arrives_once_the_window_has_closed(
    proxy: RunningProxy, clock: Clock, tree: SignedTree, origin: Origin
) -> None:
    item = tree.add_item("p", "1", "one", size=2_000_000)
    tree.publish()
    origin.fault(item.path, Fault(rate_bytes_s=100_000))
    rule = Rule(name="lab", mirror="test", filters=("product_name=p",))
    book = await open_rulebook(proxy.config, proxy.cache)

    paused = await runner_of(proxy, book, clock).run(rule, Watcher(), clock.now + 1.5)
    await proxy.fills_ended()
    stopped_at = proxy.store.stored_bytes(Digest(item.digest), item.size)
    await origin.idle()

    assert paused.outcome == "paused"
    assert 0 < stopped_at < item.size
    assert proxy.store.stored_bytes(Digest(item.digest), item.size) == stopped_at


@pytest.mark.parametrize("outcome", ["paused", "interrupted"])
async def test_what_was_stopped_goes_on_soon_whatever_the_schedule(
    proxy: RunningProxy, clock: Clock, outcome: str
) -> None:
    """Also after a restart, which knows only what the book says."""
    known = await open_rulebook(proxy.config, proxy.cache)
    last = Result(started_at=clock.now - 100, ended_at=clock.now - 10, outcome=outcome)
    await proxy.cache.storage.threads.ledger(lambda: known.note("lab", last=last))
    rule = Rule(name="lab", mirror="test", filters=("release=noble",), schedule="every 7d")
    async with scheduled(proxy, clock, rule) as book:
        assert (await ran(proxy, book, "lab", clock.now)).outcome == "complete"


async def test_what_failed_is_tried_again_before_its_time(
    proxy: RunningProxy, clock: Clock, origin: Origin
) -> None:
    rule = Rule(name="lab", mirror="test", filters=("release=noble",), schedule="every 7d")
    origin.fault("streams/*", Fault(status=500))
    async with scheduled(proxy, clock, rule) as book:
        failed = await ran(proxy, book, "lab", 0)
        again_at = await due_at(proxy, book, "lab", clock.now + 1)
        origin.heal()
        clock.now = again_at
        complete = await ran(proxy, book, "lab", failed.started_at + 1)

    assert (failed.outcome, complete.outcome) == ("failed", "complete")
    assert 60 <= again_at - failed.ended_at <= HOUR


async def test_a_rule_that_cannot_run_does_not_stop_another(
    proxy: RunningProxy, clock: Clock, tmp_path: Path
) -> None:
    (tmp_path / "data" / "rules" / "broken").mkdir(parents=True)
    rules = [
        Rule(name=name, mirror="test", filters=("release=noble",), schedule="every 1h")
        for name in ("broken", "good")
    ]
    async with scheduled(proxy, clock, *rules) as book:
        assert (await ran(proxy, book, "good", 0)).outcome == "complete"


async def test_a_busy_rule_waits_for_its_turn(proxy: RunningProxy, clock: Clock) -> None:
    rule = Rule(name="lab", mirror="test", filters=("release=noble",), schedule="every 1h")
    lock = await asyncio.to_thread((await open_rulebook(proxy.config, proxy.cache)).lock, "lab")
    async with scheduled(proxy, clock, rule) as book:
        later = await due_at(proxy, book, "lab", clock.now + 1)
        assert (await proxy.cache.storage.threads.ledger(book.page, "lab")).last is None
        lock.close()
        clock.now = later
        assert (await ran(proxy, book, "lab", 0)).outcome == "complete"


async def test_outside_of_its_window_a_due_rule_waits(proxy: RunningProxy, clock: Clock) -> None:
    local = datetime.fromtimestamp(clock.now, LocalTime())
    opens = (local + timedelta(hours=3)).strftime("%H:%M")
    closes = (local + timedelta(hours=4)).strftime("%H:%M")
    rule = Rule(name="lab", mirror="test", schedule="every 1h", window=f"{opens}-{closes}")
    async with scheduled(proxy, clock, rule) as book:
        opens_at = await due_at(proxy, book, "lab", clock.now)
        clock.advance(HOUR)
        await some_looks()
        assert (await proxy.cache.storage.threads.ledger(book.page, "lab")).last is None
        clock.now = opens_at
        assert (await ran(proxy, book, "lab", 0)).outcome == "complete"

    assert 2 * HOUR < opens_at - local.timestamp() <= 3 * HOUR


async def test_nothing_runs_while_offline(proxy: RunningProxy, clock: Clock) -> None:
    rule = Rule(name="lab", mirror="test", filters=("release=noble",), schedule="every 1h")
    proxy.cache.offline.turn(on=True)
    async with scheduled(proxy, clock, rule) as book:
        await some_looks()
        assert (await proxy.cache.storage.threads.ledger(book.page, "lab")).last is None
        proxy.cache.offline.turn(on=False)
        assert (await ran(proxy, book, "lab", 0)).outcome == "complete"


async def test_a_cancelled_run_is_noted_and_what_it_wants_is_pinned_before_it_is_here(
    proxy: RunningProxy, clock: Clock, tree: SignedTree, origin: Origin
) -> None:
    kernel = next(item for item in tree.items if item.path.endswith("boot-kernel"))
    origin.fault(kernel.path, Fault(stall_after=100))
    rule = Rule(name="lab", mirror="test", filters=(f"path={kernel.path}",))
    book = await open_rulebook(proxy.config, proxy.cache)
    run = asyncio.create_task(runner_of(proxy, book, clock).run(rule, Watcher()))
    await origin.arrived(kernel.path)
    ledger = proxy.cache.storage.threads.ledger

    pins = await ledger(proxy.cache.storage.pins.pinned_by, "rule lab")
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    page = await ledger(book.page, "lab")

    assert pins == {kernel.digest}
    assert page.last is not None
    assert page.last.outcome == "interrupted"
    assert not await asyncio.to_thread(book.is_running, "lab")


async def test_what_does_not_fit_is_said_and_nothing_is_pinned_for_it(
    tmp_path: Path, mirror: Mirror, clock: Clock, tree: SignedTree
) -> None:
    tree.add_item("p", "1", "one", size=3_000_000)
    tree.publish()
    config = make_config(
        tmp_path / "data", mirror, cache=StoreLimits(limit_bytes=1_000_000, min_free_bytes=0)
    )
    async with run_proxy(config, clock) as proxy:
        book = await open_rulebook(config, proxy.cache)
        rule = Rule(name="lab", mirror="test", filters=("product_name=p",))
        result = await runner_of(proxy, book, clock).run(rule, Watcher())
        pins = await proxy.cache.storage.threads.ledger(proxy.cache.storage.pins.names)

    assert result.outcome == "failed"
    assert "it does not fit" in str(result.problem)
    assert pins == {}


async def test_lists_that_cannot_be_checked_make_a_run_partial(
    proxy: RunningProxy, clock: Clock, origin: Origin
) -> None:
    rule = Rule(name="lab", mirror="test", filters=("release=noble",))
    book = await open_rulebook(proxy.config, proxy.cache)
    first = await runner_of(proxy, book, clock).run(rule, Watcher())
    await origin.stop()

    second = await runner_of(proxy, book, clock).run(rule, Watcher())

    assert (first.outcome, second.outcome) == ("complete", "partial")
    assert "its lists could not be checked" in str(second.problem)


async def test_a_record_of_another_release_is_passed_over(proxy: RunningProxy, clock: Clock) -> None:
    storage = proxy.cache.storage
    await storage.threads.ledger(storage.ledger.write, "rule/lab", {"last": {"colour": "blue"}})
    rule = Rule(name="lab", mirror="test", filters=("release=noble",))
    book = await open_rulebook(proxy.config, proxy.cache)

    assert (await runner_of(proxy, book, clock).run(rule, Watcher())).outcome == "complete"


async def test_what_a_gone_rule_kept_stays_for_a_while(proxy: RunningProxy, clock: Clock) -> None:
    rule = Rule(name="lab", mirror="test", filters=("release=noble",))
    storage = proxy.cache.storage
    book = await open_rulebook(proxy.config, proxy.cache)
    await runner_of(proxy, book, clock).run(rule, Watcher())
    before = await storage.threads.ledger(storage.pins.protected)

    gone = await storage.threads.ledger(book.release_all_but, [], HOUR)

    assert gone == {"rule lab"}
    assert await storage.threads.ledger(storage.pins.names) == {}
    assert await storage.threads.ledger(storage.pins.protected) == before


def test_schedules_follow_the_machines_time_zone() -> None:
    """Daylight saving included: 03:17 is 03:17 in winter and in summer."""
    program = (
        "from datetime import datetime; from proxy.jobs.rules import Rule\n"
        "when = Rule(name='lab', mirror='m', schedule='17 3 * * *').when()\n"
        "at = datetime(2026, 3, 27, 12).timestamp()\n"
        "for _ in range(4):\n"
        "    at = when.due_at(at, at); print(datetime.fromtimestamp(at).strftime('%d %H:%M'))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TZ": "Europe/Berlin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split("\n")[:4] == ["28 03:17", "29 03:17", "30 03:17", "31 03:17"]
