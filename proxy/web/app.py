"""The web application and its listening: which URL reaches which handler.

/               who we are          Pages
/-/...          state of the proxy  Pages
anything else   mirrors             MirrorFace
"""

import asyncio
import logging
import ssl
from collections.abc import Sequence
from socket import socket

from aiohttp import web
from aiohttp.typedefs import Handler

from proxy.cache.mirror import Mirror
from proxy.cache.service import Cache
from proxy.web.access_log import AccessLog
from proxy.web.connection import Connection
from proxy.web.mirror import MirrorFace, local_address
from proxy.web.mounts import Mounts
from proxy.web.pages import Pages

_BACKLOG = 1024
_SHORTEST_DRAIN_S = 0.01
"""aiohttp takes 0 for no limit."""


def create_app(cache: Cache, mirrors: tuple[Mirror, ...]) -> web.Application:
    """Return the application that serves `cache`."""
    pages = Pages(cache, mirrors)
    mounts = Mounts(mirrors)
    face = MirrorFace(cache, mounts)

    @web.middleware
    async def route_by_target(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Look for a path's handler only if it is ours: an absolute target may be another server's."""
        is_ours = mounts.is_ours(request.raw_path, local_address(request))
        return await (handler if is_ours else face.get_path)(request)

    app = web.Application(middlewares=[route_by_target])
    app.router.add_get("/-/stats", pages.get_stats)
    app.router.add_get("/-/health", pages.get_health)
    if all(mirror.mount != "/" for mirror in mirrors):
        app.router.add_get("/", pages.get_welcome)
    app.router.add_route("*", "/{path:.*}", face.get_path)
    return app


class Listening:
    """An application behind listening sockets."""

    def __init__(self, app: web.Application, *, keepalive_timeout_s: float, drain_timeout_s: float) -> None:
        self._runner = web.AppRunner(app, shutdown_timeout=max(drain_timeout_s, _SHORTEST_DRAIN_S))
        self._keepalive_timeout_s = keepalive_timeout_s
        self._servers: list[asyncio.Server] = []

    async def start(self, sockets: Sequence[socket], tls: ssl.SSLContext | None) -> None:
        """Begin to accept connections."""
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        manager = self._runner.server
        if manager is None:
            raise RuntimeError("the runner has no server after its set-up")

        def connection() -> Connection:
            return Connection(
                manager,
                loop=loop,
                keepalive_timeout=self._keepalive_timeout_s,
                access_log_class=AccessLog,
                access_log=logging.getLogger("proxy.access"),
            )

        for one in sockets:
            server = await loop.create_server(connection, sock=one, ssl=tls, backlog=_BACKLOG)
            self._servers.append(server)

    async def stop(self) -> None:
        """Accept no more, let running replies finish within the drain time, then cut them."""
        for server in self._servers:
            server.close()
        await self._runner.cleanup()
