"""Several acceptors at one listening socket, as several processes have them."""

import asyncio
import contextlib
import errno
import os
import resource
import socket
import time
from collections.abc import Callable, Iterator

import pytest
import uvloop

from proxy.processes.connection_shares import ConnectionShares
from proxy.web.wire.acceptor import Acceptor, Alone, Share


class Taker:
    """One process's end of a listening socket."""

    def __init__(self, listener: socket.socket, share: Share) -> None:
        self.taken: list[socket.socket] = []
        self.share = share
        share.told(0)
        self.listener = listener.dup()
        self.acceptor = Acceptor(self.listener, share, self._take)

    def _take(self, _: socket.socket, one: socket.socket) -> None:
        self.taken.append(one)
        self.share.told(len(self.taken))

    def close(self) -> None:
        self.acceptor.close()
        for one in self.taken:
            one.close()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        listener.setblocking(False)
        yield listener


def connect(listener: socket.socket, stack: contextlib.ExitStack) -> None:
    """Connect a client; it need not have been taken by then."""
    stack.enter_context(socket.create_connection(listener.getsockname()))


async def all_taken(takers: list[Taker], count: int) -> None:
    """Return when so many connections were taken."""
    async with asyncio.timeout(10):
        while sum(len(one.taken) for one in takers) < count:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


async def two(listener: socket.socket, stack: contextlib.ExitStack) -> list[Taker]:
    shares = ConnectionShares(2)
    takers = [Taker(listener, shares.share(place)) for place in range(2)]
    for one in takers:
        stack.callback(one.close)
    return takers


class Noting(Alone):
    """Notes when it is asked."""

    def __init__(self, seen: list[str]) -> None:
        self._seen = seen

    def leaves_for_s(self) -> float:
        self._seen.append("whose turn is it")
        return 0.0


class Ending(asyncio.Protocol):
    """A connection that notes its end."""

    def __init__(self, seen: list[str]) -> None:
        self._seen = seen

    def connection_lost(self, _: Exception | None) -> None:
        self._seen.append("one less")


@pytest.mark.parametrize("kind", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_connections_that_have_ended_do_not_count_when_new_ones_come(
    kind: Callable[[], asyncio.AbstractEventLoop], listener: socket.socket, stack: contextlib.ExitStack
) -> None:
    """A client that comes back at once would find its old connections counted, here or elsewhere."""
    seen: list[str] = []

    async def come_back() -> None:
        taker = Taker(listener, Noting(seen))
        stack.callback(taker.close)
        first = socket.create_connection(listener.getsockname())
        await all_taken([taker], 1)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: Ending(seen), taker.taken[0])
        seen.clear()
        first.close()
        connect(listener, stack)
        await all_taken([taker], 2)

    with asyncio.Runner(loop_factory=kind) as runner:
        runner.run(come_back())
    assert seen[:2] == ["one less", "whose turn is it"]


@pytest.mark.parametrize("at_once", [True, False])
async def test_connections_are_spread_evenly(
    listener: socket.socket, stack: contextlib.ExitStack, *, at_once: bool
) -> None:
    takers = await two(listener, stack)
    for number in range(32):
        connect(listener, stack)
        if not at_once:
            await all_taken(takers, number + 1)
    await all_taken(takers, 32)
    assert all(13 <= len(one.taken) <= 19 for one in takers)


async def test_clients_do_not_wait_for_a_process_that_hangs(
    listener: socket.socket, stack: contextlib.ExitStack
) -> None:
    """The other takes them all, and only the first waits for long."""
    shares = ConnectionShares(2)
    shares.share(1).told(0)
    taker = Taker(listener, shares.share(0))
    stack.callback(taker.close)
    for _ in range(100):
        connect(listener, stack)
    began_s = time.monotonic()
    await all_taken([taker], 100)
    assert time.monotonic() - began_s < 3  # As many waits as clients would be five seconds.


async def test_a_lack_of_descriptors_passes(
    listener: socket.socket, stack: contextlib.ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    taker = Taker(listener, Alone())
    stack.callback(taker.close)
    connect(listener, stack)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe = os.dup(0)
    os.close(probe)
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe, hard))
    try:
        await asyncio.sleep(0.05)
        assert not taken_by(taker)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    await all_taken([taker], 1)
    lacking = [one for one in caplog.messages if "connections.not_taken" in one]
    assert len(lacking) == 1
    assert os.strerror(errno.EMFILE) in lacking[0]


def taken_by(taker: Taker) -> int:
    return len(taker.taken)


async def test_a_port_that_was_closed_for_everybody_is_not_watched_any_more(
    listener: socket.socket, stack: contextlib.ExitStack
) -> None:
    """It would be ready to be read for ever."""
    taker = Taker(listener, Alone())
    stack.callback(taker.close)
    listener.shutdown(socket.SHUT_RDWR)
    await asyncio.sleep(0.05)
    assert not asyncio.get_running_loop().remove_reader(taker.listener)
