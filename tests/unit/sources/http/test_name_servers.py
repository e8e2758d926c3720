"""Name servers that the configuration names are asked in place of this machine's; faults are told of each."""

import asyncio
import socket
from collections.abc import Callable, Sequence

import pytest
import uvloop
from dns.message import Message
from dns.rcode import NOTIMP, REFUSED, SERVFAIL
from dns.rdatatype import AAAA
from support.name_server import (
    Manner,
    NameServer,
    failing,
    forged,
    garbled,
    honest,
    serving_names,
    short,
    silent,
)
from support.upstreams import Meter

from proxy.sources.document import Validators
from proxy.sources.errors import OriginUnreachable
from proxy.sources.http.name_servers import NameServers
from proxy.sources.http.names import NameNotResolved, Names
from proxy.sources.http.origin import HttpOrigin
from proxy.sources.http.redirects import RedirectGuard
from proxy.sources.http.sessions import Sessions
from proxy.sources.options import UpstreamOptions

IMAGES = "images.maas.example"
ZONE = {
    IMAGES: ("192.0.2.7", "192.0.2.8", "2001:db8::7"),
    "alias.example": ("second.example",),
    "second.example": (IMAGES,),
    "old.example": ("192.0.2.9",),
    "empty.example": (),
    "short": ("192.0.2.10",),
    "round.example": ("round.example",),
}
PATIENCE_S = 20.0
"""More than any answer takes that comes."""


async def found(
    servers: Sequence[NameServer],
    host: str = IMAGES,
    family: int = socket.AF_UNSPEC,
    within: float = PATIENCE_S,
) -> list[str]:
    look_up = NameServers([server.address for server in servers], within)
    rows = await asyncio.to_thread(
        look_up, host, None, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
    )
    return sorted(row[4][0] for row in rows)


@pytest.mark.parametrize(
    ("host", "family", "addresses"),
    [
        (IMAGES, socket.AF_UNSPEC, ["192.0.2.7", "192.0.2.8", "2001:db8::7"]),
        (IMAGES, socket.AF_INET, ["192.0.2.7", "192.0.2.8"]),
        (IMAGES, socket.AF_INET6, ["2001:db8::7"]),
        (f"{IMAGES.upper()}.", socket.AF_INET6, ["2001:db8::7"]),
        ("alias.example", socket.AF_UNSPEC, ["192.0.2.7", "192.0.2.8", "2001:db8::7"]),
        ("old.example", socket.AF_UNSPEC, ["192.0.2.9"]),
        ("short", socket.AF_UNSPEC, ["192.0.2.10"]),
    ],
)
async def test_a_name_becomes_its_addresses(host: str, family: int, addresses: list[str]) -> None:
    async with serving_names(ZONE) as server:
        assert await found([server], host, family) == addresses
        asked = {name.lower() for _, name, _ in server.asked}
        assert asked == {host.lower().rstrip(".")}, "no search domain is tried"


async def test_an_alias_whose_end_is_not_in_the_answer_is_asked_for() -> None:
    def first_record(_: Message, answer: Message, __: bool) -> Sequence[bytes]:
        del answer.answer[1:]
        return [answer.to_wire()]

    async with serving_names(ZONE, first_record) as server:
        assert await found([server], "alias.example", socket.AF_INET6) == ["2001:db8::7"]
        assert [name for _, name, _ in server.asked] == ["alias.example", "second.example", IMAGES]


async def test_what_means_this_machine_or_is_an_address_is_asked_nobody() -> None:
    async with serving_names(ZONE) as server:
        for host, address in (
            ("localhost", "127.0.0.1"),
            ("127.0.0.9", "127.0.0.9"),
            ("127.1", "127.0.0.1"),
            ("2130706433", "127.0.0.1"),
        ):
            assert await found([server], host, socket.AF_INET) == [address]
        assert server.asked == []


@pytest.mark.parametrize("host", ["", ".", "..", "a" * 64 + ".example", "\udcff"])
async def test_what_can_be_no_name_is_asked_nobody(host: str) -> None:
    async with serving_names(ZONE) as server:
        resolver = Names(PATIENCE_S, NameServers([server.address], PATIENCE_S))
        with pytest.raises(NameNotResolved, match="no host can have such a name"):
            await resolver.resolve(host, 80)
        assert server.asked == []


@pytest.mark.parametrize(
    ("host", "manner", "says"),
    [
        ("none.example", honest, "there is no such name, says name server 127.0.0.1 port {port}"),
        ("empty.example", honest, "there is no address of that name, says name server 127.0.0.1 port {port}"),
        (IMAGES, failing(SERVFAIL), "name server 127.0.0.1 port {port} fails (SERVFAIL)"),
        (IMAGES, failing(REFUSED), "name server 127.0.0.1 port {port} refuses to answer this machine"),
        (IMAGES, failing(NOTIMP), "name server 127.0.0.1 port {port} answers NOTIMP"),
        (IMAGES, silent, "name server 127.0.0.1 port {port} does not answer"),
        ("round.example", honest, "name server 127.0.0.1 port {port} sends what is no answer"),
        (IMAGES, garbled, "name server 127.0.0.1 port {port} does not answer"),
    ],
)
async def test_each_failure_says_who_is_at_fault(host: str, manner: Manner, says: str) -> None:
    within = 0.2 if manner in {silent, garbled} else PATIENCE_S
    async with serving_names(ZONE, manner) as server:
        with pytest.raises(NameNotResolved) as caught:
            await found([server], host, within=within)
        assert says.format(port=server.port) in str(caught.value)
        assert "[upstream] resolver" in str(caught.value)


@pytest.mark.parametrize("manner", [failing(SERVFAIL), failing(REFUSED)])
async def test_another_name_server_is_asked_when_one_fails(manner: Manner) -> None:
    async with serving_names({}, manner) as bad, serving_names(ZONE) as good:
        assert await found([bad, good], family=socket.AF_INET) == ["192.0.2.7", "192.0.2.8"]
        assert bad.asked


async def test_another_name_server_is_asked_when_one_is_silent() -> None:
    async with serving_names({}, silent) as bad, serving_names(ZONE) as good:
        assert await found([bad, good], family=socket.AF_INET6, within=2) == ["2001:db8::7"]
        assert bad.asked


async def test_what_each_of_several_does_is_told() -> None:
    async with serving_names({}, failing(SERVFAIL)) as bad, serving_names({}, failing(REFUSED)) as worse:
        with pytest.raises(NameNotResolved) as caught:
            await found([bad, worse])
    assert f"port {bad.port} fails" in str(caught.value)
    assert f"port {worse.port} refuses" in str(caught.value)


async def test_an_answer_that_is_too_long_comes_by_tcp() -> None:
    async with serving_names(ZONE, short) as server:
        assert await found([server], family=socket.AF_INET) == ["192.0.2.7", "192.0.2.8"]
        assert [transport for transport, _, _ in server.asked] == ["udp", "tcp"]


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("manner", [honest, short])
async def test_a_name_server_may_have_an_address_of_ipv6(manner: Manner) -> None:
    async with serving_names(ZONE, manner, "::1") as server:
        assert await found([server], family=socket.AF_INET6) == ["2001:db8::7"]


async def test_who_only_guesses_the_question_is_not_believed() -> None:
    async with serving_names(ZONE, forged("192.0.2.66")) as server:
        assert await found([server], family=socket.AF_INET) == ["192.0.2.7", "192.0.2.8"]


async def test_a_slow_answer_is_waited_for() -> None:
    async with serving_names(ZONE) as server:
        server.may_answer.clear()
        looking = asyncio.create_task(found([server], family=socket.AF_INET))
        await server.was_asked.wait()
        server.may_answer.set()
        assert await looking == ["192.0.2.7", "192.0.2.8"]


async def test_addresses_of_one_kind_do_without_the_other() -> None:
    def no_ipv6(question: Message, answer: Message, is_tcp: bool) -> Sequence[bytes]:
        if question.question[0].rdtype == AAAA:
            return failing(SERVFAIL)(question, answer, is_tcp)
        return honest(question, answer, is_tcp)

    async with serving_names(ZONE, no_ipv6) as server:
        assert await found([server]) == ["192.0.2.7", "192.0.2.8"]


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Be an origin that needs no thread."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nbytes")
    await writer.drain()
    writer.close()


async def fetch(host: str, options: UpstreamOptions) -> bytes | None:
    """Return what an origin by that name sends."""
    origin = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://{host}:{origin.sockets[0].getsockname()[1]}/"
    async with origin, Sessions(options) as sessions:
        upstream = HttpOrigin(url, sessions, RedirectGuard([url], (), tls_only=False), Meter())
        fetched = await upstream.fetch("document", Validators())
    return None if fetched is None else fetched.data


@pytest.mark.parametrize("run", [uvloop.run, asyncio.run])
def test_an_origin_is_found_by_the_name_server_that_is_named(run: Callable[..., None]) -> None:
    """And a pinned one without it, whichever event loop runs."""

    async def both() -> None:
        async with serving_names({"origin.example": ("127.0.0.1",)}) as server:
            options = UpstreamOptions(
                resolver=(f"127.0.0.1:{server.port}",),
                resolve={"pinned.example": ("127.0.0.1",)},
                connect_timeout_s=PATIENCE_S,
            )
            assert await fetch("origin.example", options) == b"bytes"
            asked = len(server.asked)
            assert {name for _, name, _ in server.asked} == {"origin.example"}
            assert await fetch("pinned.example", options) == b"bytes"
            assert await fetch("localhost", options) == b"bytes"
            assert len(server.asked) == asked

    run(both())


async def test_an_origin_without_address_is_an_origin_that_cannot_be_reached() -> None:
    async with serving_names({}) as server:
        options = UpstreamOptions(resolver=(f"127.0.0.1:{server.port}",), connect_timeout_s=PATIENCE_S)
        with pytest.raises(OriginUnreachable, match="there is no such name, says name server"):
            await fetch("origin.example", options)
