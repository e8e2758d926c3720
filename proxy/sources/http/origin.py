"""One origin server: asking it for a path and reading the answer.

Owns HTTP towards upstream and the translation of its faults. Knows nothing of
what the bytes mean, nor of other origins; `route.py` chooses among them.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from io import BytesIO

from yarl import URL

from proxy.simplestreams.paths import url_paths
from proxy.sources.addresses import authority_of, shown_url
from proxy.sources.awake_timeout import AwakeTimeout
from proxy.sources.document import CONFIRMED, Fetched, FetchOptions, Validators
from proxy.sources.errors import (
    OriginAbsent,
    OriginError,
    OriginForbidden,
    OriginMisbehaved,
    OriginOverdid,
    OriginUnreachable,
)
from proxy.sources.freshness import Freshness
from proxy.sources.http import fields, statuses
from proxy.sources.http.border import border
from proxy.sources.http.conditions import conditions, freshness_fields, range_condition, sent_validators
from proxy.sources.http.errors import OriginHungUp, OriginStatus
from proxy.sources.http.following import MOST_ASKED, Arrival, Follower
from proxy.sources.http.item import HttpItem
from proxy.sources.http.reasons import explain_status
from proxy.sources.http.redirects import RedirectGuard
from proxy.sources.http.reply import Reply
from proxy.sources.http.sessions import Sessions
from proxy.sources.http.unpacking import TooLarge, unpacked
from proxy.sources.limits.document_flow import DocumentFlow
from proxy.sources.limits.limits import UNLIMITED, Limits
from proxy.sources.loops import Behind
from proxy.sources.meter import Meter
from proxy.sources.options import UpstreamOptions

log = logging.getLogger(__name__)

_ANY_VERSION = Validators()


class HttpOrigin:
    """One base URL that a mirror's files are fetched from."""

    def __init__(
        self,
        base_url: str,
        sessions: Sessions,
        guard: RedirectGuard,
        meter: Meter,
        limits: Limits = UNLIMITED,
        behind: Behind | None = None,
    ) -> None:
        self._base_url = base_url
        self._sessions = sessions
        self.meter = meter
        self._limits = limits
        self.name = shown_url(base_url)
        self.host = authority_of(base_url)
        self._follower = Follower(self.name, sessions, guard, meter, limits, behind)

    @property
    def options(self) -> UpstreamOptions:
        """How patient to be with it."""
        return self._sessions.options

    def __repr__(self) -> str:
        return f"HttpOrigin({self.name})"

    def item(self, path: str, size_bytes: int) -> HttpItem:
        """Return the item of that size at a canonical path. Asks for nothing yet."""
        return HttpItem(self.name, size_bytes, partial(self.open, path), self._border)

    @contextlib.asynccontextmanager
    async def open(
        self,
        path: str,
        *,
        offset: int = 0,
        stop: int | None = None,
        version: Validators = _ANY_VERSION,
        freshness: Freshness = Freshness.KEPT,
        avoided: Collection[str] = (),
    ) -> AsyncIterator[Reply]:
        """Ask for the bytes of a canonical path from `offset` on, up to `stop` if it is given.

        The reply may be of more than that (an origin without ranges, or one that has another version by
        now). It comes from none of the places to be avoided, where an origin redirects.
        Raises OriginError.
        """
        headers = {"Accept-Encoding": "identity", **freshness_fields(freshness)}
        if offset or stop is not None:
            headers["Range"] = f"bytes={offset}-{'' if stop is None else stop - 1}"
            headers |= range_condition(version)
        async with self._get(path, headers, avoided) as arrival:
            with self._border():
                reply = self._reply(arrival, offset)
            yield reply

    async def fetch(
        self, path: str, validators: Validators, options: FetchOptions = CONFIRMED
    ) -> Fetched | None:
        """Return a whole document; None when `validators` still hold (304).

        Raises what `open` raises, OriginMisbehaved for one over the size limit,
        and OriginUnreachable for one that takes longer than `document_timeout_s`,
        or only trickles though the origin is replaceable.
        """
        timeout_s = self._sessions.options.document_timeout_s
        asked_with = conditions(validators)
        try:
            async with AwakeTimeout(timeout_s) as timeout:
                options = options._replace(flow=DocumentFlow(timeout))
                if asked_with:
                    return await self._fetch_if_changed(path, asked_with, options)
                return await self._fetch(path, {}, options)
        except TimeoutError as error:
            self.meter.failed()
            raise OriginUnreachable(self.name, f"{path} took longer than {timeout_s:g} s") from error

    async def _fetch_if_changed(
        self, path: str, asked_with: Mapping[str, str], options: FetchOptions
    ) -> Fetched | None:
        """Ask with conditions, and plainly once when it may be the conditions that are not liked."""
        try:
            return await self._fetch(path, asked_with, options)
        except OriginError as error:
            if not _may_be_about_the_question(error):
                raise
            log.info("origin.asked_plainly path=%s problem=%s", path, error)
        found = await self._fetch(path, {}, options)
        # Nothing to ask with next time.
        return None if found is None else replace(found, validators=Validators())

    async def _fetch(self, path: str, asked_with: Mapping[str, str], options: FetchOptions) -> Fetched | None:
        headers = {"Accept-Encoding": "identity", **freshness_fields(options.freshness), **asked_with}
        avoided: set[str] = set()
        while True:
            async with self._get(path, headers, avoided) as arrival:
                try:
                    with self._border():
                        return await self._read_fetched(
                            arrival, path, options, is_conditional=bool(asked_with)
                        )
                except OriginError:
                    if not arrival.place or len(avoided) >= MOST_ASKED:
                        raise
                    avoided.add(arrival.place)

    async def _read_fetched(
        self, arrival: Arrival, path: str, options: FetchOptions, *, is_conditional: bool
    ) -> Fetched | None:
        response = arrival.response
        can_wait = options.is_held or options.is_replaceable
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
        data = await self._read_document(arrival, options)
        return Fetched(data=data, validators=sent_validators(response.headers))

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

    def _border(self) -> contextlib.AbstractContextManager[None]:
        """Return a context in which every error is this origin's."""
        return border(self.name, self.meter.failed)

    def _unfit(self, status: int) -> OriginStatus:
        if status in statuses.GOOD:
            self.meter.failed()
        return OriginStatus(self.name, status, explain_status(status))

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
            form = " in several parts (multipart/byteranges)" if has_parts else ""
            raise self._misbehaved(f"asked for bytes from {offset} on, it sent {sent!r:.80}{form}")
        return self._body(arrival, *part)

    def _body(self, arrival: Arrival, start: int, total: int | None) -> Reply:
        return Reply(self.name, arrival, start, total, self.options, self.meter, self._limits)

    async def _read_document(self, arrival: Arrival, options: FetchOptions) -> bytes:
        limit = self.options.document_limit_bytes
        if (fields.length(arrival.response.headers.get("Content-Length")) or 0) > limit:
            raise self._too_large(limit)
        # Bytes that are written to it are not copied again in the end, while all else would stand still.
        written = BytesIO()
        reply = self._body(arrival, 0, None)
        async for chunk in reply.chunks(is_replaceable=options.is_replaceable, flow=options.flow):
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


def _may_be_about_the_question(error: OriginError) -> bool:
    """Whether an origin may answer well when it is asked otherwise."""
    if isinstance(error, OriginForbidden):
        return True
    if isinstance(error, OriginStatus):
        return error.status not in statuses.OF_THE_MOMENT
    if isinstance(error, OriginHungUp):
        return not isinstance(error.__cause__, TimeoutError)
    return isinstance(error, OriginMisbehaved) and not isinstance(error, OriginOverdid)
