"""What is noted of every request when it has ended: one log line, and the counters of its mirror."""

import re

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from proxy.counting.client_table import Visit
from proxy.counting.counters import Counters
from proxy.web.blob_response import BlobResponse
from proxy.web.log_line import LOCAL, Ended, RequestLog, new_request_id, shown_path
from proxy.web.status import cut_for, fate_of

MIRROR = web.ResponseKey("mirror", str)
OUTCOME = web.ResponseKey("outcome", str)
CUT = web.ResponseKey("cut", str)
"""Why a reply was cut before its status line."""
DIGEST = web.ResponseKey("digest", str)
FIRST_BYTE_S = web.ResponseKey("first_byte_s", float)
"""How long the first byte took to be here, for replies with a body."""
HAS_LEFT = web.ResponseKey("has_left", bool)
"""Set when the client hung up before anything was sent."""
COUNTERS = web.AppKey("counters", Counters)

_REQUEST_ID = web.RequestKey("request_id", str)
_GIVEN_ID = re.compile(r"[\w.:-]{1,64}")


def request_id(request: web.BaseRequest) -> str:
    """Return what identifies a request in the log: what its sender calls it, else a number of ours."""
    known = request.get(_REQUEST_ID)
    if known is None:
        given = request.headers.get("X-Request-Id", "")
        known = given if _GIVEN_ID.fullmatch(given) else new_request_id()
        request[_REQUEST_ID] = known
    return known


def client_name(request: web.BaseRequest) -> str:
    """Return the address of who asks, or what stands for it."""
    return request.remote or LOCAL


def visit_of(request: web.BaseRequest, mirror: str) -> Visit:
    """Return what the table of clients records of a request."""
    agent = request.headers.get("User-Agent", "")
    return Visit(client_name(request), mirror, agent, shown_path(request.raw_path))


class AccessLog(AbstractAccessLogger):
    """Writes `request` events and counts; the outcome is the same word as in Cache-Status."""

    def __init__(self, requests: RequestLog, _format: str) -> None:
        """Take what the server has for a logger; aiohttp hands it on."""
        self._requests = requests

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Note one ended request; `time` in seconds."""
        sent_bytes, is_aborted = _body_bytes(request, response), HAS_LEFT in response
        outcome, cut = response.get(OUTCOME, "-"), response.get(CUT)
        if isinstance(response, BlobResponse):
            sent_bytes = response.sent_bytes
            is_aborted = not response.is_complete and response.problem is None
            if response.problem is not None:
                outcome, cut = fate_of(response.problem).outcome, cut_for(response.problem)
        mirror = response.get(MIRROR)
        if mirror is not None and isinstance(request, web.Request):
            counters = request.app[COUNTERS]
            counters.mirror(mirror).ended(
                outcome, sent_bytes, response.get(FIRST_BYTE_S), is_aborted=is_aborted
            )
            is_cut = cut is not None
            if cut is not None:
                counters.cuts.cut(cut)
            counters.clients.ended(
                visit_of(request, mirror), outcome, sent_bytes, is_left=is_aborted, is_cut=is_cut
            )
            if DIGEST in response:
                counters.files.asked(response[DIGEST], client_name(request))
        self._requests.write(
            Ended(
                client=None if request.remote is None else client_name(request),
                method=request.method,
                path=shown_path(request.raw_path),
                status=response.status,
                outcome=outcome,
                sent_bytes=sent_bytes,
                seconds=time,
                digest=response.get(DIGEST, "-"),
                is_aborted=is_aborted,
                request_id=request_id(request),
            ),
        )


def _body_bytes(request: web.BaseRequest, response: web.StreamResponse) -> int:
    """Return how much of a body was sent; aiohttp's own count has the headers in it."""
    has_body = isinstance(response, web.Response) and request.method != "HEAD"
    return response.content_length or 0 if has_body and response.body_length else 0
