"""Keeping a reply that has gone out, prepared for whoever asks the same again.

Only hits are worth it, on connections that stay open; what such a reply says
follows from the request's head and the target alone.
"""

from collections.abc import Callable
from functools import partial
from http import HTTPStatus

from aiohttp import web

from proxy.fills.bodies import Body, Outcome
from proxy.recordings.recorder import Recorder
from proxy.service.delivery import Delivery
from proxy.service.target import Target
from proxy.web.access.gate import Gate
from proxy.web.access_log import COUNTERS, OUTCOME, visit_of
from proxy.web.blob_response import BlobResponse
from proxy.web.log_line import Ended, shown_path
from proxy.web.negotiate import Answer
from proxy.web.recorded import recorded_request
from proxy.web.wire.connection import Connection
from proxy.web.wire.prepared import PreparedReply, RangeReplies, WholeReply, shared_head
from proxy.web.wire.reply_cache import CachedReply


def cache_reply(
    request: web.Request,
    response: web.StreamResponse,
    target: Target,
    delivery: Delivery,
    gate: Gate,
    recorder: Recorder,
    answer: Answer | None = None,
    body: Body | None = None,
) -> None:
    """Keep a reply that has gone out, with its body if it had one."""
    connection = request.protocol
    is_hit = response[OUTCOME] == Outcome.HIT.value and response.keep_alive
    if not is_hit or not isinstance(connection, Connection):
        return
    head = connection.head_to_cache()
    prepared = None if head is None else _prepared(request, response, head, answer, body)
    if head is None or prepared is None:
        return
    connection.cache_reply(
        head,
        CachedReply(
            prepared=prepared,
            has_body=isinstance(response, BlobResponse),
            tally=request.app[COUNTERS].mirror(target.mirror.name),
            clients=request.app[COUNTERS].clients,
            files=request.app[COUNTERS].files,
            visit=visit_of(request, target.mirror.name),
            is_current=_currency(delivery, gate, target),
            is_for_all=not target.is_document and not gate.asks_networks(target.mirror),
            on_used=partial(delivery.note_use, target),
            recorder=recorder,
            request=recorded_request(request.method, target),
            ended=Ended(
                client=None,
                method=request.method,
                path=shown_path(request.raw_path),
                status=response.status,
                outcome=Outcome.HIT.value,
                sent_bytes=0,
                seconds=0.0,
                digest=target.item.digest,
                is_aborted=False,
                request_id="",
            ),
        ),
    )


def _currency(delivery: Delivery, gate: Gate, target: Target) -> Callable[[str], bool]:
    """Return what says whether the same request gets the same reply now, from a client at an address.

    Its credentials are right: the request is the same but for a range, and
    users do not change while a process lives.
    """
    is_current = delivery.currency(target)
    if not gate.asks_networks(target.mirror):
        return is_current
    return lambda address: gate.admits(target.mirror, address) and is_current(address)


def _prepared(
    request: web.Request,
    response: web.StreamResponse,
    head: bytes,
    answer: Answer | None,
    body: Body | None,
) -> PreparedReply | None:
    """Prepare a reply to be sent again; None when it is too large."""
    version = request.version
    status_line = f"HTTP/{version.major}.{version.minor} {response.status} {response.reason}"
    lines = list(response.headers.items())
    if body is not None and answer is not None:
        if answer.status is HTTPStatus.PARTIAL_CONTENT and shared_head(head) != head:
            file = body.proved_file()
            return None if file is None else RangeReplies(status_line, lines, file)
        part = body.small_part(answer.start, answer.stop)
        if part is None:
            return None
    else:
        part = b""
    text = "\r\n".join([status_line, *(f"{name}: {value}" for name, value in lines), "", ""])
    return WholeReply(text.encode(), part)
