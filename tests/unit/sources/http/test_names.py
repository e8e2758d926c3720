"""Names are looked up in threads of their own: neither waits for other work, nor other work for them."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import uvloop
from support.upstreams import Meter

from proxy.sources.document import Validators
from proxy.sources.http import names
from proxy.sources.http.names import Found, NameNotResolved, Names
from proxy.sources.http.origin import HttpOrigin as Upstream
from proxy.sources.http.redirects import RedirectGuard
from proxy.sources.http.sessions import Sessions
from proxy.sources.options import UpstreamOptions


class SilentServers:
    """A lookup that hangs for some names, until the test ends."""

    def __init__(self, *hanging: str) -> None:
        self._hanging = hanging
        self._is_over = threading.Event()
        self.asked: list[str] = []

    def __call__(self, host: str, *_: object, **__: object) -> Found:
        self.asked.append(host)
        if host.startswith(self._hanging):
            self._is_over.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    def end(self) -> None:
        """Let all lookups end."""
        self._is_over.set()


@pytest.fixture
def silent() -> Iterator[SilentServers]:
    servers = SilentServers("hanging")
    yield servers
    servers.end()


async def addresses(resolver: Names, host: str) -> list[str]:
    return [found["host"] for found in await resolver.resolve(host, 80, socket.AF_UNSPEC)]


async def test_a_name_becomes_its_addresses() -> None:
    assert "127.0.0.1" in await addresses(Names(), "localhost")


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("no-such-name.invalid", "check"),
        ("a" * 64 + ".example", "does not resolve"),
        ("..", "does not resolve"),
        ("", "does not resolve"),
        ("a\0b", "does not resolve"),
        ("\udcff", "does not resolve"),
        ("a b", "does not resolve"),
    ],
)
async def test_a_name_without_address_is_told_in_words(host: str, says: str) -> None:
    """Not by a number of the C library's, nor by whatever Python thinks of it."""
    with pytest.raises(NameNotResolved, match=says) as caught:
        await Names().resolve(host, 80, socket.AF_INET)
    assert "error" not in str(caught.value).lower()
    assert repr(host)[:40] in str(caught.value)


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (socket.EAI_NONAME, "there is no such name"),
        (socket.EAI_AGAIN, "no name server answers"),
        (socket.EAI_FAIL, "the name server fails"),
        (socket.EAI_NODATA, "no address of that name"),
        (socket.EAI_MEMORY, "out of memory"),
    ],
)
async def test_each_failure_has_words_of_its_own(number: int, says: str) -> None:
    def fail(*_: object, **__: object) -> Found:
        raise socket.gaierror(number, "out of memory")

    with pytest.raises(NameNotResolved, match=says):
        await Names(getaddrinfo=fail).resolve("images.example", 80)


async def test_a_silent_name_server_is_waited_for_so_long(silent: SilentServers) -> None:
    resolver = Names(0.05, silent)
    with pytest.raises(NameNotResolved, match=r"for 0\.05 s; check /etc/resolv\.conf"):
        await resolver.resolve("hanging", 80)
    named = Names(0.05, silent, servers_from="[upstream] resolver")
    with pytest.raises(NameNotResolved, match=r"for 0\.05 s; check \[upstream\] resolver"):
        await named.resolve("hanging", 80)
    silent.end()


async def test_one_dead_name_has_one_thread_however_often_it_is_asked_for(silent: SilentServers) -> None:
    resolver = Names(0.01, silent)
    for _ in range(3):
        found = await asyncio.gather(
            *(resolver.resolve("hanging", port) for port in range(20)), return_exceptions=True
        )
        assert all(isinstance(error, NameNotResolved) for error in found)
    assert silent.asked == ["hanging"]
    silent.end()


async def test_dead_names_keep_no_other_waiting_and_are_bounded(silent: SilentServers) -> None:
    """As long as there are not too many of them; then nothing waits either, but is told."""
    resolver = Names(0.01, silent)
    for number in range(names._MOST_LOOKUPS - 1):
        with pytest.raises(NameNotResolved):
            await resolver.resolve(f"hanging-{number}", 80)
    assert await addresses(resolver, "alive") == ["127.0.0.1"]
    with pytest.raises(NameNotResolved, match="no name server has answered"):
        await resolver.resolve("hanging-more", 80)
    with pytest.raises(NameNotResolved, match="16 other names"):
        await resolver.resolve("alive", 80)
    silent.end()
    await asyncio.gather(*resolver._lookups.values(), return_exceptions=True)
    assert await addresses(resolver, "alive") == ["127.0.0.1"]


async def test_who_is_cancelled_cancels_nobody_else(silent: SilentServers) -> None:
    resolver = Names(5, silent)
    leaving = asyncio.create_task(resolver.resolve("hanging", 80))
    staying = asyncio.create_task(resolver.resolve("hanging", 80))
    await asyncio.sleep(0)
    leaving.cancel()
    silent.end()
    with pytest.raises(NameNotResolved):
        await staying
    assert silent.asked == ["hanging"]


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Be an origin that needs no thread."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nbytes")
    await writer.drain()
    writer.close()


@pytest.mark.parametrize("run", [uvloop.run, asyncio.run])
def test_a_hung_pool_of_the_loop_stops_no_name(run: Callable[..., None]) -> None:
    """Nor a document that has to be unpacked."""
    is_over = threading.Event()

    async def fetch() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        stuck = loop.run_in_executor(None, is_over.wait, 30)
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        url = f"http://localhost:{server.sockets[0].getsockname()[1]}/"
        async with server, Sessions(UpstreamOptions()) as sessions:
            upstream = Upstream(url, sessions, RedirectGuard([url], (), tls_only=False), Meter())
            async with asyncio.timeout(5):
                fetched = await upstream.fetch("document", Validators())
            assert fetched is not None
            assert fetched.data == b"bytes"
        is_over.set()
        await stuck

    try:
        run(fetch())
    finally:
        is_over.set()


async def test_closing_waits_for_no_name_server(silent: SilentServers) -> None:
    resolver = Names(30, silent)
    waiting = asyncio.create_task(resolver.resolve("hanging", 80))
    await asyncio.sleep(0)
    await resolver.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    silent.end()


# Names that the configuration knows


async def test_of_a_pinned_name_no_name_server_is_asked() -> None:
    asked: list[str] = []

    def look_up(host: str, *_: object, **__: object) -> Found:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.9", 0))]

    resolver = Names(1.0, look_up, {"Images.maas.io": ("192.0.2.7", "2001:db8::7")})
    for host in ("images.maas.io", "IMAGES.MAAS.IO."):
        found = await resolver.resolve(host, 443)
        assert [(one["host"], one["port"], one["family"], one["hostname"]) for one in found] == [
            ("192.0.2.7", 443, socket.AF_INET, host),
            ("2001:db8::7", 443, socket.AF_INET6, host),
        ]
    assert await addresses(resolver, "other.example") == ["192.0.2.9"]
    assert asked == ["other.example"]


async def test_a_name_that_leads_to_this_machine_is_remembered_until_it_does_not() -> None:
    leads_to = ["127.0.0.3"]

    def look_up(*_: object, **__: object) -> Found:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (leads_to[0], 0))]

    resolver = Names(1.0, look_up)
    assert resolver.own_address("images.maas.io") is None
    await resolver.resolve("images.maas.io")
    assert resolver.own_address("IMAGES.maas.io.") == "127.0.0.3"
    leads_to[0] = "192.0.2.1"
    await resolver.resolve("images.maas.io")
    assert resolver.own_address("images.maas.io") is None
