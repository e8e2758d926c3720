"""A name server on loopback, by UDP and TCP, that answers from a table or misbehaves."""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import cast

from dns.flags import TC
from dns.message import Message, QueryMessage, from_wire, make_response
from dns.name import from_text
from dns.rcode import NXDOMAIN, Rcode
from dns.rdataclass import IN
from dns.rdatatype import AAAA, CNAME, A, RdataType
from dns.rrset import from_text as records

Zone = Mapping[str, Sequence[str]]
"""Addresses of names; a word that is none is another name, which a name is an alias of."""
Manner = Callable[[Message, Message, bool], Sequence[bytes]]
"""What is sent for a question whose right answer is the second; whether it came by TCP is the third."""

_LENGTH_BYTES = 2
_LONGEST_CHAIN = 20
"""Of a name that leads to itself."""
_IPV6 = 6


def honest(_: Message, answer: Message, __: bool) -> Sequence[bytes]:
    return [answer.to_wire()]


def silent(*_: object) -> Sequence[bytes]:
    return []


def garbled(*_: object) -> Sequence[bytes]:
    return [b"\0"]


def failing(code: Rcode) -> Manner:
    """Answer every question by a code alone."""

    def fail(question: Message, _: Message, __: bool) -> Sequence[bytes]:
        answer = make_response(question)
        answer.set_rcode(code)
        return [answer.to_wire()]

    return fail


def short(question: Message, answer: Message, is_tcp: bool) -> Sequence[bytes]:
    """Say by UDP that the answer is too long for it."""
    if is_tcp:
        return [answer.to_wire()]
    cut = make_response(question)
    cut.flags |= TC
    return [cut.to_wire()]


def forged(lie: str) -> Manner:
    """Send another's answer first, whose id is wrong because it had to guess."""

    def forge(question: Message, answer: Message, is_tcp: bool) -> Sequence[bytes]:
        wrong = make_response(question)
        wrong.id = question.id ^ 1
        wrong.answer.append(records(question.question[0].name, 60, IN, question.question[0].rdtype, lie))
        return [answer.to_wire()] if is_tcp else [wrong.to_wire(), answer.to_wire()]

    return forge


class NameServer:
    """Answers on a port of this machine; what it was asked stands in `asked`."""

    def __init__(self, zone: Zone, manner: Manner = honest) -> None:
        self.address = ("", 0)
        self.asked: list[tuple[str, str, str]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.was_asked = asyncio.Event()
        self._zone = {from_text(name): words for name, words in zone.items()}
        self._manner = manner

    @property
    def port(self) -> int:
        return self.address[1]

    async def replies(self, packet: bytes, transport: str) -> Sequence[bytes]:
        """Return what is sent for a question."""
        question = from_wire(packet)
        (wanted,) = question.question
        self.asked.append((transport, wanted.name.to_text(omit_final_dot=True), wanted.rdtype.name))
        self.was_asked.set()
        await self.may_answer.wait()
        return self._manner(question, self._answer(question), transport == "tcp")

    def _answer(self, question: Message) -> QueryMessage:
        answer = make_response(question)
        assert isinstance(answer, QueryMessage)
        name, kind = question.question[0].name, question.question[0].rdtype
        if name not in self._zone:
            answer.set_rcode(NXDOMAIN)
        for _ in range(_LONGEST_CHAIN):
            words = self._zone.get(name, ())
            if not words or _kind(words[0]) != CNAME:
                if found := [word for word in words if _kind(word) == kind]:
                    answer.answer.append(records(name, 60, IN, kind, *found))
                break
            answer.answer.append(records(name, 60, IN, CNAME, f"{words[0]}."))
            name = from_text(words[0])
        return answer


def _kind(word: str) -> RdataType:
    try:
        return AAAA if ipaddress.ip_address(word).version == _IPV6 else A
    except ValueError:
        return CNAME


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer, tasks: set[asyncio.Task[None]]) -> None:
        self._server = server
        self._tasks = tasks
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)  # uvloop's is of another class

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._tasks.add(asyncio.get_running_loop().create_task(self._answer(data, addr)))

    async def _answer(self, data: bytes, addr: object) -> None:
        for reply in await self._server.replies(data, "udp"):
            if self._transport is not None:
                self._transport.sendto(reply, addr)  # type: ignore[arg-type]  # what came with the question


@contextlib.asynccontextmanager
async def serving_names(
    zone: Zone, manner: Manner = honest, host: str = "127.0.0.1"
) -> AsyncIterator[NameServer]:
    """Run a name server in this event loop."""
    server = NameServer(zone, manner)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES))
        for reply in await server.replies(await reader.readexactly(length), "tcp"):
            writer.write(len(reply).to_bytes(_LENGTH_BYTES) + reply)
        await writer.drain()
        writer.close()

    streams, datagrams = _one_port(host)
    server.address = datagrams.getsockname()[:2]
    tasks: set[asyncio.Task[None]] = set()
    by_tcp = await asyncio.start_server(answer, sock=streams)
    by_udp, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Datagrams(server, tasks), sock=datagrams
    )
    try:
        yield server
    finally:
        server.may_answer.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        by_udp.close()
        by_tcp.close()
        await by_tcp.wait_closed()


def _one_port(host: str) -> tuple[socket.socket, socket.socket]:
    """Return sockets for TCP and UDP with a port that was free for both."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        streams = socket.create_server((host, 0), family=family)
        datagrams = socket.socket(family, socket.SOCK_DGRAM)
        try:
            datagrams.bind(streams.getsockname())
        except OSError:
            streams.close()
            datagrams.close()
        else:
            return streams, datagrams
