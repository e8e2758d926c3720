"""What an origin's failures are called: by real servers that fail in each way."""

import asyncio
import datetime as dt
import errno
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import ClientConnectorError, connector
from aiohttp.client_reqrep import ConnectionKey
from support.upstreams import Meter

from proxy.sources.document import Validators
from proxy.sources.errors import OriginError, OriginForbidden, OriginUnreachable
from proxy.sources.http.errors import ParentProxyRefused
from proxy.sources.http.origin import HttpOrigin
from proxy.sources.http.reasons import explain, explain_parent_refusal
from proxy.sources.http.redirects import RedirectGuard
from proxy.sources.http.sessions import Sessions
from proxy.sources.options import UpstreamOptions

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OPTIONS = UpstreamOptions(connect_timeout_s=1, stall_timeout_s=0.5)
FAR = "http://images.example/"
FAR_TLS = "https://images.example/"
LONG_AGO = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


def says(reply: bytes, *, is_reset: bool = False) -> Handler:
    """Return a server that reads a request and says this, whatever it is."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(reply)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            if is_reset:
                writer.transport.abort()
            writer.close()

    return handle


def reply(status: int, headers: str = "") -> bytes:
    return f"HTTP/1.1 {status} Whatever\r\nContent-Length: 2\r\n{headers}\r\nok".encode()


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


@asynccontextmanager
async def listening(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    server = await asyncio.start_server(handler, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def problem(url: str, options: UpstreamOptions = OPTIONS) -> OriginError:
    """Return what asking an origin for a document comes to."""
    async with Sessions(options) as sessions:
        origin = HttpOrigin(url, sessions, RedirectGuard([url], (), tls_only=False), Meter())
        with pytest.raises(OriginError) as caught:
            await origin.fetch("document", Validators())
        return caught.value


def through(port: int, **changes: Any) -> UpstreamOptions:
    return replace(OPTIONS, parent_proxy=f"http://user:s3cret@127.0.0.1:{port}", **changes)


def closed_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """Return an authority that this machine knows."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    monkeypatch.setattr(connector, "_SSL_CONTEXT_VERIFIED", context)
    return authority


def serving(authority: trustme.CA, *names: str, not_after: dt.datetime | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*(names or ("127.0.0.1",)), not_after=not_after).configure_cert(context)
    return context


# Connections


async def test_a_name_that_does_not_resolve() -> None:
    found = await problem("http://no-such-name.invalid/")
    assert isinstance(found, OriginUnreachable)
    assert "the name 'no-such-name.invalid' does not resolve" in str(found)
    assert "/etc/resolv.conf" in str(found)


async def test_a_port_where_nobody_listens() -> None:
    found = await problem(f"http://127.0.0.1:{closed_port()}/")
    assert "nothing listens there (connection refused)" in str(found)


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (says(b""), "it closed the connection without an answer"),
        (say_nothing, "no byte for as long as [upstream] stall_timeout"),
        (
            says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
            "the connection ended before the answer did",
        ),
        (says(b"SSH-2.0-OpenSSH_9.2\r\n"), "does not begin as HTTP does"),
        (says(b"\x15\x03\x01\x00\x02\x02\x46"), "its address should begin with https://"),
        (says(reply(401)), "it wants a login: write it into the origin's URL"),
        (says(reply(503)), "it is overloaded, or being worked at"),
        (says(reply(418)), "it answered with status 418"),
        (says(reply(599)), "it answered with status 599"),
        (
            says(b"HTTP/1.1 302 Found\r\nLocation: http://localhost:1/\r\nContent-Length: 0\r\n\r\n"),
            "it redirects to localhost, which resolves to the private address",
        ),
    ],
)
async def test_what_a_server_does_is_said_in_words(handler: Handler, words: str) -> None:
    async with listening(handler) as port:
        found = str(await problem(f"http://127.0.0.1:{port}/"))
    assert words in found
    for jargon in ("Error", "errno", "^", "None", "No route to host"):
        assert jargon not in found


# TLS


async def test_a_certificate_of_nobody_known(authority: trustme.CA) -> None:
    async with listening(says(reply(200)), serving(authority)) as port:
        found = str(await problem(f"https://127.0.0.1:{port}/"))
    assert (
        "its certificate is not trusted: it comes from an authority that this machine does not know" in found
    )
    assert "update-ca-certificates" in found
    assert "not permitted" not in found


async def test_a_body_without_a_length_that_may_have_been_cut(trusted: trustme.CA) -> None:
    cut = says(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf", is_reset=True)
    async with listening(cut, serving(trusted)) as port:
        found = str(await problem(f"https://127.0.0.1:{port}/"))
    assert "the connection ended before the answer did: it broke, or ended without a word of TLS" in found


async def test_a_session_that_breaks_before_the_answer(trusted: trustme.CA) -> None:
    """It has a number, which means something else among errors of the operating system."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as below:
            below.sendall(b"\x17\x03\x03\x00\x40" + bytes(64))
        await reader.read()
        writer.transport.abort()

    async with listening(handle, serving(trusted)) as port:
        found = await problem(f"https://127.0.0.1:{port}/")
    assert "the TLS connection broke: " in str(found)
    assert "firewall" not in str(found)
    assert found.cause == "tls"


@pytest.mark.parametrize(
    ("names", "not_after", "host", "words"),
    [
        ((), LONG_AGO, "127.0.0.1", "it has expired: whoever runs the server must renew it"),
        (("other.example",), None, "localhost", "it is for another name"),
        (("10.9.9.9",), None, "127.0.0.1", "it is not for that address"),
    ],
)
async def test_a_certificate_that_does_not_fit(
    trusted: trustme.CA, names: tuple[str, ...], not_after: dt.datetime | None, host: str, words: str
) -> None:
    async with listening(says(reply(200)), serving(trusted, *names, not_after=not_after)) as port:
        found = str(await problem(f"https://{host}:{port}/"))
    assert f"its certificate is not trusted: {words}" in found


async def test_a_certificate_that_signs_itself(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    chain = tmp_path / "self.pem"
    chain.write_bytes(authority.private_key_pem.bytes() + authority.cert_pem.bytes())
    context.load_cert_chain(chain)
    async with listening(says(reply(200)), context) as port:
        assert "it is self-signed" in str(await problem(f"https://127.0.0.1:{port}/"))


async def test_plain_http_where_tls_is_expected() -> None:
    async def answer_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with listening(answer_at_once) as port:
        found = str(await problem(f"https://127.0.0.1:{port}/"))
    assert "it does not speak TLS on that port" in found


# The site's proxy


@pytest.mark.parametrize("url", [FAR, FAR_TLS])
async def test_a_parent_proxy_that_is_down(url: str) -> None:
    found = str(await problem(url, through(closed_port())))
    assert "cannot connect to the site's proxy ([upstream] parent_proxy): nothing listens there" in found
    assert "s3cret" not in found


@pytest.mark.parametrize("url", [FAR, FAR_TLS])
@pytest.mark.parametrize(
    ("status", "words"),
    [
        (407, "it wants a login: write it there"),
        (403, "have the origin allowed there, or name it in [upstream] no_proxy"),
        (502, "it cannot reach the origin"),
        (503, "it cannot reach the origin"),
    ],
)
async def test_a_refusal_of_the_parent_proxy_is_told_as_its_own(url: str, status: int, words: str) -> None:
    """And it is not the absence of what was asked for."""
    async with listening(says(reply(status, "Server: squid/5.7\r\n"))) as port:
        found = await problem(url, through(port))
    assert isinstance(found, ParentProxyRefused)
    assert f"the site's proxy ([upstream] parent_proxy) answered {status}" in str(found)
    assert words in str(found)
    assert "s3cret" not in str(found)


async def test_what_may_be_either_s_is_told_as_such() -> None:
    async with listening(says(reply(403, "Server: nginx\r\n"))) as port:
        found = await problem(FAR, through(port))
    assert isinstance(found, OriginForbidden)
    assert "it answered with status 403" in str(found)
    assert "the site's proxy ([upstream] parent_proxy) relayed that, or said so itself" in str(found)


async def test_what_is_asked_past_the_parent_proxy_is_told_as_the_origin_s() -> None:
    async with listening(says(reply(403, "Server: squid/5.7\r\n"))) as port:
        options = through(closed_port(), no_proxy=("127.0.0.0/8",))
        found = await problem(f"http://127.0.0.1:{port}/", options)
    assert isinstance(found, OriginForbidden)
    assert "proxy" not in str(found)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Squid-Error": "ERR_CONNECT_FAIL 111"},
        {"Proxy-Status": "gate.example; error=connection_refused"},
        {"Server": "tinyproxy/1.11.1"},
        {"Server": "McAfee Web Gateway"},
    ],
    ids=str,
)
def test_a_reply_that_a_proxy_says_it_made_itself_is_no_origins(headers: dict[str, str]) -> None:
    """Unless it came through a tunnel, or is no refusal."""
    assert "answered 502" in str(explain_parent_refusal(502, headers, is_tunneled=False))
    assert explain_parent_refusal(502, headers, is_tunneled=True) is None
    assert explain_parent_refusal(304, headers, is_tunneled=False) is None


@pytest.mark.parametrize(
    "headers", [{}, {"Server": "nginx (behind squid)"}, {"Proxy-Status": "gate.example; received-status=502"}]
)
def test_any_other_reply_is_the_origins_but_for_407(headers: dict[str, str]) -> None:
    assert explain_parent_refusal(502, headers, is_tunneled=False) is None
    assert "it wants a login" in str(explain_parent_refusal(407, headers, is_tunneled=False))


def test_an_error_of_no_known_kind_is_told_by_its_words_or_its_name() -> None:
    assert explain(RuntimeError("the sky fell")) == "the sky fell"
    assert explain(RuntimeError()) == "it failed (RuntimeError)"


def test_what_openssl_or_the_system_says_is_told_where_nothing_better_is_known() -> None:
    unknown = ssl.SSLError(1, "an alert")
    assert explain(unknown) == "the TLS connection broke: OpenSSL says an alert"
    unknown.reason = "TLSV1_ALERT_OF_LATER"
    assert explain(unknown) == "the TLS connection broke: OpenSSL says tlsv1 alert of later"
    assert explain(TimeoutError("too slow")) == "too slow"
    assert "no answer within" in explain(TimeoutError())
    assert explain(OSError(errno.EXDEV, "ignored")) == os.strerror(errno.EXDEV)
    assert explain(OSError("words")) == "words"
    assert explain(OSError()) == "it failed (OSError)"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError("words"), "words"),
        (OSError(), "no reason is given"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (OSError(errno.EXDEV, "ignored"), os.strerror(errno.EXDEV)),
    ],
    ids=str,
)
def test_a_connection_that_fails_is_told_with_the_systems_reason(error: OSError, told: str) -> None:
    key = ConnectionKey("images.example", 80, False, False, None, None, None)
    assert explain(ClientConnectorError(key, error)) == f"cannot connect to images.example port 80: {told}"
