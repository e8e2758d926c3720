"""The web application and its listening: which URL reaches which handler.

/               who we are             Pages
/-/...          the operator's pages   Pages, Dashboard, Api
anything else   mirrors                MirrorFace
"""

import asyncio
import logging
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from socket import socket

from aiohttp import web
from aiohttp.typedefs import Handler

from proxy.cache.mirror import Mirror
from proxy.cache.service import Cache
from proxy.errors import ProxyError
from proxy.jobs.actions import ActionsFor
from proxy.reporting.snapshot import Observer
from proxy.web.access_log import COUNTERS, AccessLog
from proxy.web.admin.access import Access, AdminOptions
from proxy.web.admin.api import Api, answer, asker_of
from proxy.web.admin.dashboard import Dashboard
from proxy.web.connection import Connection
from proxy.web.hot import HotReplies
from proxy.web.mirror import MirrorFace, local_address
from proxy.web.mounts import Mounts
from proxy.web.pages import Pages

log = logging.getLogger(__name__)

_BACKLOG = 1024
_DRAIN_POLL_S = 0.05
_SHORTEST_DRAIN_S = 0.01
"""aiohttp takes 0 for no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """What the operator's pages need."""

    observer: Observer
    actions_for: ActionsFor
    options: AdminOptions


def create_app(cache: Cache, mirrors: tuple[Mirror, ...], operator: Operator) -> web.Application:
    """Return the application that serves `cache`."""
    mounts = Mounts(mirrors)
    face = MirrorFace(cache, mounts)
    access = Access(operator.options)

    @web.middleware
    async def route_by_target(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Look for a path's handler only if it is ours: an absolute target may be another server's."""
        if not mounts.is_ours(request.raw_path, local_address(request)):
            return await face.get_path(request)
        if is_operators(request.path) and not access.may_read(asker_of(request)):
            return answer(HTTPStatus.FORBIDDEN, {"problem": "reading this needs an admin"})
        try:
            return await handler(request)
        except (ProxyError, OSError) as error:
            if isinstance(error, ConnectionError):
                raise
            log.warning("page.failed path=%s problem=%s", request.path, error)
            told = {"ready": False, "reasons": [str(error)]}
            problem = told if request.path == "/-/ready" else {"problem": str(error)}
            return answer(HTTPStatus.SERVICE_UNAVAILABLE, problem)

    app = web.Application(middlewares=[route_by_target])
    app[COUNTERS] = cache.storage.counters
    _add_operators_routes(app, cache, mirrors, operator, access)
    app.router.add_route("*", "/{path:.*}", face.get_path)
    return app


def is_operators(path: str) -> bool:
    """Whether a path tells more than that the proxy lives; the dashboard's page asks for the token itself."""
    if path.startswith("/-/static/"):
        return False
    return path.startswith("/-/") and path not in {"/-/", "/-/health", "/-/ready"}


def _add_operators_routes(
    app: web.Application, cache: Cache, mirrors: tuple[Mirror, ...], operator: Operator, access: Access
) -> None:
    pages = Pages(cache, operator.observer, mirrors)
    dashboard = Dashboard(
        cache, operator.observer, may_read=lambda request: access.may_read(asker_of(request))
    )
    api = Api(access, operator.actions_for, tuple(mirror.name for mirror in mirrors))
    for path, handler in (
        ("/-/stats", pages.get_stats),
        ("/-/metrics", pages.get_metrics),
        ("/-/health", pages.get_health),
        ("/-/ready", pages.get_ready),
        ("/-/", dashboard.get_page),
        ("/-/live", dashboard.get_live),
        ("/-/plots/{name}.svg", dashboard.get_plot),
        ("/-/static/{name}", dashboard.get_static),
        ("/-/api/v1/openapi.json", api.get_description),
    ):
        app.router.add_get(path, handler)
    app.router.add_post("/-/api/v1/{action}", api.post_action)
    if all(mirror.mount != "/" for mirror in mirrors):
        app.router.add_get("/", pages.get_welcome)


class Listening:
    """An application behind listening sockets."""

    def __init__(self, app: web.Application, *, keepalive_timeout_s: float) -> None:
        self._hot = HotReplies()
        self._runner = web.AppRunner(app, shutdown_timeout=_SHORTEST_DRAIN_S)
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
                self._hot,
                loop=loop,
                keepalive_timeout=self._keepalive_timeout_s,
                access_log_class=AccessLog,
                access_log=logging.getLogger("proxy.access"),
            )

        for one in sockets:
            server = await loop.create_server(connection, sock=one, ssl=tls, backlog=_BACKLOG)
            self._servers.append(server)

    def refuse(self) -> None:
        """Accept no more connections, and no more requests on those there are."""
        for server in self._servers:
            server.close()
        if self._runner.server is not None:
            self._runner.server.pre_shutdown()  # Closes connections that wait for a request.

    async def drain(self) -> None:
        """Return when no reply is running."""
        while self._runner.server is not None and self._runner.server.connections:  # noqa: ASYNC110
            await asyncio.sleep(_DRAIN_POLL_S)

    async def stop(self) -> None:
        """Accept no more, and cut what is still running."""
        self.refuse()
        await self._runner.cleanup()
        self._hot.close()
