"""TLS to an origin, as aiohttp sees it: what ends a connection, and what is handed on before."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop
from aiohttp import ClientError
from support.certificates import Certificate
from support.origin import Origin
from support.upstreams import Meter, asked_with

from proxy.sources.http.sessions import Sessions
from proxy.sources.http.tls_transport import TlsTransport
from proxy.sources.options import UpstreamOptions

OPTIONS = UpstreamOptions(connections=1, connect_timeout_s=30, stall_timeout_s=30)
BODY = bytes(range(256)) * 4096
"""Less than is read past the library."""

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(params=[uvloop.run, asyncio.run])
def run(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Run something on the loop that serves, and on the one of commands."""
    runner: Callable[..., None] = request.param
    return runner


async def asked(certificate: Certificate, answer: Answer) -> bytes:
    """Return the body of what a server answers to one request."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=certificate.server)
    port = server.sockets[0].getsockname()[1]
    async with server, Sessions(OPTIONS) as sessions:
        session = sessions._direct
        async with session.get(f"https://127.0.0.1:{port}/") as response:
            assert response.connection is None or isinstance(response.connection.transport, TlsTransport)
            return await response.read()


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
