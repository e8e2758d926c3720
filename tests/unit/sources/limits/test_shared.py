"""The file by which processes share a limit: real processes on a real file, and files that are no good."""

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from multiprocessing.queues import Queue
from pathlib import Path

import pytest
from support.running import Clock
from support.sharing_a_limit import RATE, hold, take_for

from proxy.sources.limits.priority import Priority
from proxy.sources.limits.shared import SharedLimit

_SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "boards" / ".limit"


@pytest.fixture
def limit(path: Path, clock: Clock) -> Iterator[SharedLimit]:
    with closing(opened(path, clock)) as limit:
        yield limit


def opened(path: Path, clock: Clock) -> SharedLimit:
    """Return another process's hold on the limit; its share is a quarter."""
    limit = SharedLimit(path, RATE, RATE / 4, clock)
    limit.open()
    return limit


def drained(*limits: SharedLimit) -> int:
    """Take all that can be taken now, in turn; return how much that was."""
    total = 0
    while sizes := [size for one in limits if (size := one.take(Priority.DOCUMENT, 1).size_bytes)]:
        total += sum(sizes)
    return total


def taken_in(clock: Clock, seconds: float, *limits: SharedLimit) -> int:
    """Take all that can be taken while time passes."""
    total = 0
    for _ in range(int(seconds * 100)):
        clock.now += 0.01
        total += drained(*limits)
    return total


# Real processes


@pytest.mark.parametrize("processes", [1, 2, 5])
def test_processes_take_the_limit_together(path: Path, processes: int) -> None:
    seconds = 3.0
    results: Queue[int] = _SPAWN.Queue()
    running = [_SPAWN.Process(target=take_for, args=(path, seconds, results)) for _ in range(processes)]
    began = time.monotonic()
    for one in running:
        one.start()
    taken = [results.get(timeout=60) for _ in running]
    for one in running:
        one.join()
    passed = time.monotonic() - began
    assert sum(taken) <= RATE * (passed + 0.25)
    assert sum(taken) >= RATE * seconds * 0.95


@pytest.mark.parametrize("fate", [signal.SIGSTOP, signal.SIGKILL])
def test_nobody_waits_for_a_process_that_stands_still_or_died_with_the_lock(
    path: Path, limit: SharedLimit, clock: Clock, fate: signal.Signals
) -> None:
    held: Queue[int] = _SPAWN.Queue()
    holder = _SPAWN.Process(target=hold, args=(path, held))
    holder.start()
    try:
        os.kill(held.get(timeout=60), fate)
        began = time.monotonic()
        taken = taken_in(clock, 1.0, limit)
        assert time.monotonic() - began < 20
    finally:
        holder.kill()
        holder.join()
    assert taken == pytest.approx(RATE * 1.25, rel=0.05)


# What may be wrong with the file


def test_two_share_it(path: Path, limit: SharedLimit, clock: Clock) -> None:
    with closing(opened(path, clock)) as other:
        drained(limit, other)
        assert taken_in(clock, 2.0, limit, other) == pytest.approx(2 * RATE, rel=0.03)


@pytest.mark.parametrize("data", [b"", b"limit 1\n", b"\xff" * 10_000, bytes(10)])
def test_a_damaged_or_short_file_is_begun_anew(
    path: Path, limit: SharedLimit, clock: Clock, data: bytes
) -> None:
    with closing(opened(path, clock)) as other:
        drained(limit, other)
        path.write_bytes(data)
        assert taken_in(clock, 2.0, limit, other) == pytest.approx(2.25 * RATE, rel=0.03)


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_file_that_was_removed_or_replaced_is_shared_with_newcomers_within_a_second(
    path: Path, limit: SharedLimit, clock: Clock, *, is_replaced: bool
) -> None:
    path.unlink()
    if is_replaced:
        path.write_bytes(b"")
    with closing(opened(path, clock)) as newcomer:
        taken_in(clock, 1.5, limit, newcomer)
        assert taken_in(clock, 2.0, limit, newcomer) == pytest.approx(2 * RATE, rel=0.03)


def test_without_a_file_each_keeps_to_its_share_and_says_so_once(
    path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    path.mkdir(parents=True)  # Nobody can open that.
    with caplog.at_level(logging.WARNING), closing(opened(path, clock)) as limit:
        drained(limit)
        assert taken_in(clock, 30.0, limit) == pytest.approx(30 * RATE / 4, rel=0.03)
    assert [record.msg.split()[0] for record in caplog.records] == ["limit.not_shared"]


def test_the_file_is_shared_as_soon_as_it_can_be(path: Path, clock: Clock) -> None:
    path.mkdir(parents=True)
    with closing(opened(path, clock)) as limit, closing(opened(path, clock)) as other:
        path.rmdir()
        taken_in(clock, 11.0, limit, other)
        assert taken_in(clock, 2.0, limit, other) == pytest.approx(2 * RATE, rel=0.03)
