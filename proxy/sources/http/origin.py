"""One origin server: asking it for a path and reading the answer.

Owns HTTP towards upstream and the translation of its faults. Knows nothing of
what the bytes mean, nor of other origins; `route.py` chooses among them.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from io import BytesIO
from typing import NamedTuple, Self

from yarl import URL

from proxy.simplestreams.paths import url_paths
from proxy.sources.errors import (
    OriginAbsent,
    OriginError,
    OriginForbidden,
    OriginHungUp,
    OriginMisbehaved,
    OriginOverdid,
    OriginStatus,
    OriginUnreachable,
)
from proxy.sources.freshness import Freshness
from proxy.sources.http import fields, statuses
from proxy.sources.http.border import border
from proxy.sources.http.following import MOST_ASKED, Arrival, Follower, Meter
from proxy.sources.http.redirects import RedirectGuard
from proxy.sources.http.reply import Reply
from proxy.sources.http.sessions import Sessions
from proxy.sources.http.unpacking import TooLarge, unpacked
from proxy.sources.options import UpstreamOptions

log = logging.getLogger(__name__)


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


class Terms(NamedTuple):
    """How a document is asked for."""

    freshness: Freshness
    is_replaceable: bool = False
    """Whether another origin can be asked, so that one that only trickles is left."""
    is_held: bool = False
    """Whether what was accepted before is served meanwhile."""


CONFIRMED = Terms(Freshness.CONFIRMED)


class Origin:
    """One base URL that a mirror's files are fetched from."""

    def __init__(self, base_url: str, sessions: Sessions, guard: RedirectGuard, meter: Meter) -> None:
        self._base_url = base_url
        self._sessions = sessions
        self.meter = meter
        self.name = shown_url(base_url)
        self._follower = Follower(self.name, sessions, guard, meter)

    @property
    def options(self) -> UpstreamOptions:
        """How patient to be with it."""
        return self._sessions.options

    def __repr__(self) -> str:
        return f"Origin({self.name})"

    @contextlib.asynccontextmanager
    async def open(
        self,
        path: str,
        *,
        offset: int = 0,
        freshness: Freshness = Freshness.KEPT,
        avoided: Collection[str] = (),
    ) -> AsyncIterator[Reply]:
        """Ask for the bytes of a canonical path from `offset` on.

        The reply may start earlier than asked (an origin without ranges). It comes from none of the
        places to be avoided, where an origin redirects.
        Raises OriginAbsent, OriginUnreachable, OriginStatus, OriginMisbehaved.
        """
        headers = {"Accept-Encoding": "identity", **freshness.fields}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        async with self._get(path, headers, avoided) as arrival:
            with self.border():
                reply = self._reply(arrival, offset)
            yield reply

    async def fetch(self, path: str, validators: Validators, terms: Terms = CONFIRMED) -> Fetched | None:
        """Return a whole document; None when `validators` still hold (304).

        Raises what `open` raises, OriginMisbehaved for one over the size limit,
        and OriginUnreachable for one that takes longer than `document_timeout_s`,
        or only trickles though the origin is replaceable.
        """
        timeout_s = self._sessions.options.document_timeout_s
        conditions = validators.conditions()
        try:
            async with asyncio.timeout(timeout_s):
                if conditions:
                    return await self._fetch_if_changed(path, conditions, terms)
                return await self._fetch(path, {}, terms)
        except TimeoutError as error:
            self.meter.failed()
            raise OriginUnreachable(self.name, f"{path} took longer than {timeout_s:g} s") from error

    async def _fetch_if_changed(
        self, path: str, conditions: Mapping[str, str], terms: Terms
    ) -> Fetched | None:
        """Ask with conditions, and plainly once when it may be the conditions that are not liked."""
        try:
            return await self._fetch(path, conditions, terms)
        except OriginError as error:
            if not _may_be_about_the_question(error):
                raise
            log.info("origin.asked_plainly path=%s problem=%s", path, error)
        found = await self._fetch(path, {}, terms)
        # Nothing to ask with next time.
        return None if found is None else replace(found, validators=Validators())

    async def _fetch(self, path: str, conditions: Mapping[str, str], terms: Terms) -> Fetched | None:
        headers = {"Accept-Encoding": "identity", **terms.freshness.fields, **conditions}
        avoided: set[str] = set()
        while True:
            async with self._get(path, headers, avoided) as arrival:
                try:
                    with self.border():
                        return await self._read_fetched(arrival, path, terms, is_conditional=bool(conditions))
                except OriginError:
                    if not arrival.place or len(avoided) >= MOST_ASKED:
                        raise
                    avoided.add(arrival.place)

    async def _read_fetched(
        self, arrival: Arrival, path: str, terms: Terms, *, is_conditional: bool
    ) -> Fetched | None:
        response = arrival.response
        can_wait = terms.is_held or terms.is_replaceable
        if can_wait and fields.is_unconfirmed(response.headers.get("Warning")):
            self.meter.failed()
            raise OriginUnreachable(
                self.name, f"a cache on the way answered for it, from memory: it cannot be asked for {path}"
            )
        if response.status == HTTPStatus.NOT_MODIFIED:
            if is_conditional:
                return None
            raise self._misbehaved(f"it says that {path} has not changed (304), but was not asked that")
        if response.status not in statuses.WHOLE:
            raise self._unfit(response.status)
        data = await self._read_document(arrival, terms)
        return Fetched(data=data, validators=Validators.sent_in(response.headers))

    @contextlib.asynccontextmanager
    async def _get(
        self, path: str, headers: Mapping[str, str], avoided: Collection[str] = ()
    ) -> AsyncIterator[Arrival]:
        """Request the spellings of a path in turn until one is there."""
        refusals: list[OriginAbsent | OriginForbidden] = []
        for spelling in url_paths(path):
            url = URL(self._base_url + spelling, encoded=True)
            try:
                arrival = await self._follower.ask(url, path, headers, avoided)
            except (OriginAbsent, OriginForbidden) as error:
                refusals.append(error)
                continue
            try:
                yield arrival
            finally:
                arrival.response.release()
            return
        raise next((one for one in refusals if isinstance(one, OriginForbidden)), refusals[0])

    def border(self) -> contextlib.AbstractContextManager[None]:
        """Return a context in which every error is this origin's."""
        return border(self.name, self.meter.failed)

    def _unfit(self, status: int) -> OriginStatus:
        if status in statuses.GOOD:
            self.meter.failed()
        return OriginStatus(self.name, status)

    def _misbehaved(self, problem: str) -> OriginMisbehaved:
        self.meter.failed()
        return OriginMisbehaved(self.name, problem)

    def _reply(self, arrival: Arrival, offset: int) -> Reply:
        """Return the body of a good reply, by where in the file it starts."""
        response = arrival.response
        if response.status in statuses.WHOLE:
            return self._body(arrival, 0, fields.length(response.headers.get("Content-Length")))
        if response.status != HTTPStatus.PARTIAL_CONTENT:
            raise self._unfit(response.status)
        sent = response.headers.get("Content-Range")
        part = fields.content_range(sent)
        has_parts = response.headers.get("Content-Type", "").lower().startswith("multipart/")
        if part is None or part[0] > offset or has_parts:
            raise self._misbehaved(f"asked for bytes from {offset} on, it sent {sent!r:.80}")
        return self._body(arrival, *part)

    def _body(self, arrival: Arrival, start: int, total: int | None) -> Reply:
        return Reply(self.name, arrival, start, total, self.options, self.meter)

    async def _read_document(self, arrival: Arrival, terms: Terms) -> bytes:
        limit = self.options.document_limit_bytes
        if (fields.length(arrival.response.headers.get("Content-Length")) or 0) > limit:
            raise self._too_large(limit)
        # Bytes that are written to it are not copied again in the end, while all else would stand still.
        written = BytesIO()
        reply = self._body(arrival, 0, None)
        async for chunk in reply.chunks(is_replaceable=terms.is_replaceable):
            written.write(chunk)
            if written.tell() > limit:
                raise self._too_large(limit)
        data = written.getvalue()
        if not reply.codings:
            return data
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._sessions.unpackers, unpacked, data, reply.codings, limit)
        except TooLarge:
            raise self._too_large(limit) from None

    def _too_large(self, limit: int) -> OriginOverdid:
        self.meter.exceeded()
        return OriginOverdid(
            self.name, f"its document has more than {limit} bytes, the limit of [upstream] document_limit"
        )


def shown_url(url: str) -> str:
    """Return a URL without credentials."""
    return str(URL(url).with_user(None)) if "@" in url else url


def _may_be_about_the_question(error: OriginError) -> bool:
    """Whether an origin may answer well when it is asked otherwise."""
    if isinstance(error, OriginStatus):
        return error.status not in statuses.OF_THE_MOMENT
    if isinstance(error, OriginHungUp):
        return not isinstance(error.__cause__, TimeoutError)
    return isinstance(error, OriginMisbehaved) and not isinstance(error, OriginOverdid)


class Asking:
    """An origin that is asked for several documents, all on the same terms."""

    def __init__(self, origin: Origin, terms: Terms) -> None:
        self._origin = origin
        self._terms = terms
        self.name = origin.name

    async def fetch(self, path: str, validators: Validators) -> Fetched | None:
        """Do what `Origin.fetch` does."""
        return await self._origin.fetch(path, validators, self._terms)
