"""One client connection: aiohttp's protocol, with ours before its parser.

A request head that was seen before is answered at once, from the reply cache; stray chunk
markers are dropped; what is no HTTP is told so in our words; everything else is
aiohttp's.
"""

import asyncio
import contextlib
import logging
import os
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

from aiohttp import HttpVersion11, web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import BadHttpMessage, HttpProcessingError, InvalidURLError, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler, _ErrInfo
from aiohttp.web_server import Server

from proxy.web import SERVER_NAME
from proxy.web.authorities import is_host_field
from proxy.web.wire.client_presence import ClientPresence
from proxy.web.wire.connection_limits import ConnectionLimits
from proxy.web.wire.direct_socket import DirectSocket
from proxy.web.wire.prepared import WireBytes
from proxy.web.wire.reply_cache import CachedReply, ReplyCache, is_whole_head
from proxy.web.wire.stray_chunk import StrayChunkFilter

log = logging.getLogger(__name__)

_MOST_UNSENT_BYTES = 256 * 1024
"""A client that does not read what it was sent is answered the usual, patient way."""
_LAST_REQUEST_WITHIN_S = 5.0
"""A client that has just connected gets this long to ask, when its worker ends."""
_RETRY_AFTER_S = 5
_LONGEST_PROBLEM = 200
_NO_REQUEST = "its first line is not as METHOD TARGET HTTP/1.1"
_NO_HOST = "its Host header names no host"
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]+")


class Connection(RequestHandler):
    """aiohttp's request handler, which never sees stray chunk markers, nor what the reply cache answers."""

    __slots__ = (
        "__weakref__",
        "_client",
        "_direct",
        "_has_asked",
        "_head",
        "_is_retired",
        "_limits",
        "_met",
        "_postponed",
        "_replies",
        "_stray_chunks",
        "has_arrived",
        "heard_at_s",
        "presence",
    )  # fmt: skip

    def __init__(
        self,
        manager: Server,
        replies: ReplyCache,
        limits: ConnectionLimits,
        met: Callable[[str], None],
        *,
        loop: asyncio.AbstractEventLoop,
        **options: Any,
    ) -> None:
        super().__init__(manager, loop=loop, **options)
        self._limits = limits
        self._met = met
        self._stray_chunks = StrayChunkFilter()
        self._replies = replies
        self._head = b""
        self._postponed = b""
        """A head that came a moment too early."""
        self._client = ""
        self._direct: DirectSocket | None = None
        """Of a plain connection, where nothing has to be encrypted."""
        self.heard_at_s = loop.time()
        """When bytes came last, by the loop's clock."""
        self.has_arrived = False
        """Whether it was made: by TLS, whether the handshake is over."""
        self.presence = ClientPresence()
        """Of the client, for those who work for it."""
        self._has_asked = False
        self._is_retired = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to listen to a client, or tell it that there is no room."""
        self.has_arrived = True
        peer = transport.get_extra_info("peername")
        self._client = peer[0] if isinstance(peer, tuple) else ""
        why_not = self._limits.why_not(self._client)
        if why_not is not None:
            self._force_close = True
            # A stream has both ways; uvloop's is no asyncio.Transport by class.
            cast("asyncio.WriteTransport", transport).write(_no_room(why_not))
            transport.close()
            return
        self._limits.enter(self, self._client)
        super().connection_made(transport)
        if transport.get_extra_info("sslcontext") is None:
            self._direct = DirectSocket(transport)
        if self._task_handler is not None:
            self._task_handler.add_done_callback(self._end_with)
        if self._limits.is_over:
            self.retire()

    def _end_with(self, handling: asyncio.Task[None]) -> None:
        """End when aiohttp has stopped to handle requests, for whatever reason: nobody would answer."""
        error = None if handling.cancelled() else handling.exception()
        if error is not None:
            log.error("connection.failed client=%s", self._client, exc_info=error)
        if self.transport is not None:
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """End."""
        self.presence.end()
        if self._direct is not None:
            self._direct.let_go()
        self._limits.left(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Answer from the reply cache, else by the parser; aiohttp calls this with none to parse again."""
        if not data:
            self._parse(data)
            return
        self._has_asked = True
        self.heard_at_s = self._loop.time()
        if self._postponed:
            data, self._postponed = self._postponed + data, b""
        elif self._waiter is None and not self._messages and is_whole_head(data):
            # The last reply is out, and its task about to wait again: by the next turn it does.
            self._postponed = data
            self._loop.call_soon(self._receive_postponed)
            return
        self._receive(data)

    def _receive_postponed(self) -> None:
        data, self._postponed = self._postponed, b""
        if data and self.transport is not None:
            self._receive(data)

    def _receive(self, data: bytes) -> None:
        self._head = b""
        if self._stray_chunks.is_between_heads and self._is_waiting():
            reply = self._replies.find(data, self._client, self.heard_at_s)
            wire_bytes = None if reply is None else reply.prepared.answer(data)
            if reply is not None and wire_bytes is not None:
                self._send(reply, wire_bytes)
                return
            if is_whole_head(data):
                self._head = data
        self._parse(self._stray_chunks.feed(data))

    def _parse(self, data: bytes) -> None:
        """Hand bytes to aiohttp's parser; what it takes without making a request of it is a fault."""
        super().data_received(data)
        for index, (message, _) in enumerate(self._messages):
            if isinstance(message, _ErrInfo):
                continue
            if not _is_request(message):
                self._messages[index] = _fault(_NO_REQUEST)
            elif not is_host_field(message.headers.get("Host", "")):
                self._messages[index] = _fault(_NO_HOST)
        is_swallowed = self._stray_chunks.passed_heads > self._request_count and not self._buffer_paused
        if is_swallowed and not (self._upgraded or self._close or self._force_close):
            self._request_count += 1
            self._messages.append(_fault(_NO_REQUEST))
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(None)

    def retire(self) -> None:
        """Close as soon as nobody waits for an answer: others serve already.

        A client repeats a request on a connection that it used before, but not the first
        one on a new connection (RFC 9112 section 9.3.1): that one is still answered, and so
        is what is half read.
        """
        self._is_retired = True
        if self._has_asked and self._stray_chunks.is_between_heads:
            self._close_if_idle()
        self._loop.call_later(_LAST_REQUEST_WITHIN_S, self._close_if_idle)

    def _close_if_idle(self) -> None:
        has_nothing = not self._messages and not self._postponed
        if self._waiter is not None and not self._waiter.done() and has_nothing:
            self.force_close()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send a reply, and note it, also one that fails in its middle, or that the end of the proxy cuts."""
        try:
            return await super().finish_response(request, resp, start_time)
        except BaseException:
            self.log_access(request, resp, start_time)
            raise
        finally:
            if self._is_retired:
                self.close()

    def head_to_cache(self) -> bytes | None:
        """Return the head of the request that is being answered, if its reply is worth keeping."""
        head = self._head
        is_plain = head and not self._messages and self._stray_chunks.is_between_heads
        return head if is_plain and self._replies.wants(head) else None

    def cache_reply(self, head: bytes, reply: CachedReply) -> None:
        """Keep the reply that was just sent."""
        self._replies.add(head, reply)

    @property
    def handling(self) -> asyncio.Task[None] | None:
        """What answers the requests, one after the other; None when it has ended."""
        return self._task_handler

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a request, or for the rest of one."""
        return self._waiter is not None and not self._messages

    def leave(self) -> None:
        """Close, now."""
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Say in our words why a request is not answered; the connection ends with that."""
        text = "this failed for a reason that the proxy's log tells"
        if isinstance(exc, HttpProcessingError) and not request.writer.output_size:
            self._met("malformed_requests")
            problem = _UNPRINTABLE.sub(" ", (message or "").strip().partition("\n")[0]).rstrip(" :")
            if isinstance(exc, InvalidURLError):
                problem = f"its target is neither a path nor a URL: {problem}".rstrip(" :")
            if isinstance(exc, LineTooLong):
                status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
                problem = f"its first line or a header is longer than {self.max_line_size} bytes"
            text = f"this is no request that can be answered: {problem[:_LONGEST_PROBLEM]}"
        else:
            # Writes the log, and ends the connection when part of a reply is out.
            super().handle_error(request, status, exc, message)
        headers = {"Server": SERVER_NAME, "Connection": "close"}
        response = web.Response(status=status, text=f"{text}\n", headers=headers)
        response.force_close()
        return response

    def _process_keepalive(self) -> None:
        is_half_read = not self._stray_chunks.is_between_heads
        super()._process_keepalive()
        if is_half_read and self._force_close:
            self._met("unfinished_requests")

    def _is_waiting(self) -> bool:
        """Whether nothing is under way: no request, no part of one, no unsent reply, no end."""
        waiter = self._waiter
        return (
            waiter is not None
            and not waiter.done()
            and not self._messages
            and not (self._close or self._force_close or self._upgraded)
            and self.transport is not None
            and self.transport.get_write_buffer_size() < _MOST_UNSENT_BYTES
        )

    def _send(self, reply: CachedReply, wire: WireBytes) -> None:
        self._stray_chunks.note_head()
        self._next_keepalive_close_time = self.heard_at_s + self._keepalive_timeout
        assert self.transport is not None  # noqa: S101 - it was asked before
        sent_bytes = 0
        if self._direct is not None and not self.transport.get_write_buffer_size():
            sent_bytes = self._direct.send(wire)
        if sent_bytes < len(wire.content):
            self.transport.write(memoryview(wire.content)[sent_bytes:])
        if wire.fd >= 0:
            self._send_rest(wire, max(0, sent_bytes - len(wire.content)))
        self._replies.sent(reply, self._client, wire.body_bytes)
        if self._is_retired:
            self.force_close()

    def _send_rest(self, wire: WireBytes, sent_bytes: int) -> None:
        """Hand the transport what was not sent of a body that is in a file."""
        assert self.transport is not None  # noqa: S101 - it was asked before
        left_bytes = wire.body_bytes - sent_bytes
        if not left_bytes:
            return
        with contextlib.suppress(OSError):
            rest = os.pread(wire.fd, left_bytes, wire.offset + sent_bytes)
            self.transport.write(rest)
            left_bytes -= len(rest)
        if left_bytes:
            self.force_close()  # The client must see that its reply is not whole.


def _is_request(message: RawRequestMessage) -> bool:
    """Whether aiohttp's parser has found a target, in a version that is spoken here."""
    return None not in (message.path, message.url) and message.version <= HttpVersion11


def _fault(problem: str) -> tuple[_ErrInfo, StreamReader]:
    """Return what aiohttp queues for what is no request."""
    error = BadHttpMessage(problem)
    return _ErrInfo(error.code, error, error.message), EMPTY_PAYLOAD


def _no_room(why: str) -> bytes:
    text = f"{why}; try again later\n"
    lines = [
        "HTTP/1.1 503 Service Unavailable",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(text)}",
        f"Server: {SERVER_NAME}",
        f"Retry-After: {_RETRY_AFTER_S}",
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", text]).encode()
