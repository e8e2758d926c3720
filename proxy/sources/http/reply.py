"""The body of an origin's reply: where in the file it starts, how long the whole is, its bytes."""

import contextlib
import time
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from http import HTTPStatus

from proxy.sources.awake_timeout import AwakeTimeout
from proxy.sources.delivery_rate import DeliveryRate
from proxy.sources.errors import OriginUnreachable, redirected
from proxy.sources.http import fields, statuses
from proxy.sources.http.border import border
from proxy.sources.http.conditions import sent_validators
from proxy.sources.http.following import Arrival
from proxy.sources.http.socket_body import SocketBody
from proxy.sources.limits.flow import ANY_FLOW, Flow
from proxy.sources.limits.limits import UNLIMITED, Limits
from proxy.sources.meter import Meter
from proxy.sources.options import UpstreamOptions

_SMALL_PIECE_BYTES = 64 * 1024
_FIRST_BYTES = 64 * 1024
"""So much of a large body is handed on as soon as it comes, for clients that wait."""


class Reply:
    """A body that an origin is sending: where it starts, how long the whole is, its bytes."""

    def __init__(
        self,
        origin: str,
        arrival: Arrival,
        start: int,
        total: int | None,
        options: UpstreamOptions,
        meter: Meter,
        limits: Limits = UNLIMITED,
    ) -> None:
        response = arrival.response
        self._origin = origin
        self._response = response
        self._meter = meter
        self._limits = limits
        self._arrived: deque[bytes] = deque()
        """What was received, and not handed on yet."""
        self._rate = DeliveryRate(options.least_rate_bytes, options.stall_timeout_s)
        self._stall_timeout_s = options.stall_timeout_s
        self.place = arrival.place
        """The URL that it comes from if the origin redirected there, else ""."""
        self.start = start
        self.total = total
        self.is_page = fields.is_page(response.headers.get("Content-Type"))
        """Whether it says that it is a page for people to read."""
        self.codings = fields.codings(response.headers.get("Content-Encoding"))
        """How it says that it is encoded, which nobody asked for."""
        coding = response.headers.get("Transfer-Encoding", "").lower()
        self.is_unplaced = response.status in statuses.WHOLE and total is None
        """Whether nothing says that it is the whole, and not the part that was asked for."""
        self.length_bytes = None if coding else fields.length(response.headers.get("Content-Length"))
        """How much is announced."""
        is_whole = response.status in statuses.WHOLE
        self.is_part = response.status == HTTPStatus.PARTIAL_CONTENT
        self.version = sent_validators(response.headers)
        """Which version of the file it says that it is of."""
        self.ends_for_sure = is_whole and (coding == "chunked" or self.length_bytes is not None)
        """Whether the end of the body is the end of the file, rather than of a part or a connection."""

    async def chunks(
        self, *, is_replaceable: bool = False, flow: Flow = ANY_FLOW
    ) -> AsyncGenerator[bytes, None]:
        """Yield the body as it arrives, and as fast as the limits let the flow have it.

        Raises OriginUnreachable when it breaks off, or only trickles though the
        origin is replaceable.
        """
        with self._broken_off():
            while part := await self._next_part(flow):
                yield part
                self._check_rate(is_replaceable=is_replaceable)

    async def pieces(
        self, *, is_replaceable: bool = False, flow: Flow = ANY_FLOW
    ) -> AsyncGenerator[bytes | SocketBody, None]:
        """Yield the body as `chunks` does, but where possible a SocketBody for most of a large one.

        It is yielded again and again, each time that there is something to receive from it.
        """
        if not (self.length_bytes and SocketBody.is_possible(self._response)):
            async with aclosing(self.chunks(is_replaceable=is_replaceable, flow=flow)) as chunks:
                async for part in chunks:
                    yield part
            return
        with self._broken_off(), self._socket_body() as rest:
            for begun in rest.begun:
                self._note(len(begun), 0.0)
                self._arrived.append(begun)
            has_begun = bool(self._arrived)
            while self._arrived:
                yield await self._next_part(flow)
            silent_s = 0.0
            while left_bytes := rest.left_bytes:
                waited_s = await self._wait(rest, silent_s, has_begun=has_begun)
                if not rest.granted_bytes:
                    # After the wait for the origin: while we let it wait, it is not silent.
                    rest.granted_bytes = await self._limits.take(left_bytes, flow)
                if has_begun:
                    yield rest
                elif first := rest.read(_FIRST_BYTES):
                    has_begun = True
                    yield first
                # What has come may be a part of a record of TLS, of which nothing can be had yet.
                silent_s = silent_s + waited_s if rest.left_bytes == left_bytes else 0.0
                self._note(left_bytes - rest.left_bytes, waited_s)
                rest.check()
                self._check_rate(is_replaceable=is_replaceable)

    @contextlib.contextmanager
    def _socket_body(self) -> Iterator[SocketBody]:
        """Read the rest past the library; what a limit has granted and did not come is given back."""
        rest = SocketBody(self._response)
        if self._limits:
            rest.granted_bytes = 0
        try:
            with rest:
                yield rest
        finally:
            if self._limits:
                self._limits.give_back(rest.granted_bytes)

    async def _wait(self, rest: SocketBody, silent_s: float, *, has_begun: bool) -> float:
        """Return once there is something to receive, and how many seconds that took.

        `silent_s` is how long the origin has been silent before. The first bytes are waited for by clients,
        and not gathered.
        """
        if rest.has_more():
            return 0.0
        began = time.monotonic()
        async with self._within_stall_timeout(silent_s) as timeout:
            await rest.ready(self._limits.chunk_bytes if has_begun else 1)
        return time.monotonic() - began - timeout.late_s

    @contextlib.asynccontextmanager
    async def _within_stall_timeout(self, silent_s: float = 0.0) -> AsyncGenerator[AwakeTimeout]:
        """Raise TimeoutError when something takes longer than an origin may be silent."""
        try:
            async with AwakeTimeout(max(0.0, self._stall_timeout_s - silent_s)) as timeout:
                yield timeout
        except TimeoutError as error:
            raise TimeoutError(
                f"no byte for {self._stall_timeout_s:g} s, [upstream] stall_timeout"
            ) from error

    def _broken_off(self) -> contextlib.AbstractContextManager[None]:
        return border(self._origin, self._meter.failed, "its answer broke off: ", redirected(self.place))

    def _check_rate(self, *, is_replaceable: bool) -> None:
        if is_replaceable and self._rate.is_weak:
            raise OriginUnreachable(self._origin, f"it sends only {self._rate.rate_bytes} bytes a second")

    def _note(self, count: int, waited_s: float) -> None:
        self._rate.note(count, waited_s)
        self._meter.received(count)

    async def _next_part(self, flow: Flow) -> bytes:
        """Return the next bytes that have come, as many as the flow may have; none at the end."""
        if not self._arrived:
            self._arrived.append(await self._next_chunk())
        chunk = self._arrived.popleft()
        if not chunk:
            return chunk
        count = await self._limits.take(len(chunk), flow)
        if count < len(chunk):
            self._arrived.appendleft(chunk[count:])
        return chunk[:count]

    async def _next_chunk(self) -> bytes:
        began, late_s = time.monotonic(), 0.0
        try:
            # The library's own timeout is reset by sizes of chunks and by trailers, which may be endless.
            async with self._within_stall_timeout() as timeout:
                chunk = await self._read()
            late_s = timeout.late_s
        except Exception:
            chunk = self._left_over()
            if not chunk:
                raise
        self._note(len(chunk), time.monotonic() - began - late_s)
        return chunk

    async def _read(self) -> bytes:
        content = self._response.content
        if self.length_bytes is None:
            return await content.readany()
        # Large pieces as they came from the socket: to join them costs as much as to receive them.
        chunk, _ = await content.readchunk()
        return chunk if len(chunk) >= _SMALL_PIECE_BYTES else chunk + content.read_nowait()

    def _left_over(self) -> bytes:
        """Take what had come before the connection broke, and nobody had read yet.

        The library offers no other way to it, and tells only of the break.
        """
        content = self._response.content
        has_any = content.exception() is not None and bool(content._buffer)  # noqa: SLF001
        return content._read_nowait(-1) if has_any else b""  # noqa: SLF001
