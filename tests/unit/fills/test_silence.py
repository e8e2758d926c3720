"""When a leader is taken for stopped, and how it shows that it is not."""

import asyncio
import contextlib
import os
import threading

import pytest
from support.faults import Fault
from support.origin import Origin
from support.running import Clock
from support.transfers import Process, listed
from support.tree import TreeItem

from proxy.digest import digest_of
from proxy.fills.silence import Silence, Silences, signs_of_life
from proxy.system.threads import Threads

DIGEST = digest_of(b"an item")
LOOK_S = 0.05


@pytest.fixture
def silences(clock: Clock) -> Silences:
    return Silences(after_s=5.0, clock=clock)


def looks_until_too_long(silence: Silence, clock: Clock, sign: int) -> int:
    """Return how often it takes looking at the same sign."""
    for looks in range(1000):
        if silence.is_too_long(sign):
            return looks
        clock.advance(LOOK_S)
    raise AssertionError


def test_a_leader_that_shows_nothing_for_so_long_is_taken_for_stopped(
    clock: Clock, silences: Silences
) -> None:
    assert looks_until_too_long(Silence(DIGEST, silences), clock, 1) == pytest.approx(5 / LOOK_S, abs=2)


def test_each_sign_of_life_begins_the_wait_anew(clock: Clock, silences: Silences) -> None:
    silence = Silence(DIGEST, silences)
    for sign in range(1000):
        assert not silence.is_too_long(sign // 90)
        clock.advance(LOOK_S)


def test_time_in_which_the_follower_itself_stood_still_does_not_count(
    clock: Clock, silences: Silences
) -> None:
    silence = Silence(DIGEST, silences)
    for _ in range(10):
        assert not silence.is_too_long(1)
        clock.advance(3600)


def test_who_comes_later_need_not_wait_unless_there_was_a_sign(clock: Clock, silences: Silences) -> None:
    looks_until_too_long(Silence(DIGEST, silences), clock, 7)

    assert Silence(DIGEST, silences).is_too_long(7)
    assert not Silence(DIGEST, silences).is_too_long(8)
    assert not Silence(digest_of(b"another"), silences).is_too_long(7)


async def test_signs_of_life_on_a_slow_disk_keep_nobody_from_their_work(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that writes its journal may hold up each of them for many seconds."""
    loop, is_released, has_begun = asyncio.get_running_loop(), threading.Event(), asyncio.Event()

    def utime_slowly(fd: int) -> None:  # noqa: ARG001
        loop.call_soon_threadsafe(has_begun.set)
        is_released.wait(60)

    threads = Threads()
    digests = [digest_of(bytes([number])) for number in range(20)]
    parts = [await threads.disk(process.store.acquire, digest, 1) for digest in digests]
    monkeypatch.setattr(os, "utime", utime_slowly)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(threads.close)
        stack.callback(is_released.set)
        for part in parts:
            assert part is not None
            stack.push_async_callback(threads.disk, part.close)
            await stack.enter_async_context(signs_of_life(part, threads))
        async with asyncio.timeout(30):
            await has_begun.wait()
            await asyncio.sleep(0)
            assert await threads.disk(lambda: True)
        is_released.set()


async def test_a_leader_shows_that_it_lives_though_no_bytes_come(
    process: Process, origin: Origin, listing: TreeItem
) -> None:
    item = listed(listing)
    stall = origin.fault(item.path, Fault(stall_after=200_000))
    reading = asyncio.create_task(process.read(item))
    await stall.reached.wait()
    signs: set[int] = set()
    async with asyncio.timeout(60):
        while len(signs) < 3:
            file = process.store.follow(item.digest)
            if file is not None:
                with_bytes = file.progress()
                file.close()
                signs |= {with_bytes.last_sign} if with_bytes.length_bytes == 200_000 else set()
            await asyncio.sleep(0.05)
    stall.remove()
    assert await reading == listing.read()
