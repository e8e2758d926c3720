"""A loop of ours that stands still: no origin is blamed for what lay unread meanwhile.

The origin runs in a thread of its own, so that it goes on.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvloop
from support.faults import Fault
from support.origin import Origin
from support.running import MOUNT, Got, RunningProxy, make_config, run_proxy
from support.tree import SignedTree

from proxy.mirror import Mirror
from proxy.sources.options import UpstreamOptions

MIB = 1024 * 1024
STALL_S = 0.8
STANDSTILL_S = 2 * STALL_S
OPTIONS = UpstreamOptions(
    connect_timeout_s=0.4, stall_timeout_s=STALL_S, give_up_after_s=10, connections_per_item=1
)
PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"


class ElsewhereOrigin:
    """An origin in a loop of its own."""

    def __init__(self, origin: Origin, loop: asyncio.AbstractEventLoop) -> None:
        self.origin = origin
        self._loop = loop

    async def wait_for(self, what: Coroutine[Any, Any, Any]) -> None:
        """Return once the coroutine has ended there."""
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(what, self._loop))

    def do(self, what: Callable[[], object]) -> None:
        """Do something there, soon."""
        self._loop.call_soon_threadsafe(what)


@asynccontextmanager
async def run_elsewhere(root: Path) -> AsyncIterator[ElsewhereOrigin]:
    """Run an origin of a folder in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    elsewhere = ElsewhereOrigin(Origin(root), loop)
    try:
        await elsewhere.wait_for(elsewhere.origin.start())
        yield elsewhere
        await elsewhere.wait_for(elsewhere.origin.stop())
    finally:
        elsewhere.do(loop.stop)
        await asyncio.to_thread(thread.join)
        loop.close()


@asynccontextmanager
async def mirrored(
    folder: Path, keyring: Path, tree: SignedTree
) -> AsyncIterator[tuple[RunningProxy, ElsewhereOrigin]]:
    """Run a proxy that knows one origin by two names: it would ask the other if it blamed one."""
    async with run_elsewhere(tree.root) as elsewhere:
        url = elsewhere.origin.url
        origins = url, url.replace("127.0.0.1", "localhost")
        mirror = Mirror(name="test", mount=MOUNT, origins=origins, keyring=str(keyring))
        async with run_proxy(make_config(folder / "data", mirror, upstream=OPTIONS)) as proxy:
            yield proxy, elsewhere


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    """Return a runner: one kind of loop reads before it looks at timers, the other after."""
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner


def stand_still() -> None:
    """Let our loop do nothing for longer than any timeout."""
    time.sleep(STANDSTILL_S)


def while_we_stand_still(do: Callable[[], None]) -> None:
    """Stop our process, while the origin goes on."""
    do()
    stand_still()


def after_all_stood_still(do: Callable[[], None]) -> None:
    """Stop the machine, so that nothing comes before it goes on."""
    stand_still()
    do()


WHENS = pytest.mark.parametrize("when", [while_we_stand_still, after_all_stood_still])


@WHENS
@pytest.mark.parametrize("fault", [Fault(), Fault(chunked=True)])
def test_bytes_that_came_meanwhile_are_read(
    tmp_path: Path,
    keyring: Path,
    tree: SignedTree,
    runner: asyncio.Runner,
    fault: Fault,
    when: Callable[[Callable[[], None]], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    item = tree.add_item(PRODUCT, "20250718", "squashfs", size=4 * MIB)
    tree.publish()

    async def read() -> int:
        async with mirrored(tmp_path, keyring, tree) as (proxy, elsewhere):
            await proxy.read("streams/v1/index.sjson")
            stalling = elsewhere.origin.fault(item.path, replace(fault, stall_after=2 * MIB))
            async with proxy.get(item.path) as response:
                body = await response.content.readexactly(MIB)
                when(lambda: elsewhere.do(stalling.remove))
                body += await response.content.read()
            assert body == item.read()
            return elsewhere.origin.count(item.path)

    assert runner.run(read()) == 1
    assert "origin.failed" not in caplog.text


async def answered(
    proxy: RunningProxy, elsewhere: ElsewhereOrigin, path: str, when: Callable[[Callable[[], None]], None]
) -> Got:
    """Ask for a path, and stand still before the answer is read."""
    gate = elsewhere.origin.gate(path)
    asking = asyncio.create_task(proxy.read(path))
    await elsewhere.wait_for(elsewhere.origin.arrived(path))
    when(lambda: elsewhere.do(gate.open))
    return await asking


@WHENS
def test_an_answer_that_came_meanwhile_is_taken(
    tmp_path: Path,
    keyring: Path,
    tree: SignedTree,
    runner: asyncio.Runner,
    when: Callable[[Callable[[], None]], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    item = tree.add_item(PRODUCT, "20250718", "squashfs", size=MIB)
    tree.publish()

    async def read() -> None:
        async with mirrored(tmp_path, keyring, tree) as (proxy, elsewhere):
            listed = await answered(proxy, elsewhere, "streams/v1/index.sjson", when)
            got = await answered(proxy, elsewhere, item.path, when)
            assert listed.status == 200
            assert got.body == item.read()
            assert elsewhere.origin.count(item.path) == 1

    runner.run(read())
    assert "origin.failed" not in caplog.text
    assert "mirror.origin_rejected" not in caplog.text
