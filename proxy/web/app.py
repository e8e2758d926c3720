"""The web application and its listening: which URL reaches which handler.

/               who we are             Pages
/-/...          the operator's pages   Pages, Dashboard, Api
anything else   mirrors                MirrorHandler

The operator's pages may be an application of their own, with its own listeners.
"""

import asyncio
import gc
import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from socket import AF_INET, AF_INET6, AF_UNIX, IPPROTO_TCP, TCP_USER_TIMEOUT, socket
from weakref import WeakSet

from aiohttp import HttpVersion11, web
from aiohttp.typedefs import Handler

from proxy.errors import ProxyError
from proxy.jobs.actions import ActionsFor
from proxy.mirror import Mirror
from proxy.reporting.snapshot import Observer
from proxy.service.cache import Cache
from proxy.web import SERVER_NAME
from proxy.web.access.gate import Gate
from proxy.web.access_log import COUNTERS, AccessLog
from proxy.web.admin.api import Api, answer, asker_of
from proxy.web.admin.dashboard import PAGE_NAMES, Dashboard
from proxy.web.admin.permission import AdminOptions, AdminPermission
from proxy.web.client_options import ClientOptions
from proxy.web.log_line import RequestLog, shown_path
from proxy.web.mirror_handler import PLACE, MirrorHandler, come_through, local_address
from proxy.web.mounts import Mounts
from proxy.web.pages import Pages, Welcome
from proxy.web.wire.acceptor import Acceptor, Alone, Share
from proxy.web.wire.connection import Connection
from proxy.web.wire.connection_limits import ConnectionLimits, connections_by_descriptors
from proxy.web.wire.reply_cache import ReplyCache

log = logging.getLogger(__name__)

_DRAIN_POLL_S = 0.05
_SHORTEST_DRAIN_S = 0.01
"""aiohttp takes 0 for no limit."""
_TLS_HANDSHAKE_TIMEOUT_S = 15.0
_LAST_LINES_WITHIN_S = 1.0
"""How long the end waits for requests that it cut to be noted: in the log, and in the counters."""
_LINGERING_S = 2.0
"""How long the body of a request that was answered already may take, before the connection is closed."""
_TCP_FAMILIES = {AF_INET, AF_INET6}
_ANY_PATH = "/{path:(?s:.*)}"
"""A path may have anything in it, percent-encoded: also line breaks, which `.` alone leaves out."""
_OPEN_PAGES = {"/-/health", "/-/ready", *(f"/-/{name}" for name in PAGE_NAMES)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """What the operator's pages need."""

    observer: Observer
    actions_for: ActionsFor
    options: AdminOptions
    clients_port: int | None = None
    """Where clients ask, if that is not where the operator's pages are; 0 if it cannot be known."""
    own_names: frozenset[str] = frozenset()
    """What this machine is called."""

    @property
    def permission(self) -> AdminPermission:
        """Who may do what."""
        return AdminPermission(self.options, self.own_names)


def create_app(
    cache: Cache, mirrors: tuple[Mirror, ...], gate: Gate, operator: Operator | None
) -> web.Application:
    """Return the application that serves `cache`; without an operator, without the operator's pages."""
    mounts = Mounts(mirrors)
    mirrors_handler = MirrorHandler(mirrors, cache.delivery, gate, cache.loops, cache.recorder)
    app = _create(cache, mounts, mirrors_handler.get_path, operator)
    if operator is not None:
        _add_operators_routes(app, cache, mirrors, operator)
    if all(mirror.mount != "/" for mirror in mirrors):
        app.router.add_get("/", Welcome(mirrors, gate, has_state=operator is not None).get_page)
    app.router.add_route("*", _ANY_PATH, mirrors_handler.get_path)
    return app


def create_operators_app(cache: Cache, mirrors: tuple[Mirror, ...], operator: Operator) -> web.Application:
    """Return the application that serves the operator's pages and nothing else."""
    app = _create(cache, Mounts(mirrors), _get_nothing, operator)
    _add_operators_routes(app, cache, mirrors, operator)
    app.router.add_route("*", _ANY_PATH, _get_nothing)
    return app


def _create(
    cache: Cache,
    mounts: Mounts,
    elsewhere: Callable[[web.Request], Awaitable[web.StreamResponse]],
    operator: Operator | None,
) -> web.Application:
    """Return an application without routes; `elsewhere` answers for absolute targets of other servers."""
    permission = None if operator is None else operator.permission

    @web.middleware
    async def route_by_target(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Look for a path's handler only if it is ours: an absolute target may be another server's."""
        come_through(request)
        host = request.headers.get("Host", "")
        request[PLACE] = place = mounts.place(request.raw_path, local_address(request), host)
        is_tunnel = request.method == "CONNECT"  # Its target is a host, whatever it looks like.
        if is_tunnel or not place.is_ours:
            return await elsewhere(request)
        if permission is not None and is_operators(request.path):
            why_not = permission.why_not_read(asker_of(request))
            if why_not is not None:
                return answer(HTTPStatus.FORBIDDEN, {"problem": why_not})
        try:
            return await handler(request)
        except (ProxyError, OSError) as error:
            if isinstance(error, ConnectionError):
                raise
            log.warning("page.failed path=%s problem=%s", shown_path(request.raw_path), error)
            told = {"ready": False, "reasons": [str(error)]}
            problem = told if request.path == "/-/ready" else {"problem": str(error)}
            return answer(HTTPStatus.SERVICE_UNAVAILABLE, problem)

    app = web.Application(middlewares=[route_by_target])
    app.on_response_prepare.append(_finish_head)
    app[COUNTERS] = cache.storage.counters
    return app


async def _get_nothing(_: web.Request) -> web.Response:
    return answer(HTTPStatus.NOT_FOUND, {"problem": "only the operator's pages are here, below /-/"})


async def _finish_head(request: web.Request, response: web.StreamResponse) -> None:
    """Say who answers; end a connection on which it may be unclear where the next request begins.

    What follows CONNECT or an offer to upgrade need not be HTTP/1.1, and HTTP/1.0 knows no
    chunks (RFC 9112 section 6.1).
    """
    response.headers["Server"] = SERVER_NAME
    is_old = request.version < HttpVersion11
    is_other = request.method == "CONNECT" or "Upgrade" in request.headers
    if is_other or (is_old and "Transfer-Encoding" in request.headers):
        response.force_close()
        response.headers["Connection"] = "close"


def is_operators(path: str) -> bool:
    """Whether a path tells more than that the proxy lives; a page asks for the token itself."""
    if path.startswith("/-/static/"):
        return False
    return path.startswith("/-/") and path not in _OPEN_PAGES


def _add_operators_routes(
    app: web.Application, cache: Cache, mirrors: tuple[Mirror, ...], operator: Operator
) -> None:
    permission = operator.permission

    pages = Pages(cache, operator.observer, lambda request: permission.why_not_read(asker_of(request)))
    dashboard = Dashboard(cache, operator.observer, mirrors, permission, operator.clients_port)
    names = tuple(mirror.name for mirror in mirrors)
    api = Api(permission, operator.actions_for, names, cache.storage.threads)
    for path, handler in (
        ("/-/stats", pages.get_stats),
        ("/-/metrics", pages.get_metrics),
        ("/-/health", pages.get_health),
        ("/-/ready", pages.get_ready),
        *((f"/-/{name}", dashboard.get_page) for name in PAGE_NAMES),
        ("/-/live", dashboard.get_live),
        ("/-/live/{name}", dashboard.get_live),
        ("/-/plots/{name}.svg", dashboard.get_plot),
        ("/-/static/{name}", dashboard.get_static),
        ("/-/api/v1/openapi.json", api.get_description),
    ):
        app.router.add_get(path, handler)
    app.router.add_post("/-/api/v1/{action}", api.post_action)


class Listening:
    """An application behind listening sockets."""

    def __init__(
        self, app: web.Application, options: ClientOptions, requests: RequestLog, share: Share | None = None
    ) -> None:
        """Listen alone, or for a share of all connections."""
        self._requests = requests
        self._replies = ReplyCache(requests)
        self._runner = web.AppRunner(app, shutdown_timeout=_SHORTEST_DRAIN_S)
        self._options = options
        self._met = app[COUNTERS].limits.met
        self._share = share or Alone()
        self._limits = ConnectionLimits(options, self._met, connections_by_descriptors(), self._tell_share)
        self._acceptors: list[Acceptor] = []
        self._tls: ssl.SSLContext | None = None
        self._plain: frozenset[socket] = frozenset()
        self._arriving: set[asyncio.Task[None]] = set()
        """Connections that were taken and have not begun: with TLS, whose handshake has not ended."""
        self._accepted: WeakSet[Connection] = WeakSet()
        """Also those whose TLS handshake has not ended, of which aiohttp does not know yet."""

    async def start(
        self, sockets: Sequence[socket], tls: ssl.SSLContext | None, plain: Sequence[socket] = ()
    ) -> None:
        """Begin to accept connections, by TLS if there is any, but for those at plain sockets."""
        await self._runner.setup()
        self._tls = tls
        self._plain = frozenset(plain)
        self._tell_share()
        for one in sockets:
            # Connections inherit it; the kernel then sees to it that no client stands still for longer.
            if one.family in _TCP_FAMILIES:
                one.setsockopt(IPPROTO_TCP, TCP_USER_TIMEOUT, round(self._options.stall_timeout_s * 1000))
            self._acceptors.append(Acceptor(one, self._share, self._begin))

    def _begin(self, listener: socket, taken: socket) -> None:
        """Begin a connection that was taken from a listening socket."""
        # Nobody could listen in between the ends of a local socket.
        is_plain = listener.family == AF_UNIX or listener in self._plain
        spoken = None if is_plain else self._tls
        arrival = asyncio.create_task(self._arrive(taken, spoken))
        self._arriving.add(arrival)
        arrival.add_done_callback(self._arrived)
        self._tell_share()

    async def _arrive(self, taken: socket, spoken: ssl.SSLContext | None) -> None:
        timeout_s = None if spoken is None else _TLS_HANDSHAKE_TIMEOUT_S
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._connection, taken, ssl=spoken, ssl_handshake_timeout=timeout_s
            )
        except OSError as error:  # The client left, or speaks no TLS.
            log.debug("connection.not_begun problem=%s", error)
            taken.close()

    def _arrived(self, arrival: asyncio.Task[None]) -> None:
        self._arriving.discard(arrival)
        self._tell_share()

    def _connection(self) -> Connection:
        manager = self._runner.server
        if manager is None:
            raise RuntimeError("the runner has no server after its set-up")
        one = Connection(
            manager,
            self._replies,
            self._limits,
            self._met,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=self._options.keepalive_timeout_s,
            lingering_time=_LINGERING_S,
            access_log_class=AccessLog,
            access_log=self._requests,
        )
        self._accepted.add(one)
        return one

    def _tell_share(self) -> None:
        if not self._limits.is_over:
            self._share.told(len(self._arriving) + len(self._limits))

    def refuse(self) -> None:
        """Accept no more connections, and no more requests on those there are but those under way."""
        for acceptor in self._acceptors:
            acceptor.close()
        self._limits.is_over = True
        self._share.leave()
        # aiohttp's own way to do this would leave idle connections open, and never read them again.
        for connection in () if self._runner.server is None else self._runner.server.connections:
            if isinstance(connection, Connection):
                connection.retire()

    async def drain(self) -> None:
        """Return when no reply is running, and nobody is about to ask."""
        loop = asyncio.get_running_loop()
        arrived_by = loop.time() + _TLS_HANDSHAKE_TIMEOUT_S
        while self._has_connections(are_arriving=loop.time() < arrived_by):  # noqa: ASYNC110
            await asyncio.sleep(_DRAIN_POLL_S)

    def _has_connections(self, *, are_arriving: bool) -> bool:
        if self._runner.server is not None and self._runner.server.connections:
            return True
        return are_arriving and self._are_shaking_hands()

    def _are_shaking_hands(self) -> bool:
        if all(one.has_arrived for one in self._accepted):
            return False
        # One whose handshake failed is told nothing of it, and is held only by its parser, which it holds.
        gc.collect()
        return not all(one.has_arrived for one in self._accepted)

    async def stop(self) -> None:
        """Accept no more, and cut what is still running."""
        self.refuse()
        for arrival in self._arriving:
            arrival.cancel()
        handling = [one.handling for one in self._accepted if one.handling is not None]
        await self._runner.cleanup()
        if handling:
            await asyncio.wait(handling, timeout=_LAST_LINES_WITHIN_S)
        self._replies.close()
