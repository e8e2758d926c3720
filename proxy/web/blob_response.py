"""The reply that carries an item or document: its headers, then its body from a Body.

Unlike aiohttp's FileResponse it never adds a Content-Encoding, its entity tag
is the digest, and a body that cannot be completed ends short: the connection is
cut, so that no client can take the beginning for the whole.
"""

import asyncio
import logging
from collections.abc import Callable

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from proxy.errors import ProxyError
from proxy.fills.bodies import Body, Opened
from proxy.store.files import StoreFault
from proxy.web.cuts import ProxyEnded
from proxy.web.log_line import shown_path
from proxy.web.negotiate import Answer
from proxy.web.wire.client_presence import UndisturbedSink, presence_of
from proxy.web.wire.sinks import SocketSink, TlsSink

log = logging.getLogger(__name__)


class BlobResponse(web.StreamResponse):
    """Sends the part of a body that an Answer names."""

    def __init__(self, answer: Answer, opened: Opened, headers: dict[str, str]) -> None:
        super().__init__(status=answer.status, headers=headers)
        self._answer = answer
        self._opened = opened
        self.sent_bytes = 0
        self.is_complete = False
        self.problem: ProxyError | None = None
        """Why the body ended short, unless the client left."""
        self.on_complete: Callable[[Answer, Body], None] = lambda *_: None
        """Told what was sent, when all of it was."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send headers and body. Raises ConnectionResetError when the client or the body gave out."""
        try:
            writer = await super().prepare(request)
            transport = request.transport
            if writer is None or transport is None:
                raise ConnectionResetError("the client is gone")
            await self._send_body(request, writer)
            await super().write_eof()
            self.on_complete(self._answer, self._opened.body)
        finally:
            await self._opened.body.close()
        return writer

    async def _send_body(self, request: web.BaseRequest, writer: AbstractStreamWriter) -> None:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client is gone")
        is_tls = transport.get_extra_info("sslcontext") is not None
        sink: SocketSink | TlsSink = TlsSink(writer) if is_tls else SocketSink(transport, writer)
        try:
            presence = presence_of(request)
            with presence.needed():
                answer, patient = self._answer, UndisturbedSink(sink, presence)
                await self._opened.body.send_to(patient, answer.start, answer.stop)
        except ConnectionError:
            raise
        except ProxyError as error:
            self._cut(request, sink.sent_bytes, error)
            raise ConnectionResetError(str(error)) from error
        except OSError as error:
            self._cut(request, sink.sent_bytes, StoreFault.of("what is sent cannot be read", error))
            raise ConnectionResetError(str(error)) from error
        except asyncio.CancelledError:
            self._cut(request, sink.sent_bytes, ProxyEnded())
            raise
        finally:
            # Some hang up with the last byte, before we have looked that it went.
            self.sent_bytes = sink.sent_bytes
            self.is_complete = sink.sent_bytes == self._answer.stop - self._answer.start
            sink.close()

    def _cut(self, request: web.BaseRequest, sent_bytes: int, problem: ProxyError) -> None:
        path = shown_path(request.raw_path)
        log.warning("reply.cut path=%s sent=%d problem=%s", path, sent_bytes, problem)
        self.problem = problem
