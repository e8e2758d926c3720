"""One log line a request."""

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from proxy.web.blob_response import BlobResponse
from proxy.web.mirror import DIGEST, OUTCOME


class AccessLog(AbstractAccessLogger):
    """Writes `request` events; the outcome is the same word as in Cache-Status."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Log one answered request; `time` in seconds."""
        sent_bytes = response.sent_bytes if isinstance(response, BlobResponse) else response.body_length
        self.logger.info(
            "request client=%s method=%s path=%s status=%d outcome=%s bytes=%d seconds=%.3f digest=%s",
            request.remote,
            request.method,
            request.raw_path,
            response.status,
            response.get(OUTCOME, "-"),
            sent_bytes,
            time,
            response.get(DIGEST, "-"),
        )
