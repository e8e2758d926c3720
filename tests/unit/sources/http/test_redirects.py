"""Where an origin may send the proxy: to public places, and to those that the configuration names."""

import asyncio
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from yarl import URL

from proxy.sources.http.redirects import PublicResolver, RedirectGuard, RedirectRefused
from proxy.sources.http.sessions import Sessions
from proxy.sources.options import UpstreamOptions

ORIGIN = "https://images.example/"


def guard(*named_hosts: str, origins: tuple[str, ...] = (ORIGIN,), tls_only: bool = False) -> RedirectGuard:
    """Make the guard of a mirror."""
    return RedirectGuard(origins, named_hosts, tls_only=tls_only)


PRIVATE = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "255.255.255.255",
    "[::1]",
    "[::]",
    "[fe80::1]",
    "[fd00::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:192.168.1.1]",
    # what the C library also takes for addresses
    "127.1",
    "2130706433",
    "0177.0.0.1",
    "127.0.0.1.",
    "\N{FULLWIDTH DIGIT ONE}27.0.0.1",
]


@pytest.mark.parametrize("host", PRIVATE)
def test_private_addresses_are_refused(host: str) -> None:
    with pytest.raises(RedirectRefused, match="private address"):
        guard().check(URL(f"http://{host}:8000/a"))


@pytest.mark.parametrize(
    "url",
    [
        "http://cdn.example/a",
        "https://cdn.example:8443/a",
        "http://8.8.8.8/a",
        "http://[2606:4700::1111]/a",
        "https://images.example/elsewhere",
        "http://images.example/a",
    ],
)
def test_public_places_are_allowed(url: str) -> None:
    """A name is judged later, by the address that it resolves to."""
    guard().check(URL(url))


@pytest.mark.parametrize(
    "url",
    ["ftp://cdn.example/a", "file:///etc/passwd", "gopher://cdn.example/", "data:,x", "http:///a", "/a", ""],
)
def test_only_http_leads_anywhere(url: str) -> None:
    with pytest.raises(RedirectRefused, match="not http or https"):
        guard().check(URL(url))


@pytest.mark.parametrize(
    ("named", "url", "is_allowed"),
    [
        ("10.0.0.5", "http://10.0.0.5/a", True),
        ("10.0.0.5", "http://10.0.0.5:8000/a", True),
        ("10.0.0.5", "http://10.0.0.6/a", False),
        ("10.0.0.5:8000", "http://10.0.0.5:8000/a", True),
        ("10.0.0.5:8000", "http://10.0.0.5/a", False),
        ("10.0.0.5:80", "http://10.0.0.5/a", True),
        ("10.0.0.5:443", "https://10.0.0.5/a", True),
        ("[fd00::5]", "http://[fd00::5]/a", True),
        ("[fd00::5]", "http://[FD00:0::5]:8000/a", True),
        ("[FD00::5]:8000", "http://[fd00::5]:8000/a", True),
        ("[fd00::5]:8000", "http://[fd00::5]:8001/a", False),
    ],
)
def test_private_places_are_allowed_when_they_are_named(named: str, url: str, *, is_allowed: bool) -> None:
    """As "host", for all its ports, or as "host:port"."""
    assert guard(named).is_named(URL(url)) is is_allowed
    if is_allowed:
        guard(named).check(URL(url))
    else:
        with pytest.raises(RedirectRefused):
            guard(named).check(URL(url))


@pytest.mark.parametrize("named", ["cdn.lan", "CDN.Lan", "cdn.lan:8000"])
def test_names_are_the_same_in_either_case(named: str) -> None:
    assert guard(named).is_named(URL("http://CDN.lan:8000/a"))


@pytest.mark.parametrize("spelt", ["http://IMAGES.lan:8000/a", "http://images.lan:8000/a"])
def test_an_origin_is_named_however_its_host_is_spelt(spelt: str) -> None:
    """What is asked keeps the spelling of the configuration."""
    judge = guard(origins=("http://IMAGES.lan:8000/",))
    assert judge.is_named(URL(spelt, encoded=True))
    assert not judge.is_named(URL(spelt.replace("8000", "8001"), encoded=True))


def test_an_origin_may_redirect_to_itself_and_to_another_origin_of_its_mirror() -> None:
    """Configured origins may be anywhere; but only at their own ports."""
    both = guard(origins=("http://127.0.0.1:8000/a/", "http://user:secret@[::1]/b/"))
    for url in ("http://127.0.0.1:8000/c", "http://[::1]/", "http://[::1]:80/"):
        both.check(URL(url))
    for url in ("http://127.0.0.1:8001/c", "https://127.0.0.1/", "http://[::1]:8000/"):
        with pytest.raises(RedirectRefused):
            both.check(URL(url))


def test_where_tls_is_the_only_proof_it_is_kept() -> None:
    for named in ((), ("cdn.example",)):
        guard(*named, tls_only=True).check(URL("https://cdn.example/a"))
        with pytest.raises(RedirectRefused, match="from https to http"):
            guard(*named, tls_only=True).check(URL("http://cdn.example/a"))


def test_what_is_refused_is_told_in_few_words() -> None:
    with pytest.raises(RedirectRefused) as caught:
        guard().check(URL("ftp://cdn.example/" + "a" * 5000))
    assert len(str(caught.value)) < 300


# Names are judged by the address that is then connected to


@pytest.fixture
async def answering() -> AsyncIterator[int]:
    """Run a server on loopback that answers anybody, and return its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecret")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_a_name_that_leads_to_a_private_address_is_not_connected_to(answering: int) -> None:
    url = URL(f"http://localhost:{answering}/a")
    judge = guard()
    judge.check(url)
    async with Sessions(UpstreamOptions()) as sessions:
        with pytest.raises(aiohttp.ClientConnectorError, match="resolves to the private address"):
            await sessions.for_url(url, judge).get(url)


@pytest.mark.parametrize("host", ["0x7f.1", "0x7f000001"])
async def test_an_address_disguised_as_a_name_is_not_connected_to(answering: int, host: str) -> None:
    """Getaddrinfo knows more ways to write an address than the guard."""
    url = URL(f"http://{host}:{answering}/a")
    async with Sessions(UpstreamOptions()) as sessions:
        with pytest.raises(aiohttp.ClientConnectorError):
            await sessions.for_url(url, guard()).get(url)


async def test_a_named_host_may_resolve_to_a_private_address(answering: int) -> None:
    url = URL(f"http://localhost:{answering}/a")
    judge = guard(f"localhost:{answering}")
    judge.check(url)
    async with Sessions(UpstreamOptions()) as sessions, sessions.for_url(url, judge).get(url) as response:
        assert await response.read() == b"secret"


async def test_only_public_addresses_come_out_of_the_resolver() -> None:
    resolver = PublicResolver()
    assert [found["host"] for found in await resolver.resolve("8.8.8.8", 80)] == ["8.8.8.8"]
    for host in ("localhost", "127.1", "0x7f000001"):
        with pytest.raises(OSError, match="private address 127"):
            await resolver.resolve(host, 80, socket.AF_INET)
