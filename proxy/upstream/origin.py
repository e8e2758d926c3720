"""One origin server: asking it for a path and reading the answer.

Owns HTTP towards upstream and the translation of its faults. Knows nothing of
what the bytes mean, nor of other origins; `route.py` chooses among them.
"""

import asyncio
import contextlib
import os
import re
import time
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Protocol, Self

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientResponseError,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    TCPConnector,
)
from multidict import CIMultiDict
from yarl import URL

from proxy import __version__
from proxy.simplestreams.paths import url_paths
from proxy.upstream.errors import (
    OriginAbsent,
    OriginForbidden,
    OriginHungUp,
    OriginMisbehaved,
    OriginStatus,
    OriginUnreachable,
)
from proxy.upstream.options import UpstreamOptions
from proxy.upstream.pulse import Pulse
from proxy.upstream.redirects import LONGEST_CHAIN, PublicResolver, RedirectGuard, RedirectRefused
from proxy.upstream.straight import Straight

_READ_BUFFER_BYTES = 1024 * 1024
_SMALL_PIECE_BYTES = 64 * 1024
_REDIRECTS = {301, 302, 303, 307, 308}
_ABSENT = {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}
_NOT_HERE = {*_ABSENT, HTTPStatus.FORBIDDEN}
_GOOD = {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT, HTTPStatus.NOT_MODIFIED, *_REDIRECTS, *_ABSENT}
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_GZIP_WINDOW_BITS = 31


@dataclass(frozen=True, slots=True, kw_only=True)
class Validators:
    """What makes a request conditional (RFC 9110 section 8.8)."""

    etag: str | None = None
    last_modified: str | None = None

    def __bool__(self) -> bool:
        return self.etag is not None or self.last_modified is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A whole document and what makes the next request for it conditional."""

    data: bytes
    validators: Validators


class Meter(Protocol):
    """Counts what an origin does."""

    def answered(self, seconds: float, *, is_good: bool) -> None:
        """Take note of an answer, and how long its headers took."""

    def failed(self) -> None:
        """Take note of a request without an answer, or with one that broke off or made no sense."""

    def received(self, count: int) -> None:
        """Take note of bytes of a body."""

    def exceeded(self) -> None:
        """Take note of a document larger than the limit."""


class Reply:
    """A body that an origin is sending: where it starts, how long the whole is, its bytes."""

    def __init__(self, origin: "Origin", response: ClientResponse, start: int, total: int | None) -> None:
        self._origin = origin.name
        self._response = response
        self._meter = origin.meter
        self._pulse = Pulse(origin.options.least_rate_bytes, origin.options.stall_timeout_s)
        self._stall_timeout_s = origin.options.stall_timeout_s
        self.start = start
        self.total = total
        self.is_page = response.content_type == "text/html"
        """Whether it says that it is a page for people to read."""
        is_whole = response.status == HTTPStatus.OK
        coding = response.headers.get("Transfer-Encoding", "").lower()
        self.is_unplaced = is_whole and total is None
        """Whether nothing says that it is the whole, and not the part that was asked for."""
        self.ends_for_sure = is_whole and (coding == "chunked" or response.content_length is not None)
        """Whether the end of the body is the end of the file, rather than of a part or a connection."""
        self.length_bytes = None if coding else response.content_length
        """How much is announced."""

    async def chunks(self, *, is_replaceable: bool = False) -> AsyncGenerator[bytes, None]:
        """Yield the body as it arrives.

        Raises OriginUnreachable when it breaks off, or only trickles though the
        origin is replaceable.
        """
        with self._broken_off():
            while chunk := await self._next_chunk():
                yield chunk
                self._check_pulse(is_replaceable=is_replaceable)

    async def pieces(self, *, is_replaceable: bool = False) -> AsyncGenerator[bytes | Straight, None]:
        """Yield the body as `chunks` does, but a Straight for the rest of a large one, where possible.

        It is yielded again and again, each time that there is something to receive from it.
        """
        with self._broken_off():
            while chunk := await self._next_chunk():
                yield chunk
                self._check_pulse(is_replaceable=is_replaceable)
                if self.length_bytes is not None and Straight.is_possible(self._response):
                    break
            else:
                return
            with Straight(self._response) as straight:
                for part in straight.begun:
                    self._note(len(part), 0.0)
                    yield part
                while left_bytes := straight.left_bytes:
                    waited_s = await self._wait(straight)
                    yield straight
                    self._note(left_bytes - straight.left_bytes, waited_s)
                    straight.check()
                    self._check_pulse(is_replaceable=is_replaceable)

    async def _wait(self, straight: Straight) -> float:
        """Return once there is something to receive, and how many seconds that took."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._stall_timeout_s):
                await straight.ready()
        except TimeoutError:
            raise TimeoutError(f"no byte for {self._stall_timeout_s:g} s") from None
        return time.monotonic() - began

    @contextlib.contextmanager
    def _broken_off(self) -> Iterator[None]:
        try:
            yield
        except (ClientError, OSError, TimeoutError) as error:
            self._meter.failed()
            raise OriginHungUp(self._origin, f"its answer broke off: {_reason(error)}") from error

    def _check_pulse(self, *, is_replaceable: bool) -> None:
        if is_replaceable and self._pulse.is_weak:
            raise OriginUnreachable(self._origin, f"it sends only {self._pulse.rate_bytes} bytes a second")

    def _note(self, count: int, waited_s: float) -> None:
        self._pulse.beat(count, waited_s)
        self._meter.received(count)

    async def _next_chunk(self) -> bytes:
        content = self._response.content
        began = time.monotonic()
        if self.length_bytes is not None:
            # Large pieces as they came from the socket: to join them costs as much as to receive them.
            chunk, _ = await content.readchunk()
            if len(chunk) < _SMALL_PIECE_BYTES:
                chunk += content.read_nowait()
        else:
            chunk = await content.readany()
        self._note(len(chunk), time.monotonic() - began)
        return chunk


class Sessions:
    """The HTTP connections of one process, shared by all origins."""

    def __init__(self, options: UpstreamOptions) -> None:
        self.options = options
        self._direct = _session(options, TCPConnector(limit=0, limit_per_host=options.connections))
        self._public = _session(
            options,
            TCPConnector(limit=0, limit_per_host=options.connections, resolver=PublicResolver()),
        )

    def for_url(self, url: URL, guard: RedirectGuard) -> ClientSession:
        """Return the session for `url`: one that reaches public addresses only, unless it is named.

        A parent proxy resolves names itself, so that only literal addresses can be judged here.
        """
        return self._direct if guard.is_named(url) or self.options.parent_proxy else self._public

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._direct.close()
        await self._public.close()


class Origin:
    """One base URL that a mirror's files are fetched from."""

    def __init__(self, base_url: str, sessions: Sessions, guard: RedirectGuard, meter: Meter) -> None:
        self._base_url = base_url
        self._sessions = sessions
        self._guard = guard
        self.meter = meter
        self.name = shown_url(base_url)

    @property
    def options(self) -> UpstreamOptions:
        """How patient to be with it."""
        return self._sessions.options

    def __repr__(self) -> str:
        return f"Origin({self.name})"

    @contextlib.asynccontextmanager
    async def open(self, path: str, *, offset: int = 0) -> AsyncIterator[Reply]:
        """Ask for the bytes of a canonical path from `offset` on.

        The reply may start earlier than asked (an origin without ranges).
        Raises OriginAbsent, OriginUnreachable, OriginStatus, OriginMisbehaved.
        """
        headers = CIMultiDict({"Accept-Encoding": "identity"})
        if offset:
            headers["Range"] = f"bytes={offset}-"
        async with self._get(path, headers) as response:
            if response.status == HTTPStatus.PARTIAL_CONTENT:
                start, total = self._content_range(response, offset)
            elif response.status == HTTPStatus.OK:
                start, total = 0, response.content_length
            else:
                raise self._unfit(response.status)
            yield Reply(self, response, start, total)

    async def fetch(self, path: str, validators: Validators) -> Fetched | None:
        """Return a whole document; None when `validators` still hold (304).

        Raises what `open` raises, OriginMisbehaved for one over the size limit,
        and OriginUnreachable for one that takes longer than `document_timeout_s`.
        """
        timeout_s = self._sessions.options.document_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                return await self._fetch(path, validators)
        except TimeoutError as error:
            self.meter.failed()
            raise OriginUnreachable(self.name, f"{path} took longer than {timeout_s:g} s") from error

    async def _fetch(self, path: str, validators: Validators) -> Fetched | None:
        headers = CIMultiDict({"Accept-Encoding": "identity"})
        if validators.etag:
            headers["If-None-Match"] = validators.etag
        if validators.last_modified:
            headers["If-Modified-Since"] = validators.last_modified
        async with self._get(path, headers) as response:
            if response.status == HTTPStatus.NOT_MODIFIED and validators:
                return None
            if response.status != HTTPStatus.OK:
                raise self._unfit(response.status)
            data = await self._read_document(response)
            return Fetched(
                data=data,
                validators=Validators(
                    etag=response.headers.get("ETag"), last_modified=response.headers.get("Last-Modified")
                ),
            )

    @contextlib.asynccontextmanager
    async def _get(self, path: str, headers: CIMultiDict[str]) -> AsyncIterator[ClientResponse]:
        """Request the spellings of a path in turn until one is there."""
        *others, last = (URL(self._base_url + spelling, encoded=True) for spelling in url_paths(path))
        is_forbidden = False
        for url in others:
            response = await self._request(url, headers)
            if response.status not in _NOT_HERE:
                break
            is_forbidden |= response.status == HTTPStatus.FORBIDDEN
            response.release()
        else:
            response = await self._request(last, headers)
        try:
            if response.status in _NOT_HERE:
                if is_forbidden or response.status == HTTPStatus.FORBIDDEN:
                    raise OriginForbidden(self.name, HTTPStatus.FORBIDDEN)
                raise OriginAbsent(self.name, f"it has no {path}")
            yield response
        finally:
            response.release()

    async def _request(self, url: URL, headers: CIMultiDict[str]) -> ClientResponse:
        for _ in range(LONGEST_CHAIN + 1):
            session = self._sessions.for_url(url, self._guard)
            options = self._sessions.options
            began = time.monotonic()
            try:
                # aiohttp itself does not bound name resolution, nor a parent proxy's answer to CONNECT.
                async with asyncio.timeout(options.connect_timeout_s + options.stall_timeout_s):
                    response = await session.get(
                        url, headers=headers, allow_redirects=False, proxy=options.parent_proxy or None
                    )
            except (ClientError, OSError, TimeoutError, ValueError) as error:
                self.meter.failed()
                was_connected = not isinstance(error, ClientConnectorError | ConnectionTimeoutError)
                kind = OriginHungUp if was_connected else OriginUnreachable
                raise kind(self.name, _reason(error)) from error
            self.meter.answered(time.monotonic() - began, is_good=response.status in _GOOD)
            if response.status not in _REDIRECTS or "Location" not in response.headers:
                return response
            url = self._redirect_target(url, response)
        raise self._misbehaved(f"it redirects more than {LONGEST_CHAIN} times")

    def _unfit(self, status: int) -> OriginStatus:
        if status in _GOOD:
            self.meter.failed()
        return OriginStatus(self.name, status)

    def _misbehaved(self, problem: str) -> OriginMisbehaved:
        self.meter.failed()
        return OriginMisbehaved(self.name, problem)

    def _redirect_target(self, url: URL, response: ClientResponse) -> URL:
        response.release()
        try:
            target = url.join(URL(response.headers["Location"]))
            self._guard.check(target)
        except (ValueError, RedirectRefused) as error:
            raise self._misbehaved(str(error)) from error
        return target

    def _content_range(self, response: ClientResponse, offset: int) -> tuple[int, int | None]:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        has_parts = response.headers.get("Content-Type", "").lower().startswith("multipart/")
        if match is None or int(match[1]) > offset or has_parts:
            raise self._misbehaved(
                f"asked for bytes from {offset} on, it sent {response.headers.get('Content-Range')!r:.80}"
            )
        return int(match[1]), None if match[3] == "*" else int(match[3])

    async def _read_document(self, response: ClientResponse) -> bytes:
        limit = self._sessions.options.document_limit_bytes
        parts: list[bytes] = []
        size = response.content_length or 0
        if size > limit:
            raise self._too_large(limit)
        size = 0
        async for chunk in Reply(self, response, 0, None).chunks():
            size += len(chunk)
            if size > limit:
                raise self._too_large(limit)
            parts.append(chunk)
        data = b"".join(parts)
        if response.headers.get("Content-Encoding", "").lower() not in {"gzip", "x-gzip"}:
            return data
        return await asyncio.to_thread(self._gunzip, data, limit)

    def _too_large(self, limit: int) -> OriginMisbehaved:
        self.meter.exceeded()
        return OriginMisbehaved(
            self.name, f"its document has more than {limit} bytes, the limit of [upstream] document_limit"
        )

    def _gunzip(self, data: bytes, limit: int) -> bytes:
        """Undo a gzip encoding that nobody asked for. Blocks."""
        decompressor = zlib.decompressobj(_GZIP_WINDOW_BITS)
        try:
            text = decompressor.decompress(data, limit + 1)
        except zlib.error as error:
            raise self._misbehaved(f"it claims gzip and sent none: {error}") from error
        if len(text) > limit:
            raise self._too_large(limit)
        if not decompressor.eof:
            raise self._misbehaved("its gzip is cut off")
        return text


def shown_url(url: str) -> str:
    """Return a URL without credentials."""
    return str(URL(url).with_user(None)) if "@" in url else url


def _session(options: UpstreamOptions, connector: TCPConnector) -> ClientSession:
    return ClientSession(
        connector=connector,
        auto_decompress=False,
        headers={"User-Agent": f"sstream-proxy/{__version__}"},
        read_bufsize=_READ_BUFFER_BYTES,
        timeout=ClientTimeout(
            total=None, sock_connect=options.connect_timeout_s, sock_read=options.stall_timeout_s
        ),
    )


def _reason(error: BaseException) -> str:
    if isinstance(error, ClientConnectorError) and error.errno:
        return f"cannot connect to {error.host} port {error.port}: {os.strerror(error.errno)}"
    if isinstance(error, ClientResponseError):
        # Its own text has the URL in it, which may be a parent proxy's with its password.
        return f"{error.status} {error.message}"
    return str(error) or type(error).__name__
