"""The HTTP connections of one process, shared by all origins.

Owns aiohttp's sessions, and what its parser gets to see of a reply's head.
"""

import asyncio
import math
import select
import ssl
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any, Self

from aiohttp import (
    ClientError,
    ClientPayloadError,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    SocketTimeoutError,
)
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from proxy import __version__
from proxy.sources.addresses import name_server_of
from proxy.sources.awake_timeout import AwakeTimer
from proxy.sources.http.connector import Connector
from proxy.sources.http.heads import HeadError, HeadReader
from proxy.sources.http.names import Names
from proxy.sources.http.parent_proxy import ParentProxy
from proxy.sources.http.receive_window import bound_window
from proxy.sources.http.redirects import PublicResolver, RedirectGuard
from proxy.sources.http.request_timer import queue_tracing
from proxy.sources.loops import REQUEST_FIELD, Loops
from proxy.sources.options import UpstreamOptions

READ_BUFFER_BYTES = 64 * 1024
"""How much of a body aiohttp means to receive ahead; it stops above twice as much. The more of a large item
has to be hashed together, the later clients have its first byte."""
_PART_FOR_NAMES = 0.9
"""Of the time for a connection, what named name servers have together, so that what each did can be told."""


class BadHead(ClientError):
    """A reply whose head makes no sense; among aiohttp's errors, for it passes through aiohttp."""


class UnendedBody(ClientPayloadError):
    """A body whose end the origin has not told."""

    def __init__(self) -> None:
        super().__init__(
            "the connection ended before the answer did: it broke, or ended without a word of TLS that this "
            "was all"
        )


class ForgivingHandler(ResponseHandler):
    """One connection. aiohttp's parser is strict, so it is given each reply's head rewritten.

    Bytes that come unasked would answer the next request, so they end the connection: some servers
    send 408 to an idle connection before they close it, others send more than they announced.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._head: HeadReader | None = None
        self._head_within_s: float | None = None
        self._head_timer: AwakeTimer | None = None
        self._rate_bytes_s = math.inf
        self._has_ended = False
        """Whether the origin has said that nothing more comes."""

    def set_response_params(self, *, read_timeout: float | None = None, **params: Any) -> None:
        """Expect a reply.

        The library times nothing: it would count what our own loop is late. What the head takes, even
        one that drips in, is timed here; silence within a body is timed by `Reply`.
        """
        self._head = HeadReader()
        self._head_within_s = read_timeout
        super().set_response_params(read_timeout=None, **params)

    def start_timeout(self) -> None:
        """Begin to time what the head takes: the request has been sent."""
        self._stop_timing()
        if self._head is not None and self._head_within_s is not None:
            self._head_timer = AwakeTimer(self._head_within_s, self._end_without_head)

    def eof_received(self) -> None:
        """Take note that the origin says that nothing more comes."""
        self._has_ended = True
        super().eof_received()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Take note that it has ended.

        The library takes that for the end of a body without a length, whoever ended it, and tells of an
        error of TLS as one of the operating system with the same number.
        """
        self._stop_timing()
        if not self._has_ended and self._payload is not None and not self._payload.is_eof():
            self._payload.set_exception(UnendedBody())
        super().connection_lost(exc)
        if isinstance(exc, ssl.SSLError) and (told := self.exception()) is not None:
            told.__cause__ = exc

    def is_connected(self) -> bool:
        """Whether it is open and may be used for another request."""
        return super().is_connected() and not self.should_close and self._is_quiet()

    def data_received(self, data: bytes) -> None:
        """Take bytes from the socket, or none when the parser is to go on."""
        if data and self._is_idle and self.transport is not None:
            self.transport.close()
            return
        if self._head is not None and data and self._parser is not None:
            try:
                clean = self._head.feed(data)
            except HeadError as error:
                self._head = None
                self._stop_timing()
                self.set_exception(BadHead(str(error)))
                if self.transport is not None:
                    self.transport.close()
                return
            if clean is None:
                return
            self._head = None
            self._stop_timing()
            data = clean
        super().data_received(data)

    def limit_reply(self, rate_bytes_s: float) -> None:
        """Expect the rest of the reply to be taken at that rate; infinity is as fast as it comes."""
        if rate_bytes_s != self._rate_bytes_s and self.transport is not None:
            self._rate_bytes_s = rate_bytes_s
            bound_window(self.transport.get_extra_info("socket"), rate_bytes_s)

    def _end_without_head(self) -> None:
        self._head_timer = None
        self.set_exception(SocketTimeoutError("the head did not come in time"))

    def _stop_timing(self) -> None:
        if self._head_timer is not None:
            self._head_timer.stop()
            self._head_timer = None

    @property
    def _is_idle(self) -> bool:
        return self._head is None and (self._payload is None or self._payload.is_eof())

    def _is_quiet(self) -> bool:
        """Whether no bytes are waiting in the socket."""
        if self.transport is None:
            return False
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not poll.poll(0)


class Sessions:
    """The HTTP connections of one process, shared by all origins."""

    def __init__(self, options: UpstreamOptions, loops: Loops | None = None) -> None:
        self.options = options
        self._loops = loops
        self.parent = ParentProxy(options.parent_proxy, options.no_proxy)
        # Names in redirects have a resolver of their own, so that slow ones do not delay configured names.
        self._names = _names(options, Names)
        self._resolvers = (self._names, _names(options, PublicResolver))
        self._direct, self._public = (_session(options, one) for one in self._resolvers)
        self.unpackers = ThreadPoolExecutor(2, "unpack")
        """Undo encodings of documents."""

    def for_url(self, url: URL, guard: RedirectGuard) -> ClientSession:
        """Return the session for `url`: one that reaches public addresses only, unless it is named.

        A parent proxy resolves names itself, so that only literal addresses can be judged here.
        """
        return self._direct if guard.is_named(url) or self.parent.on_the_way_to(url) else self._public

    def remark_on(self, url: URL) -> str:
        """Return what is conspicuous about a host that could not be reached, "" when nothing is."""
        own = None if self.parent.on_the_way_to(url) else self._names.own_address(url.raw_host or "")
        if own is None or url.host == "localhost":
            return ""
        return (
            f"; the name {url.host} leads to {own}, which is this machine itself: if that is so for clients "
            "to find the proxy by it, write the origin's own address into [upstream] resolve, or another "
            "name server into [upstream] resolver"
        )

    @property
    def own_fields(self) -> dict[str, str]:
        """What each request says of this proxy, so that it is known again should it come back."""
        return {} if self._loops is None else {REQUEST_FIELD: self._loops.request_field}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End all connections."""
        await self._direct.close()
        await self._public.close()
        for resolver in self._resolvers:
            await resolver.close()
        self.unpackers.shutdown(wait=False, cancel_futures=True)


def _names(options: UpstreamOptions, kind: type[Names]) -> Names:
    if not options.resolver:
        return kind(options.connect_timeout_s, pinned=options.resolve)
    # Late: dnspython takes long to import, and few need it.
    from proxy.sources.http.name_servers import NameServers  # noqa: PLC0415

    servers = NameServers(
        [name_server_of(text) for text in options.resolver], _PART_FOR_NAMES * options.connect_timeout_s
    )
    return kind(options.connect_timeout_s, servers, options.resolve, "[upstream] resolver")


def _session(options: UpstreamOptions, resolver: Names) -> ClientSession:
    connector = Connector(limit=0, limit_per_host=options.connections, resolver=resolver)
    # aiohttp offers no other way to choose it; without it, careless heads are refused.
    handler: type[ResponseHandler] = ForgivingHandler
    connector._factory = partial(handler, loop=asyncio.get_running_loop())  # noqa: SLF001
    return ClientSession(
        connector=connector,
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        headers={"User-Agent": f"sstream-proxy/{__version__}"},
        read_bufsize=READ_BUFFER_BYTES,
        trace_configs=[queue_tracing()],
        timeout=ClientTimeout(
            total=None, sock_connect=options.connect_timeout_s, sock_read=options.stall_timeout_s
        ),
    )
