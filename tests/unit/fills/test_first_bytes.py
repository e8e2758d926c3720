"""When threads that bring much in rest, so that clients in any process have their first byte soon."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.faults import Fault
from support.origin import Origin
from support.transfers import Process, listed
from support.tree import TreeItem

from proxy.fills import first_bytes
from proxy.fills.first_bytes import FirstBytes

MIB = 1024 * 1024


class Threads:
    """What the threads of a process do: each receives a MiB at a time, and rests by a clock that stands."""

    def __init__(self, path: Path) -> None:
        self.now_s = 1000.0
        self.rests_s: list[float] = []
        self.first_bytes = FirstBytes(path, lambda: self.now_s, self.rests_s.append)
        self.receive = self.first_bytes.resting(len)

    def rests_for(self, received_bytes: int) -> int:
        """Return how often a thread rests before it receives so much."""
        before = len(self.rests_s)
        assert self.receive(memoryview(bytearray(received_bytes))) == received_bytes
        return len(self.rests_s) - before


@pytest.fixture
def threads(tmp_path: Path) -> Iterator[Threads]:
    threads = Threads(tmp_path / "boards" / ".first-bytes")
    threads.rests_for(MIB)
    yield threads
    threads.first_bytes.close()


@pytest.fixture
def other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Threads]:
    """Those of another process, which has another slot."""
    pid = os.getpid() + 1
    monkeypatch.setattr("os.getpid", lambda: pid)
    other = Threads(tmp_path / "boards" / ".first-bytes")
    other.rests_for(MIB)
    yield other
    other.first_bytes.close()


def test_threads_rest_only_while_a_first_byte_is_waited_for(threads: Threads) -> None:
    assert threads.rests_for(MIB) == 0
    with threads.first_bytes.waited_for():
        assert threads.rests_for(MIB) == 1
        assert threads.rests_for(MIB) == 1
    assert threads.rests_for(MIB) == 0


def test_who_receives_little_does_not_rest(threads: Threads) -> None:
    """A slow origin's bytes cost no CPU worth a rest, and a rest for each would cost its thread."""
    with threads.first_bytes.waited_for():
        threads.rests_for(0)
        assert sum(threads.rests_for(4096) for _ in range(100)) == 0
        assert sum(threads.rests_for(4096) for _ in range(29)) == 1


def test_threads_of_other_processes_rest_too(threads: Threads, other: Threads) -> None:
    with threads.first_bytes.waited_for():
        assert other.rests_for(MIB) == 1
    assert other.rests_for(MIB) == 0


def test_they_rest_until_the_last_of_all_processes_has_it(threads: Threads, other: Threads) -> None:
    with threads.first_bytes.waited_for():
        with threads.first_bytes.waited_for(), other.first_bytes.waited_for():
            pass
        assert (threads.rests_for(MIB), other.rests_for(MIB)) == (1, 1)


def test_what_fails_is_not_waited_for_any_longer(threads: Threads) -> None:
    with pytest.raises(ConnectionError), threads.first_bytes.waited_for():
        raise ConnectionError
    assert threads.rests_for(MIB) == 0


@pytest.mark.parametrize(("later_s", "rests"), [(0.04, 1), (0.06, 0), (3600.0, 0), (-3600.0, 0)])
def test_an_origin_that_takes_long_holds_nobody_up(threads: Threads, later_s: float, rests: int) -> None:
    """Nor does a process that was killed, or a clock that began anew with the machine."""
    with threads.first_bytes.waited_for():
        threads.now_s += later_s
        assert threads.rests_for(MIB) == rests


def test_a_file_of_nothing_but_ones_holds_nobody_up(threads: Threads, tmp_path: Path) -> None:
    with (tmp_path / "boards" / ".first-bytes").open("r+b") as file:
        file.write(b"\xff" * 512)
    assert threads.rests_for(MIB) == 0


@pytest.mark.parametrize("is_patient", [True, False])
async def test_threads_rest_until_a_client_has_its_first_byte_or_leaves(
    process: Process, origin: Origin, listing: TreeItem, *, is_patient: bool
) -> None:
    others = await asyncio.to_thread(Threads, process.storage.data_dir / "boards" / ".first-bytes")
    others.rests_for(MIB)
    process.facilities.first_bytes._clock = lambda: others.now_s
    held = origin.fault(listing.path, Fault(stall_after=0))
    opening = asyncio.create_task(process.open(listed(listing)))
    await held.reached.wait()
    assert others.rests_for(MIB) == 1
    if is_patient:
        held.remove()
        await (await opening).body.close()
    else:
        opening.cancel()
        await asyncio.wait([opening])
    assert others.rests_for(MIB) == 0
    others.first_bytes.close()


async def test_what_arrives_fast_is_brought_in_by_threads_that_rest(
    process: Process, listing: TreeItem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_bytes, "_WORK_BYTES", 1)
    of_process, rests_s = process.facilities.first_bytes, list[float]()
    of_process._clock, of_process._sleep = (lambda: 1000.0), rests_s.append
    with of_process.waited_for():
        assert await process.read(listed(listing)) == listing.read()
    assert rests_s
