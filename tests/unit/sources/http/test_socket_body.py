"""The rest of a large body comes straight from its socket, plain or over TLS, and the connection lives on."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from time import monotonic

import aiohttp
import pytest
import trustme
import uvloop
from support.certificates import Certificate
from support.faults import Fault
from support.origin import Origin
from support.tree import random_blocks
from support.upstreams import Meter, asked_with

from proxy.sources.candidates import Doubts, Source
from proxy.sources.errors import OriginUnreachable
from proxy.sources.http import socket_body
from proxy.sources.http.origin import HttpOrigin as Upstream
from proxy.sources.http.reply import Reply
from proxy.sources.http.sessions import Sessions
from proxy.sources.http.socket_body import SocketBody
from proxy.sources.options import UpstreamOptions
from proxy.sources.pull import Pull
from proxy.sources.route import Route
from proxy.sources.segments.hosts import Hosts

SIZE = 5_000_000
DATA = b"".join(random_blocks("straight", SIZE))
OPTIONS = UpstreamOptions(connections=1, stall_timeout_s=2)
BUFFER = memoryview(bytearray(100_000))


@pytest.fixture(params=["http", "https"])
def tls(request: pytest.FixtureRequest, trusted: Certificate) -> ssl.SSLContext | None:
    """Return what an origin of either kind serves with."""
    return trusted.server if request.param == "https" else None


@pytest.fixture
async def origin(tmp_path: Path, tls: ssl.SSLContext | None) -> AsyncIterator[Origin]:
    """Serve one large and one small file."""
    (tmp_path / "big").write_bytes(DATA)
    (tmp_path / "small").write_bytes(DATA[:1000])
    async with Origin(tmp_path, tls=tls) as origin:
        yield origin


@pytest.fixture
def meter() -> Meter:
    return Meter()


@pytest.fixture
async def upstream(origin: Origin, meter: Meter) -> AsyncIterator[Upstream]:
    """Return the proxy's side of it."""
    async with Sessions(OPTIONS) as sessions:
        yield asked_with(sessions, origin, meter)


async def received(reply: Reply, into: bytearray, *, is_replaceable: bool = False) -> int:
    """Add a body to `into`; return how many bytes did not pass the library."""
    straight_bytes = 0
    async for piece in reply.pieces(is_replaceable=is_replaceable):
        if isinstance(piece, SocketBody):
            while count := await asyncio.to_thread(piece.read_into, BUFFER):
                into += BUFFER[:count]
                straight_bytes += count
        else:
            into += piece
    return straight_bytes


async def received_to(stop: int, reply: Reply, into: bytearray) -> None:
    """Add a body to `into`, with a read that ends just there."""
    async for piece in reply.pieces():
        if isinstance(piece, SocketBody):
            room = BUFFER[: stop - len(into)] or BUFFER
            into += room[: await asyncio.to_thread(piece.read_into, room)]
        else:
            into += piece


def open_sockets() -> int:
    links = list(Path("/proc/self/fd").iterdir())
    return sum(link.is_symlink() and str(link.readlink()).startswith("socket:") for link in links)


async def test_most_of_a_large_body_never_passes_the_library(upstream: Upstream, meter: Meter) -> None:
    """Every byte arrives once, in order, and is counted."""
    body = bytearray()
    async with upstream.open("big") as reply:
        assert await received(reply, body) > SIZE / 2
    assert body == DATA
    assert meter.received_bytes == SIZE


async def test_little_has_come_before_a_thread_takes_over(upstream: Upstream) -> None:
    """However late that is: what the event loop receives delays the first byte of whoever waits."""
    async with upstream.open("big") as reply:
        content, before = reply._response.content, -1
        while content.total_bytes != before:
            before = content.total_bytes
            await asyncio.sleep(0.05)
        assert content.total_bytes < SIZE / 10


async def test_what_has_come_is_not_waited_for(upstream: Upstream) -> None:
    """Who had too little room for all of it finds the rest at once; who found nothing waits for more."""
    body, was_there = bytearray(), set()
    async with upstream.open("big") as reply:
        async for piece in reply.pieces():
            if not isinstance(piece, SocketBody):
                body += piece
                continue
            count = await asyncio.to_thread(piece.read_into, BUFFER)
            body += BUFFER[:count]
            if piece.left_bytes:
                was_there.add((count == len(BUFFER), piece.has_more()))
    assert body == DATA
    assert (True, True) in was_there
    assert (True, False) not in was_there
    assert not {(False, True)} & was_there or upstream.name.startswith("https")


async def test_the_connection_serves_the_next_request(upstream: Upstream, origin: Origin) -> None:
    """The library gets it back in order: large and small answers follow one another on it."""
    for path, size in (("big", SIZE), ("small", 1000), ("big", SIZE), ("big", SIZE)):
        body = bytearray()
        async with upstream.open(path) as reply:
            await received(reply, body)
        assert body == DATA[:size]
    assert origin.connections == 1


async def test_a_rest_of_less_than_a_mebibyte_is_left_to_the_library(upstream: Upstream) -> None:
    for path, offset in (("small", 0), ("big", SIZE - 500_000)):
        body = bytearray()
        async with upstream.open(path, offset=offset) as reply:
            assert await received(reply, body) == 0
        assert body == DATA[offset : 1000 if path == "small" else SIZE]


async def test_a_connection_that_broke_before_its_body_is_read_is_told_like_any_other(
    upstream: Upstream, origin: Origin
) -> None:
    """What it brought comes first."""
    origin.fault("big", Fault(close_after=10_000))
    body = bytearray()
    async with upstream.open("big") as reply:
        async with asyncio.timeout(10):
            while reply._response.content.exception() is None:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
        assert not SocketBody.is_possible(reply._response)
        with pytest.raises(OriginUnreachable, match="ended before the answer did"):
            await received(reply, body)
    assert body == DATA[: len(body)]


async def test_each_sign_that_a_body_is_over_leaves_it_to_the_library(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come together as a rule, in whatever order."""
    async with upstream.open("big") as reply:
        response = reply._response
        assert SocketBody.is_possible(response)
        assert response.connection is not None
        assert response.connection.protocol is not None
        with monkeypatch.context() as patch:
            patch.setattr(response.connection.protocol, "transport", None)
            assert not SocketBody.is_possible(response)
        with monkeypatch.context() as patch:
            patch.setattr(response.content, "_exception", ConnectionResetError())
            assert not SocketBody.is_possible(response)
        assert SocketBody.is_possible(response)


async def test_from_the_least_size_on_a_rest_is_read_past_the_library(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with upstream.open("big") as reply:
        response = reply._response
        assert response.content_length is not None
        left_bytes = response.content_length - response.content.total_bytes
        for least_bytes, is_possible in ((left_bytes, True), (left_bytes + 1, False)):
            monkeypatch.setattr(socket_body, "_LEAST_BYTES", least_bytes)
            assert SocketBody.is_possible(response) is is_possible


async def test_a_connection_that_is_closed_while_it_is_idle_is_noticed(
    upstream: Upstream, origin: Origin
) -> None:
    """The library watches it again once it has it back."""
    before = open_sockets()
    async with upstream.open("big") as reply:
        assert await received(reply, bytearray()) > SIZE / 2
    assert open_sockets() == before + 2
    await origin.stop()
    async with asyncio.timeout(10):
        while open_sockets() >= before:  # noqa: ASYNC110 - the library tells nobody
            await asyncio.sleep(0.01)


def test_all_this_is_so_on_the_loop_that_serves(
    tmp_path: Path, meter: Meter, tls: ssl.SSLContext | None
) -> None:
    """Whole bodies, one that breaks off, and another after it."""
    (tmp_path / "big").write_bytes(DATA)

    async def use() -> None:
        async with Origin(tmp_path, tls=tls) as origin, Sessions(OPTIONS) as sessions:
            upstream = asked_with(sessions, origin, meter)
            for connections, fault in ((1, Fault()), (1, Fault(close_after=3_000_000)), (2, Fault())):
                origin.fault("big", fault, times=1)
                body = bytearray()
                with suppress(OriginUnreachable):
                    async with upstream.open("big") as reply:
                        assert await received(reply, body) > SIZE / 4
                assert body == DATA[: fault.close_after]
                assert origin.connections == connections

    uvloop.run(use())


async def test_the_rest_of_a_range_is_read_alike(upstream: Upstream) -> None:
    """A transfer goes on where an earlier one ended."""
    body = bytearray()
    async with upstream.open("big", offset=1_000_000) as reply:
        assert await received(reply, body)
    assert body == DATA[1_000_000:]


async def test_who_has_no_buffer_gets_bytes(upstream: Upstream) -> None:
    """What nothing stores is read in pieces."""
    body = b""
    async with upstream.open("big") as reply:
        async for piece in reply.pieces():
            body += await asyncio.to_thread(piece.read) if isinstance(piece, SocketBody) else piece
    assert body == DATA


@pytest.mark.parametrize(
    ("fault", "reason"),
    [(Fault(cut_after=3_000_000), "reset"), (Fault(close_after=3_000_000), "2000000 bytes are missing")],
)
async def test_a_body_that_breaks_off_is_found_out_after_its_last_byte(
    origin: Origin, upstream: Upstream, meter: Meter, fault: Fault, reason: str
) -> None:
    """What came before the end is right, and the next request has a connection of its own."""
    origin.fault("big", fault, times=1)
    body = bytearray()
    with pytest.raises(OriginUnreachable, match=reason):
        async with upstream.open("big") as reply:
            await received(reply, body)
    assert len(body) > SIZE / 4
    assert DATA.startswith(body)
    assert meter.failures == 1
    body = bytearray()
    async with upstream.open("big") as reply:
        await received(reply, body)
    assert body == DATA
    assert origin.connections == 2


async def test_silence_ends_a_body_after_the_stall_timeout(origin: Origin, upstream: Upstream) -> None:
    """Who sends nothing for so long is given up, with all that came before."""
    origin.fault("big", Fault(stall_after=3_000_000))
    body = bytearray()
    with pytest.raises(OriginUnreachable, match="no byte for 2 s"):
        async with upstream.open("big") as reply:
            await received(reply, body)
    assert body == DATA[:3_000_000]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(stall_after=3_000_000), "no byte for 1 s"),
        (Fault(close_after=3_000_000), "2000000 bytes are missing"),
        (Fault(cut_after=3_000_000), "reset"),
    ],
)
async def test_an_origin_that_ceases_where_a_read_filled_its_buffer_is_found_out_alike(
    origin: Origin, meter: Meter, fault: Fault, reason: str
) -> None:
    """That read says that there may be more, and the next one that there is not."""
    origin.fault("big", fault)
    body = bytearray()
    async with Sessions(replace(OPTIONS, stall_timeout_s=1)) as sessions, asyncio.timeout(30):
        upstream = asked_with(sessions, origin, meter)
        with pytest.raises(OriginUnreachable, match=reason):
            async with upstream.open("big") as reply:
                await received_to(3_000_000, reply, body)
    assert body == DATA[:3_000_000]


async def test_a_body_may_take_longer_than_the_stall_timeout(origin: Origin, meter: Meter) -> None:
    """Who sends little at a time is heard at once, and all the way."""
    origin.fault("big", Fault(rate_bytes_s=5_000_000))
    body = bytearray()
    async with Sessions(replace(OPTIONS, stall_timeout_s=0.4)) as sessions:
        upstream = asked_with(sessions, origin, meter)
        async with upstream.open("big") as reply:
            assert await received(reply, body)
    assert body == DATA


async def test_few_bytes_are_not_waited_upon(origin: Origin, upstream: Upstream) -> None:
    """What has come is to be had though the origin has ceased, long before the stall timeout."""
    stall = origin.fault("big", Fault(stall_after=3_000_123))
    body = bytearray()
    stalled_s = waited_s = 0.0
    async with upstream.open("big") as reply:
        async for piece in reply.pieces():
            body += await asyncio.to_thread(piece.read) if isinstance(piece, SocketBody) else piece
            if len(body) == 3_000_123:
                waited_s = time.monotonic() - stalled_s
                stall.remove()
            elif not stall.reached.is_set():
                stalled_s = time.monotonic()
    assert body == DATA
    assert waited_s < OPTIONS.stall_timeout_s / 2


async def test_more_than_was_announced_ends_the_connection(origin: Origin, upstream: Upstream) -> None:
    """The body ends where Content-Length says; what follows is nobody's answer."""
    origin.fault("big", Fault(length_error=-10), times=1)
    body = bytearray()
    async with upstream.open("big") as reply:
        assert await received(reply, body)
    assert body == DATA[:-10]
    body = bytearray()
    async with upstream.open("big") as reply:
        await received(reply, body)
    assert body == DATA
    assert origin.connections == 2


@pytest.mark.parametrize("fault", [Fault(chunked=True), Fault(truncate_to=1_000_000)])
async def test_what_has_no_length_or_little_of_it_is_left_to_the_library(
    origin: Origin, upstream: Upstream, fault: Fault
) -> None:
    """Only where the end is known, and far."""
    origin.fault("big", fault)
    body = bytearray()
    async with upstream.open("big") as reply:
        assert await received(reply, body) == 0
    assert body == DATA[: fault.truncate_to]


async def test_tls_of_the_librarys_own_is_left_to_it(tmp_path: Path) -> None:
    """What the socket holds is encrypted, as through the tunnel of a parent proxy."""
    (tmp_path / "big").write_bytes(DATA)
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    async with (
        Origin(tmp_path, tls=server) as origin,
        aiohttp.ClientSession() as session,
        session.get(origin.url + "big", ssl=client) as response,
    ):
        assert response.content_length == SIZE
        assert not SocketBody.is_possible(response)
        assert await response.read() == DATA


async def test_who_trickles_is_left_for_another(origin: Origin, meter: Meter) -> None:
    """As long as there is another."""
    origin.fault("big", Fault(rate_bytes_s=2_000_000))
    async with Sessions(replace(OPTIONS, stall_timeout_s=0.3, least_rate_bytes=10_000_000)) as sessions:
        upstream = asked_with(sessions, origin, meter)
        with pytest.raises(OriginUnreachable, match="it sends only"):
            async with upstream.open("big") as reply:
                await received(reply, bytearray(), is_replaceable=True)


def pull_from(*upstreams: Upstream) -> Pull:
    """Return a pull of the large file."""
    route = Route(upstreams, clock=time.monotonic)
    return Pull([Source(route, "big")], SIZE, 0, OPTIONS, Random(1), Doubts(), Hosts(4, monotonic))


async def test_a_transfer_goes_on_elsewhere_with_the_next_byte(
    tmp_path: Path, origin: Origin, meter: Meter, tls: ssl.SSLContext | None
) -> None:
    """And it is known whose bytes they are."""
    async with Origin(tmp_path, tls=tls) as other, Sessions(OPTIONS) as sessions:
        upstreams = [asked_with(sessions, one, meter) for one in (origin, other)]
        origin.fault("big", Fault(cut_after=3_000_000))
        body = bytearray()
        pull = pull_from(*upstreams)
        async for piece in pull.pieces():
            body += piece if isinstance(piece, bytes) else await asyncio.to_thread(piece.read)
        assert body == DATA
        (resumed,) = other.gets("big")
    first, second = pull.parts
    assert (first.origin, first.start) == (upstreams[0].name, 0)
    assert (second.origin, second.start, second.stop) == (upstreams[1].name, first.stop, SIZE)
    assert resumed.headers["Range"] == f"bytes={first.stop}-"


async def test_a_transfer_given_up_leaves_no_socket_open(origin: Origin, upstream: Upstream) -> None:
    """Whoever leaves in the middle of a body closes its connection, at once."""
    before = open_sockets()
    pieces = pull_from(upstream).pieces()
    async for piece in pieces:
        if isinstance(piece, SocketBody):
            break
    await pieces.aclose()
    await origin.idle()
    assert open_sockets() <= before


async def test_nothing_is_received_once_it_is_closed(upstream: Upstream) -> None:
    """A thread that comes late finds no descriptor, not another's."""
    left = []
    pieces = pull_from(upstream).pieces()
    async for piece in pieces:
        if isinstance(piece, SocketBody):
            left.append(piece)
            break
    await pieces.aclose()
    assert await asyncio.to_thread(left[0].read) == b""
    with pytest.raises(OSError, match="Bad file descriptor"):
        left[0].check()
