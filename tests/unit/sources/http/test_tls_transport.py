"""TLS to an origin, as aiohttp sees it: what ends a connection, and what is handed on before."""

import asyncio
import contextlib
import gc
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop
from aiohttp import ClientError, ClientPayloadError
from support.certificates import Certificate
from support.origin import Origin
from support.upstreams import Meter, asked_with

from proxy.sources.errors import OriginUnreachable
from proxy.sources.http.origin import HttpOrigin
from proxy.sources.http.redirects import RedirectGuard
from proxy.sources.http.reply import Reply
from proxy.sources.http.sessions import Sessions
from proxy.sources.http.tls_session import TlsSession
from proxy.sources.http.tls_transport import TlsProtocol, TlsTransport
from proxy.sources.options import UpstreamOptions

OPTIONS = UpstreamOptions(connections=1, connect_timeout_s=30, stall_timeout_s=30)
BODY = bytes(range(256)) * 4096
"""Less than is read past the library."""

NO_RECORD = b"\x17\x03\x03\x00\x40" + bytes(64)
"""What nobody has encrypted with the keys of the session."""
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def past_tls(writer: asyncio.StreamWriter) -> socket.socket:
    """Return the connection below a server's session, as somebody on the way has it. To be closed."""
    return socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno()))


@pytest.fixture(params=[uvloop.run, asyncio.run])
def run(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Run something on the loop that serves, and on the one of commands."""
    runner: Callable[..., None] = request.param
    return runner


async def end_without_a_word(writer: asyncio.StreamWriter) -> None:
    """End the connection as anybody on the way can."""
    await writer.drain()
    with past_tls(writer) as connection:
        connection.shutdown(socket.SHUT_WR)


async def send_no_record(writer: asyncio.StreamWriter) -> None:
    """Add what nobody can decrypt."""
    await writer.drain()
    with past_tls(writer) as connection:
        connection.sendall(NO_RECORD)


async def reset(writer: asyncio.StreamWriter) -> None:
    """Reset the connection."""
    await writer.drain()
    writer.transport.abort()


async def asked(certificate: Certificate, answer: Answer, is_over: asyncio.Event | None = None) -> bytes:
    """Return the body of what a server answers to one request; the server is told when that is over."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=certificate.server)
    port = server.sockets[0].getsockname()[1]
    async with server, Sessions(OPTIONS) as sessions:
        session = sessions._direct
        async with session.get(f"https://127.0.0.1:{port}/") as response:
            assert response.connection is None or isinstance(response.connection.transport, TlsTransport)
            try:
                return await response.read()
            finally:
                if is_over is not None:
                    is_over.set()


def test_a_body_without_a_length_ends_with_the_connection(
    trusted: Certificate, run: Callable[..., None]
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + BODY)
        writer.close()

    async def ask() -> None:
        assert await asked(trusted, answer) == BODY

    run(ask())


def test_a_body_that_is_cut_is_no_whole_one(trusted: Certificate, run: Callable[..., None]) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(BODY) + 1) + BODY)
        await writer.drain()
        writer.transport.abort()

    async def ask() -> None:
        with pytest.raises((ClientError, ConnectionError)):
            await asked(trusted, answer)

    run(ask())


async def take(reply: Reply, received: bytearray) -> None:
    """Add a body to what was received."""
    async for piece in reply.pieces():
        received += piece if isinstance(piece, bytes) else piece.read()


@pytest.mark.parametrize("end", [end_without_a_word, send_no_record, reset])
def test_only_the_origin_can_end_a_body_without_a_length(
    trusted: Certificate,
    run: Callable[..., None],
    end: Callable[[asyncio.StreamWriter], Awaitable[None]],
) -> None:
    """Or whoever is on the way could cut a list of files (RFC 9112 section 9.8)."""
    is_over = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + BODY[:1000])
        await end(writer)
        await is_over.wait()
        writer.close()

    async def ask() -> None:
        with pytest.raises(ClientPayloadError):
            await asked(trusted, answer, is_over)

    run(ask())


async def test_a_record_that_never_ends_is_silence(trusted: Certificate) -> None:
    """However often a byte of it comes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + BODY)
        await writer.drain()
        with past_tls(writer) as connection:
            connection.sendall(b"\x17\x03\x03\x40\x00")
            for _ in range(16_000):
                await asyncio.sleep(0.05)
                try:
                    connection.sendall(b"x")
                except OSError:
                    break
        writer.transport.abort()

    options = UpstreamOptions(connect_timeout_s=30, stall_timeout_s=0.5)
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=trusted.server)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server, Sessions(options) as sessions, asyncio.timeout(60):
        upstream = HttpOrigin(url, sessions, RedirectGuard([url], (), tls_only=True), Meter())
        received = bytearray()
        async with upstream.open("one") as reply:
            with pytest.raises(OriginUnreachable, match="no byte for"):
                await take(reply, received)
        assert received == BODY


def test_a_handshake_that_nobody_waits_for_any_more_ends_in_silence(
    trusted: Certificate, run: Callable[..., None]
) -> None:
    """As where a client leaves at that moment."""

    async def give_up() -> None:
        loop, complaints, ended = asyncio.get_running_loop(), list[object](), asyncio.Event()
        loop.set_exception_handler(lambda _, context: complaints.append(context))

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()
            ended.set()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            transport, _ = await loop.create_connection(
                lambda: TlsProtocol(asyncio.Protocol, trusted.client, "127.0.0.1"),
                *server.sockets[0].getsockname(),
            )
            transport.abort()
            await ended.wait()
            del transport, _
            gc.collect()
        assert complaints == []

    run(give_up())


def test_what_cannot_be_encrypted_yet_is_sent_later(trusted: Certificate) -> None:
    """As when an origin shakes hands anew before the next request (TLS 1.2)."""
    there = trusted.server
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = there.wrap_bio(to_server, to_client, server_side=True)
    session = TlsSession(trusted.client, "127.0.0.1")
    session.write(b"one request")
    is_over = session.shake_hands()
    while not is_over:
        to_server.write(session.take_outgoing())
        with contextlib.suppress(ssl.SSLWantReadError):
            server.do_handshake()
        session.feed(to_client.read())
        is_over = session.shake_hands()
    to_server.write(session.take_outgoing())
    assert server.read(100) == b"one request"
    assert session.take_outgoing() == b""


def test_what_is_no_record_ends_the_connection(tmp_path: Path, trusted: Certificate) -> None:
    """Nothing of it is handed on."""

    async def ask() -> None:
        async with Origin(tmp_path, tls=trusted.server) as origin, Sessions(OPTIONS) as sessions:
            (tmp_path / "one").write_bytes(BODY)
            upstream = asked_with(sessions, origin, Meter())
            async with upstream.open("one") as reply:
                transport = reply._response.connection.transport  # type: ignore[union-attr]
                assert isinstance(transport, TlsTransport)
                transport._protocol.data_received(b"no record at all")
                assert transport.is_closing()
                assert isinstance(transport._protocol._error, ssl.SSLError)

    asyncio.run(ask())


def test_nothing_is_handed_on_while_reading_is_paused(tmp_path: Path, trusted: Certificate) -> None:
    """What has come by then is handed on when it goes on."""

    async def ask() -> None:
        (tmp_path / "one").write_bytes(BODY[:200_000])
        async with Origin(tmp_path, tls=trusted.server) as origin, Sessions(OPTIONS) as sessions:
            upstream = asked_with(sessions, origin, Meter())
            async with upstream.open("one") as reply:
                content, connection = reply._response.content, reply._response.connection
                if connection is not None and connection.transport is not None:
                    connection.transport.pause_reading()
                before = content.total_bytes
                await origin.idle()
                assert content.total_bytes == before
                if connection is not None and connection.transport is not None:
                    connection.transport.resume_reading()
                assert b"".join([part async for part in reply.chunks()]) == BODY[:200_000]

    asyncio.run(ask())
