"""Each kind of blocking work has threads of its own, and nobody uses those that all would share."""

import ast
import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import proxy
from proxy.system.threads import Threads, outcome

MODULES = sorted(Path(proxy.__file__).parent.rglob("*.py"))
SHARED = {"to_thread", "getaddrinfo", "getnameinfo", "sock_connect"}
"""What asyncio does with the pool of the loop, for whoever calls it."""


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Yield the methods that are called. Functions of `socket` block whoever calls them, wherever."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name = node.func.attr
            yield ("" if ast.unparse(node.func.value) == "socket" else name), node


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(MODULES[0].parent)))
def test_nothing_runs_in_the_pool_of_the_event_loop(path: Path) -> None:
    """What hangs there, a disk or a name server, would stop all the others."""
    for name, call in calls(path):
        where = f"{path}:{call.lineno}"
        assert name not in SHARED, where
        if name == "run_in_executor":
            assert not isinstance(call.args[0], ast.Constant), where


@pytest.mark.parametrize(
    ("cpus", "sharing", "expected"),
    [
        (1, 1, 2),
        (1, 2, 1),
        (2, 1, 2),
        (2, 2, 1),
        (3, 1, 3),
        (3, 2, 1),
        (4, 2, 2),
        (4, 4, 1),
        (64, 1, 8),
        (64, 4, 8),
    ],
)
async def test_no_more_threads_than_cpus_are_kept_busy_with_what_arrives(
    cpus: int, sharing: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More would finish no sooner, and the event loops of all workers would wait for a CPU behind them."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cpus)))
    threads = Threads(sharing)
    loop, is_released, begun = asyncio.get_running_loop(), threading.Event(), asyncio.Semaphore(0)

    def hash_slowly() -> None:
        loop.call_soon_threadsafe(begun.release)
        is_released.wait(30)

    hashing = [asyncio.wrap_future(threads.begin_draw(hash_slowly)) for _ in range(expected + 2)]
    for _ in range(expected):
        await begun.acquire()
    await threads.disk(lambda: None)
    await threads.sync(lambda: None)
    assert begun.locked()
    is_released.set()
    await asyncio.gather(*hashing)
    await threads.close()


async def test_what_keeps_a_cpu_busy_lets_the_event_loop_have_it_first() -> None:
    """Each wait of the loop for a CPU is one of all clients, and there are several before a first byte."""
    threads = Threads()
    drawing = await outcome(threads.begin_draw(niceness))
    assert drawing > niceness()
    assert await threads.disk(niceness) == await threads.ledger(niceness) == niceness()
    await threads.close()


def niceness() -> int:
    """Return how nice the thread is that calls this."""
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


async def test_who_waits_for_a_thread_and_is_cancelled_waits_until_it_has_ended() -> None:
    threads, is_released = Threads(), threading.Event()
    work = threads.begin_disk(is_released.wait, 30)
    waiting = asyncio.create_task(outcome(work))
    for _ in range(2):
        await asyncio.sleep(0)
        waiting.cancel()
    await asyncio.sleep(0)
    assert not waiting.done()
    is_released.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert work.done()
    assert await outcome(work)
    await threads.close()


async def test_what_a_thread_raises_is_raised_where_it_is_waited_for() -> None:
    threads = Threads()
    with pytest.raises(ZeroDivisionError):
        await outcome(threads.begin_disk(lambda: 1 // 0))
    await threads.close()


async def test_who_gives_up_waits_for_no_thread_and_what_has_not_begun_never_does() -> None:
    threads, is_released, begun = Threads(), threading.Event(), threading.Event()
    running = asyncio.create_task(threads.ledger(is_released.wait, 30))
    behind = asyncio.create_task(threads.ledger(begun.set))
    await asyncio.sleep(0)
    for waiting in (running, behind):
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    is_released.set()
    assert await threads.ledger(int) == 0
    assert not begun.is_set()
    await threads.close()


async def test_who_waits_for_what_never_begins_is_cancelled() -> None:
    """As when a process ends: nothing more is begun, and nobody waits without end."""
    threads, is_released = Threads(), threading.Event()
    running = asyncio.create_task(threads.disk(is_released.wait, 30))
    waiting = [asyncio.create_task(threads.disk(is_released.wait, 30)) for _ in range(20)]
    await asyncio.sleep(0)
    closing = asyncio.create_task(threads.close())
    with pytest.raises(asyncio.CancelledError):
        await waiting[-1]
    is_released.set()
    await closing
    assert await running


def test_what_ends_after_its_event_loop_tells_nobody(caplog: pytest.LogCaptureFixture) -> None:
    threads, is_released = Threads(), threading.Event()

    async def leave() -> None:
        waiting = asyncio.create_task(threads.slow(is_released.wait, 30))
        await asyncio.sleep(0)
        waiting.cancel()

    asyncio.run(leave())
    is_released.set()
    asyncio.run(threads.close())
    assert not caplog.records
