"""GET and HEAD below a mount: the pull-through handler, from request to reply.

locate -> let in -> resolve -> negotiate -> open -> BlobResponse
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from http import HTTPStatus

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from proxy.documents.documents import NoGeneration
from proxy.errors import ProxyError
from proxy.fills.bodies import Outcome
from proxy.mirror import Mirror
from proxy.readable import first_few
from proxy.recordings.recorder import Recorder
from proxy.service.delivery import Delivery
from proxy.service.target import NothingKnown, Target
from proxy.sources.loops import CHAIN, REPLY_FIELD, REQUEST_FIELD, LoopDetected, Loops, chain_of
from proxy.system.ip_addresses import parse_address
from proxy.web import SERVER_NAME
from proxy.web.access.gate import Gate, PasswordNeeded
from proxy.web.access_log import (
    CUT,
    DIGEST,
    FIRST_BYTE_S,
    HAS_LEFT,
    MIRROR,
    OUTCOME,
    client_name,
    request_id,
)
from proxy.web.admin.views.visit import base_of
from proxy.web.blob_response import BlobResponse
from proxy.web.cache_reply import cache_reply
from proxy.web.cuts import ConnectionCut, ProxyEnded
from proxy.web.log_line import shown_path
from proxy.web.mounts import Place
from proxy.web.nearest_mounts import nearest
from proxy.web.negotiate import negotiate
from proxy.web.recorded import absent_request, recorded_request
from proxy.web.status import cut_for, fate_of
from proxy.web.wire.client_presence import ClientLeft, presence_of
from proxy.web.wire.connection_limits import client_of

log = logging.getLogger(__name__)

PLACE = web.RequestKey("place", Place)
"""Where the request's target leads; worked out once, before a handler is chosen."""

_ALLOWED = {"GET", "HEAD"}
_CONTENT_TYPES = {
    # No charset: MAAS decodes and re-encodes by it before gpgv sees the bytes.
    ".json": "application/json",
    ".sjson": "application/json",
    ".gpg": "application/pgp-signature",
}
_CACHE_STATUS = {
    Outcome.HIT: "hit",
    Outcome.STALE: "hit; detail=stale",
    Outcome.MISS: "fwd=uri-miss; stored",
    Outcome.JOIN: "fwd=uri-miss; collapsed",
    Outcome.BYPASS: "fwd=uri-miss; detail=not-stored",
}
_RETRY_AFTER_S = 5
_NO_TUNNEL = (
    "what is https cannot be cached on its way, so take this proxy out of https_proxy, and give clients its "
    "own URLs; / lists them"
)
_CIRCLE_PATIENCE_S = 0.5


class MirrorHandler:
    """Answers for all mirrors."""

    def __init__(
        self, mirrors: Sequence[Mirror], delivery: Delivery, gate: Gate, loops: Loops, recorder: Recorder
    ) -> None:
        self._mirrors = mirrors
        self._delivery = delivery
        self._gate = gate
        self._loops = loops
        self._recorder = recorder

    async def get_path(self, request: web.Request) -> web.StreamResponse:
        """Answer a request for a document or item."""
        if request.method not in _ALLOWED:
            only = "only GET and HEAD work here"
            problem = f"{only}: {_NO_TUNNEL}" if request.method == "CONNECT" else only
            return _refuse(HTTPStatus.METHOD_NOT_ALLOWED, problem, Allow="GET, HEAD")
        place = request[PLACE]
        if place.is_foreign:
            shown = shown_path(request.raw_path)
            return _refuse(
                HTTPStatus.FORBIDDEN, f"this proxy serves only its configured mirrors, not {shown!r:.200}"
            )
        mirror = place.mirror
        if mirror is None:
            there = "no configured mirror has this path of that server"
            return _refuse(HTTPStatus.NOT_FOUND, self._nothing_here(request) if place.is_ours else there)
        try:
            with presence_of(request).needed():
                address = request.remote or ""
                await self._gate.pass_through(mirror, address, _authorization(request))
                target = await self._resolve(mirror, place.url_path, address)
                self._note_found(request, target)
                response = await self._reply(request, target)
            response[DIGEST] = target.item.digest
        except ProxyError as error:
            response = _translate(request, error)
            self._note_absent(request, mirror, place.url_path, response.status)
        except ClientLeft:
            response = ConnectionCut()
            response[OUTCOME] = Outcome.MISS.value
            response[HAS_LEFT] = True
        except asyncio.CancelledError:
            response = _translate(request, ProxyEnded())
        if CHAIN.get():
            response.headers[REPLY_FIELD] = self._loops.reply_field(mirror.name)
        response[MIRROR] = mirror.name
        return response

    def _nothing_here(self, request: web.Request) -> str:
        """Say that no mirror is mounted at a path, and which ones that may be read from there are near it."""
        if request.path.startswith("/-/"):
            return "the proxy has no such page at this address; / lists its mirrors"
        readable = [one for one in self._mirrors if self._gate.admits(one, request.remote or "")]
        base = base_of(request.scheme, request.headers.get("Host", ""))
        near = first_few([f"{base}{one.mount}" for one in nearest(request.path, readable)])
        return f"no mirror is mounted here; {f'there is {near}; ' if near else ''}/ lists those that are"

    def _note_found(self, request: web.Request, target: Target) -> None:
        if self._recorder.is_on:
            self._recorder.note(recorded_request(request.method, target), client_name(request))

    def _note_absent(self, request: web.Request, mirror: Mirror, url_path: str, status: int) -> None:
        if self._recorder.is_on and status == HTTPStatus.NOT_FOUND:
            self._recorder.note(absent_request(mirror, url_path), client_name(request))

    async def _resolve(self, mirror: Mirror, url_path: str, address: str) -> Target:
        """Return what a path names. Raises LoopDetected where whoever asks would have to be asked."""
        chain = CHAIN.get()
        if chain:
            self._loops.check(chain, mirror.name)
        if chain and self._loops.is_circle(chain, mirror.name):
            return await self._held(mirror, url_path, address)
        if chain and self._delivery.has_nothing(mirror):
            return await self._resolve_unless_circular(mirror, url_path, address)
        return await self._delivery.resolve(mirror, url_path, address)

    async def _resolve_unless_circular(self, mirror: Mirror, url_path: str, address: str) -> Target:
        """Return what a path names, once there is something to tell; meanwhile ask who asks whom.

        A check that runs already asks without this request's chain, and may wait for who has sent it.
        Raises LoopDetected.
        """
        resolving = asyncio.create_task(self._delivery.resolve(mirror, url_path, address))
        looking = asyncio.create_task(self._delivery.leads_back(mirror))
        try:
            await asyncio.wait([resolving, looking], return_when=asyncio.FIRST_COMPLETED)
            if not resolving.done() and looking.done() and looking.result():
                raise LoopDetected(mirror.name, "who asks for this is asked for it by this proxy")
            return await resolving
        finally:
            for task in (resolving, looking):
                task.cancel()
            await asyncio.gather(resolving, looking, return_exceptions=True)

    async def _held(self, mirror: Mirror, url_path: str, address: str) -> Target:
        """Return what a path names if it is here: who asks may be who would have to be asked.

        Raises LoopDetected otherwise.
        """
        why = "who asks for this is an origin of this proxy itself, and it is not here"
        try:
            async with asyncio.timeout(_CIRCLE_PATIENCE_S):
                target = await self._delivery.resolve(mirror, url_path, address)
        except (TimeoutError, NoGeneration, NothingKnown):
            raise LoopDetected(mirror.name, why) from None
        if not self._delivery.holds(target):
            raise LoopDetected(mirror.name, why)
        return target

    async def _reply(self, request: web.Request, target: Target) -> web.StreamResponse:
        answer = negotiate(target.item, request.headers, request.method)
        headers = answer.headers | _target_headers(target, is_open=self._gate.is_open(target.mirror))
        has_body = request.method == "GET" and answer.status in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}
        if not has_body:
            bodiless = _Bodiless(status=answer.status, headers=headers)
            bodiless[OUTCOME] = self._outcome(target).value
            bodiless.on_complete = partial(
                cache_reply, request, bodiless, target, self._delivery, self._gate, self._recorder
            )
            return bodiless
        began = time.monotonic()
        opened = await self._delivery.open(target, client_of(request.remote or ""))
        headers["Cache-Status"] = f"sstream-proxy; {_CACHE_STATUS[opened.outcome]}"
        response = BlobResponse(answer, opened, headers)
        response[OUTCOME] = opened.outcome.value
        response[FIRST_BYTE_S] = time.monotonic() - began
        response.on_complete = partial(
            cache_reply, request, response, target, self._delivery, self._gate, self._recorder
        )
        return response

    def _outcome(self, target: Target) -> Outcome:
        """Say what a reply without a body is: no hit, when a body would have had to be fetched."""
        if not self._delivery.holds(target):
            return Outcome.MISS
        return Outcome.STALE if target.is_stale else Outcome.HIT


class _Bodiless(web.StreamResponse):
    """A reply of headers alone."""

    on_complete: Callable[[], None]
    """Called when it was sent."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        writer = await super().prepare(request)
        await self.write_eof()
        self.on_complete()
        return writer


def come_through(request: web.Request) -> None:
    """Note the proxies that a request came through, for all that is done for it."""
    chain = chain_of(request.headers.getall(REQUEST_FIELD, ()))
    if chain != CHAIN.get():
        CHAIN.set(chain)


def _target_headers(target: Target, *, is_open: bool) -> dict[str, str]:
    suffix = target.item.path[target.item.path.rfind(".") :] if target.is_document else ""
    # A cache in between must not hand on what it got for somebody's password (RFC 9111 section 3.5).
    whose = "public" if is_open else "private"
    headers = {
        "Server": SERVER_NAME,
        "Content-Type": _CONTENT_TYPES.get(suffix, "application/octet-stream"),
        "Cache-Control": "no-cache" if target.is_document else f"{whose}, max-age=31536000, immutable",
    }
    if target.is_document:
        headers["Age"] = str(int(target.age_s))
    return headers


def _translate(request: web.Request, error: ProxyError) -> web.StreamResponse:
    fate, path = fate_of(error), shown_path(request.raw_path)
    response: web.StreamResponse
    if isinstance(error, LoopDetected):
        log.warning("loop.detected client=%s path=%s problem=%s", request.remote, path, error)
    if fate.outcome == "denied":
        # Many clients send credentials only when they are asked for them.
        level = logging.INFO if type(error) is PasswordNeeded else logging.WARNING
        log.log(level, "access.denied client=%s path=%s problem=%s", request.remote, path, error)
    if fate.status is None:
        log.warning("reply.cut path=%s sent=%d problem=%s", path, 0, error)
        response = ConnectionCut()
        response[CUT] = cut_for(error)
    else:
        response = _refuse(fate.status, str(error), **{"X-Request-Id": request_id(request)})
        if fate.status is HTTPStatus.UNAUTHORIZED:
            _challenge(request, response)
        if fate.status is HTTPStatus.SERVICE_UNAVAILABLE:
            response.headers["Retry-After"] = str(_RETRY_AFTER_S)
    response[OUTCOME] = fate.outcome
    return response


def _authorization(request: web.Request) -> str | None:
    """Return the header with a client's credentials: a proxy's, if it takes us for one (RFC 9110, 11.7)."""
    own = request.headers.get("Authorization")
    return own if _is_path(request) else request.headers.get("Proxy-Authorization", own)


def _challenge(request: web.Request, response: web.StreamResponse) -> None:
    """Ask for credentials in the header that a client looks for."""
    name = "WWW-Authenticate"
    if not _is_path(request):
        response.set_status(HTTPStatus.PROXY_AUTHENTICATION_REQUIRED)
        name = "Proxy-Authenticate"
    response.headers[name] = 'Basic realm="sstream-proxy", charset="UTF-8"'


def _is_path(request: web.Request) -> bool:
    return request.raw_path.startswith("/")


def _refuse(status: HTTPStatus, problem: str, **headers: str) -> web.Response:
    # What is wrong may repeat a path that somebody else has written: no browser is to see a page in it.
    ours = {"Server": SERVER_NAME, "X-Content-Type-Options": "nosniff"}
    return web.Response(status=status, text=f"{problem}\n", headers={**ours, **headers})


def local_address(request: web.Request) -> tuple[str, int] | None:
    """Return host and port that a request arrived at; IPv4 as such, also on an IPv6 socket."""
    name = None if request.transport is None else request.transport.get_extra_info("sockname")
    if not isinstance(name, tuple):
        return None
    address = parse_address(name[0])
    return name[0] if address is None else str(address), name[1]
