"""Asking for one URL of an origin, and following where that sends us.

A redirector chooses a mirror for each request. Where a redirect ends badly it is
asked again at once: it may choose another one.
"""

import contextlib
from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import NamedTuple

from aiohttp import ClientResponse, ConnectionTimeoutError
from yarl import URL

from proxy.sources.errors import (
    OriginAbsent,
    OriginError,
    OriginForbidden,
    OriginMisbehaved,
    OriginUnreachable,
    redirected,
)
from proxy.sources.http import fields, statuses
from proxy.sources.http.border import border
from proxy.sources.http.errors import OriginLooped, OriginStatus, ParentProxyRefused
from proxy.sources.http.reasons import explain_parent_refusal, explain_status
from proxy.sources.http.redirects import LONGEST_CHAIN, RedirectGuard, RedirectRefused
from proxy.sources.http.request_timer import RequestTimer
from proxy.sources.http.sessions import READ_BUFFER_BYTES, ForgivingHandler, Sessions
from proxy.sources.limits.limits import UNLIMITED, Limits
from proxy.sources.loops import REPLY_FIELD, Behind
from proxy.sources.meter import Meter

_LEAST_BUFFER_BYTES = 16 * 1024
MOST_ASKED = 4
"""How often a redirector may choose."""
_NOTABLE_S = 0.1
"""How late our own loop has to be for another try at a connection."""
_USUAL_PAUSE_S = 60.0
"""For a server that is asked too much and does not say when it may be asked again."""
_OF_OBJECT_STORES = "Object stores say so for what they do not have"


class Arrival(NamedTuple):
    """A useful reply, and the URL that it came from if the origin redirected there, else ""."""

    response: ClientResponse
    place: str


class _AvoidedPlace(OriginMisbehaved):
    """A redirect to a place that is avoided."""


class Follower:
    """Asks for URLs of one origin; `guard` decides where they may redirect to."""

    def __init__(
        self,
        name: str,
        sessions: Sessions,
        guard: RedirectGuard,
        meter: Meter,
        limits: Limits = UNLIMITED,
        behind: Behind | None = None,
    ) -> None:
        self._name = name
        self._sessions = sessions
        self._guard = guard
        self._meter = meter
        self._limits = limits
        self._behind = behind or Behind()
        self._buffer_bytes = _buffer_bytes(limits)

    async def ask(
        self, url: URL, path: str, headers: Mapping[str, str], avoided: Collection[str] = ()
    ) -> Arrival:
        """Return a useful reply, which comes from none of the places to be avoided.

        `path` is the name of what is asked for in messages. Raises OriginError.
        """
        bad = set(avoided)
        problem: OriginError | None = None
        for _ in range(MOST_ASKED):
            trail: list[str] = []
            try:
                return await self._follow(url, path, headers, trail, bad)
            except OriginError as error:
                if not isinstance(error, _AvoidedPlace) or problem is None:
                    problem = error
                is_chosen = trail and not isinstance(error.__cause__, RedirectRefused)
                if not is_chosen:
                    break
                bad.add(trail[-1])
        raise problem or _AvoidedPlace(self._name, "it redirects in vain")

    async def _follow(
        self, url: URL, path: str, headers: Mapping[str, str], trail: list[str], bad: Collection[str]
    ) -> Arrival:
        """Follow redirects to a reply; `trail` takes up where they lead."""
        for _ in range(LONGEST_CHAIN + 1):
            try:
                with self._border(trail):
                    response = await self._request(url, headers)
                    if response.status == HTTPStatus.REQUEST_TIMEOUT:
                        # Said to a connection that was idle for too long, and not to what was just asked.
                        response.close()
                        response = await self._request(url, headers)
                    target = self._redirect_target(url, response)
            except OriginUnreachable as error:
                remark = self._sessions.remark_on(url)
                if not remark:
                    raise
                raise type(error)(self._name, error.problem + remark).due_to("loop") from error.__cause__
            if target is None:
                return self._useful(response, path, trail)
            url = target
            trail.append(shown_place(url))
            if trail[-1] in bad:
                raise _AvoidedPlace(self._name, f"it redirects to {trail[-1]}, whose copy is no good")
        raise self._misbehaved(f"it redirects more than {LONGEST_CHAIN} times")

    async def _request(self, url: URL, headers: Mapping[str, str]) -> ClientResponse:
        parent = self._sessions.parent.on_the_way_to(url)
        timer = self._new_timer()
        try:
            response = await self._head(url, headers, parent, timer)
        except ConnectionTimeoutError:
            if timer.late_s < _NOTABLE_S:
                raise
            # The library counts what our own loop was late: the connection may have been there in time.
            timer = self._new_timer()
            response = await self._head(url, headers, parent, timer)
        self._behind.learn(response.headers.get(REPLY_FIELD))
        if parent is not None:
            refusal = explain_parent_refusal(
                response.status, response.headers, is_tunneled=url.scheme == "https"
            )
            if refusal is not None:
                response.release()
                self._meter.failed()
                raise ParentProxyRefused(self._name, refusal)
        if response.connection is not None and isinstance(response.connection.protocol, ForgivingHandler):
            response.connection.protocol.limit_reply(self._limits.rate_bytes_s)
        self._meter.answered(timer.spent_s, is_good=response.status in statuses.GOOD)
        return response

    async def _head(
        self, url: URL, headers: Mapping[str, str], parent: str | None, timer: RequestTimer
    ) -> ClientResponse:
        session = self._sessions.for_url(url, self._guard)
        # aiohttp itself does not bound what a parent proxy takes to answer CONNECT.
        async with timer:
            return await session.get(
                url,
                headers={**headers, **self._sessions.own_fields},
                allow_redirects=False,
                proxy=parent,
                trace_request_ctx=timer,
                read_bufsize=self._buffer_bytes,
            )

    def _new_timer(self) -> RequestTimer:
        options = self._sessions.options
        return RequestTimer(options.connect_timeout_s + options.stall_timeout_s)

    def _redirect_target(self, url: URL, response: ClientResponse) -> URL | None:
        """Return where a reply redirects to, None when it does not."""
        if response.status not in statuses.REDIRECTS or "Location" not in response.headers:
            return None
        response.release()
        location = fields.location(response.headers["Location"])
        if location is None:
            raise self._misbehaved("it redirects to what is no URL")
        target = url.join(URL(location))
        self._guard.check(target)
        return target

    def _useful(self, response: ClientResponse, path: str, trail: list[str]) -> Arrival:
        """Return the reply if it is useful. Raises what its status means otherwise."""
        status = response.status
        if status in statuses.USEFUL:
            return Arrival(response, _end(trail))
        response.release()
        if status in statuses.ABSENT:
            raise OriginAbsent(self._name, f"it has no {path}{redirected(_end(trail))}")
        is_relayed = (
            response.url.scheme == "http" and self._sessions.parent.on_the_way_to(response.url) is not None
        )
        problem = explain_status(status, is_relayed=is_relayed) + redirected(_end(trail))
        if status == HTTPStatus.FORBIDDEN:
            raise OriginForbidden(self._name, problem, _OF_OBJECT_STORES)
        if status in statuses.GOOD:
            self._meter.failed()
        kind = OriginLooped if status == HTTPStatus.LOOP_DETECTED else OriginStatus
        error = kind(self._name, status, problem)
        if status in statuses.ASKED_TOO_MUCH:
            asked_s = fields.pause_s(response.headers.get("Retry-After"), response.headers.get("Date"))
            error.pause_s = _USUAL_PAUSE_S if asked_s is None else asked_s
        raise error

    def _border(self, trail: list[str]) -> contextlib.AbstractContextManager[None]:
        return border(self._name, self._meter.failed, after=redirected(_end(trail)))

    def _misbehaved(self, problem: str) -> OriginMisbehaved:
        self._meter.failed()
        return OriginMisbehaved(self._name, problem)


def _buffer_bytes(limits: Limits) -> int:
    """Return how much aiohttp may receive ahead; twice that comes past the limits at most."""
    if limits.chunk_bytes is None:
        return READ_BUFFER_BYTES
    return min(max(limits.chunk_bytes, _LEAST_BUFFER_BYTES), READ_BUFFER_BYTES)


def _end(trail: list[str]) -> str:
    return trail[-1] if trail else ""


def shown_place(url: URL) -> str:
    """Return a URL without what may be secret in it."""
    return str(url.with_user(None).with_query(None).with_fragment(None))
