"""One origin server: asking it for a path and reading the answer.

Owns HTTP towards upstream and the translation of its faults. Knows nothing of
what the bytes mean, nor of other origins; `route.py` chooses among them.
"""

import asyncio
import contextlib
import logging
import time
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from io import BytesIO
from typing import Protocol, Self

from aiohttp import ClientResponse
from multidict import CIMultiDict
from yarl import URL

from proxy.simplestreams.paths import url_paths
from proxy.upstream import fields
from proxy.upstream.border import border
from proxy.upstream.errors import (
    OriginAbsent,
    OriginError,
    OriginForbidden,
    OriginHungUp,
    OriginMisbehaved,
    OriginStatus,
    OriginUnreachable,
    ParentProxyRefused,
)
from proxy.upstream.freshness import Freshness
from proxy.upstream.options import UpstreamOptions
from proxy.upstream.patience import Patience
from proxy.upstream.pulse import Pulse
from proxy.upstream.reasons import parents_refusal, refusal_told
from proxy.upstream.redirects import LONGEST_CHAIN, RedirectGuard
from proxy.upstream.sessions import Sessions
from proxy.upstream.straight import Straight

log = logging.getLogger(__name__)

_SMALL_PIECE_BYTES = 64 * 1024
_REDIRECTS = {301, 302, 303, 307, 308}
_WHOLE = {HTTPStatus.OK, HTTPStatus.NON_AUTHORITATIVE_INFORMATION}
_ABSENT = {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}
_NOT_HERE = {*_ABSENT, HTTPStatus.FORBIDDEN}
_GOOD = {*_WHOLE, HTTPStatus.PARTIAL_CONTENT, HTTPStatus.NOT_MODIFIED, *_REDIRECTS, *_ABSENT}
_OF_THE_MOMENT = {
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}
"""Statuses that have nothing to do with what was asked."""
_GZIP_WINDOW_BITS = 31


@dataclass(frozen=True, slots=True, kw_only=True)
class Validators:
    """What makes a request conditional (RFC 9110 section 8.8)."""

    etag: str | None = None
    last_modified: str | None = None

    @classmethod
    def sent_in(cls, headers: Mapping[str, str]) -> Self:
        """Return those that came with a reply, as far as they are fit to be sent again."""
        return cls(
            etag=fields.etag(headers.get("ETag")), last_modified=fields.date(headers.get("Last-Modified"))
        )

    def conditions(self) -> dict[str, str]:
        """Return the fields that ask with them. What an earlier release stored may be fit for nothing."""
        etag, last_modified = fields.etag(self.etag), fields.date(self.last_modified)
        found = {"If-None-Match": etag, "If-Modified-Since": last_modified}
        return {name: value for name, value in found.items() if value is not None}


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
        self.is_page = fields.is_page(response.headers.get("Content-Type"))
        """Whether it says that it is a page for people to read."""
        coding = response.headers.get("Transfer-Encoding", "").lower()
        self.is_unplaced = response.status in _WHOLE and total is None
        """Whether nothing says that it is the whole, and not the part that was asked for."""
        self.length_bytes = None if coding else fields.length(response.headers.get("Content-Length"))
        """How much is announced."""
        is_whole = response.status in _WHOLE
        self.ends_for_sure = is_whole and (coding == "chunked" or self.length_bytes is not None)
        """Whether the end of the body is the end of the file, rather than of a part or a connection."""

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

    def _broken_off(self) -> contextlib.AbstractContextManager[None]:
        return border(self._origin, self._meter.failed, "its answer broke off: ")

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
    async def open(
        self, path: str, *, offset: int = 0, freshness: Freshness = Freshness.KEPT
    ) -> AsyncIterator[Reply]:
        """Ask for the bytes of a canonical path from `offset` on.

        The reply may start earlier than asked (an origin without ranges).
        Raises OriginAbsent, OriginUnreachable, OriginStatus, OriginMisbehaved.
        """
        headers = CIMultiDict({"Accept-Encoding": "identity", **freshness.fields})
        if offset:
            headers["Range"] = f"bytes={offset}-"
        async with self._get(path, headers) as response:
            with self.border():
                reply = self._reply(response, offset)
            yield reply

    async def fetch(
        self, path: str, validators: Validators, freshness: Freshness = Freshness.CONFIRMED
    ) -> Fetched | None:
        """Return a whole document; None when `validators` still hold (304).

        Raises what `open` raises, OriginMisbehaved for one over the size limit,
        and OriginUnreachable for one that takes longer than `document_timeout_s`.
        """
        timeout_s = self._sessions.options.document_timeout_s
        conditions = validators.conditions()
        try:
            async with asyncio.timeout(timeout_s):
                if conditions:
                    return await self._fetch_if_changed(path, conditions, freshness)
                return await self._fetch(path, {}, freshness)
        except TimeoutError as error:
            self.meter.failed()
            raise OriginUnreachable(self.name, f"{path} took longer than {timeout_s:g} s") from error

    async def _fetch_if_changed(
        self, path: str, conditions: Mapping[str, str], freshness: Freshness
    ) -> Fetched | None:
        """Ask with conditions, and plainly once when it may be the conditions that are not liked."""
        try:
            return await self._fetch(path, conditions, freshness)
        except OriginError as error:
            if not _may_be_about_the_question(error):
                raise
            log.info("origin.asked_plainly path=%s problem=%s", path, error)
        found = await self._fetch(path, {}, freshness)
        # Nothing to ask with next time.
        return None if found is None else replace(found, validators=Validators())

    async def _fetch(self, path: str, conditions: Mapping[str, str], freshness: Freshness) -> Fetched | None:
        headers = CIMultiDict({"Accept-Encoding": "identity", **freshness.fields, **conditions})
        async with self._get(path, headers) as response:
            if response.status == HTTPStatus.NOT_MODIFIED:
                if conditions:
                    return None
                raise self._misbehaved(f"it says that {path} has not changed (304), but was not asked that")
            if response.status not in _WHOLE:
                raise self._unfit(response.status)
            with self.border():
                data = await self._read_document(response)
            return Fetched(data=data, validators=Validators.sent_in(response.headers))

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
                    raise OriginForbidden(self.name, HTTPStatus.FORBIDDEN, self._told(HTTPStatus.FORBIDDEN))
                raise OriginAbsent(self.name, f"it has no {path}")
            yield response
        finally:
            response.release()

    async def _request(self, url: URL, headers: CIMultiDict[str]) -> ClientResponse:
        for _ in range(LONGEST_CHAIN + 1):
            with self.border():
                response = await self._request_once(url, headers)
                target = self._redirect_target(url, response)
            if target is None:
                return response
            url = target
        raise self._misbehaved(f"it redirects more than {LONGEST_CHAIN} times")

    async def _request_once(self, url: URL, headers: CIMultiDict[str]) -> ClientResponse:
        options = self._sessions.options
        session = self._sessions.for_url(url, self._guard)
        parent = self._sessions.parent.on_the_way_to(url)
        # aiohttp itself does not bound what a parent proxy takes to answer CONNECT.
        async with Patience(options.connect_timeout_s + options.stall_timeout_s) as patience:
            response = await session.get(
                url, headers=headers, allow_redirects=False, proxy=parent, trace_request_ctx=patience
            )
        if parent is not None:
            refusal = parents_refusal(response.status, response.headers, is_tunneled=url.scheme == "https")
            if refusal is not None:
                response.release()
                self.meter.failed()
                raise ParentProxyRefused(self.name, refusal)
        self.meter.answered(patience.spent_s, is_good=response.status in _GOOD)
        return response

    def _redirect_target(self, url: URL, response: ClientResponse) -> URL | None:
        """Return where a reply sends us, None when it does not."""
        if response.status not in _REDIRECTS or "Location" not in response.headers:
            return None
        response.release()
        location = fields.location(response.headers["Location"])
        if location is None:
            raise self._misbehaved("it redirects to what is no URL")
        target = url.join(URL(location))
        self._guard.check(target)
        return target

    def border(self) -> contextlib.AbstractContextManager[None]:
        """Return a context in which every error is this origin's."""
        return border(self.name, self.meter.failed)

    def _unfit(self, status: int) -> OriginStatus:
        if status in _GOOD:
            self.meter.failed()
        return OriginStatus(self.name, status, self._told(status))

    def _told(self, status: int) -> str:
        url = URL(self._base_url)
        parent = self._sessions.parent.on_the_way_to(url)
        return refusal_told(status, is_relayed=url.scheme == "http" and parent is not None)

    def _misbehaved(self, problem: str) -> OriginMisbehaved:
        self.meter.failed()
        return OriginMisbehaved(self.name, problem)

    def _reply(self, response: ClientResponse, offset: int) -> Reply:
        """Return the body of a good reply, by where in the file it starts."""
        if response.status in _WHOLE:
            return Reply(self, response, 0, fields.length(response.headers.get("Content-Length")))
        if response.status != HTTPStatus.PARTIAL_CONTENT:
            raise self._unfit(response.status)
        sent = response.headers.get("Content-Range")
        part = fields.content_range(sent)
        has_parts = response.headers.get("Content-Type", "").lower().startswith("multipart/")
        if part is None or part[0] > offset or has_parts:
            raise self._misbehaved(f"asked for bytes from {offset} on, it sent {sent!r:.80}")
        return Reply(self, response, *part)

    async def _read_document(self, response: ClientResponse) -> bytes:
        limit = self._sessions.options.document_limit_bytes
        # Bytes that are written to it are not copied again in the end, while all else would stand still.
        written = BytesIO()
        if (fields.length(response.headers.get("Content-Length")) or 0) > limit:
            raise self._too_large(limit)
        async for chunk in Reply(self, response, 0, None).chunks():
            written.write(chunk)
            if written.tell() > limit:
                raise self._too_large(limit)
        data = written.getvalue()
        if fields.compression(response.headers.get("Content-Encoding")) != "gzip":
            return data
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._sessions.unpackers, self._gunzip, data, limit)

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


def _may_be_about_the_question(error: OriginError) -> bool:
    """Whether an origin may answer well when it is asked otherwise."""
    if isinstance(error, OriginStatus):
        return error.status not in _OF_THE_MOMENT
    if isinstance(error, OriginHungUp):
        return not isinstance(error.__cause__, TimeoutError)
    return isinstance(error, OriginMisbehaved)


class Asking:
    """An origin that is asked for several documents, all as current as one says."""

    def __init__(self, origin: Origin, freshness: Freshness) -> None:
        self._origin = origin
        self._freshness = freshness
        self.name = origin.name

    async def fetch(self, path: str, validators: Validators) -> Fetched | None:
        """Do what `Origin.fetch` does."""
        return await self._origin.fetch(path, validators, self._freshness)
