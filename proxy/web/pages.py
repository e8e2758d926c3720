"""What the proxy says of itself to programs, and at `/` to people.

/             the mirrors, as URLs to give to a client
/-/stats      figures            /-/metrics    the same for Prometheus
/-/health     a worker answers   /-/ready      the proxy can do its work
"""

from collections.abc import Callable, Sequence
from http import HTTPStatus

from aiohttp import web

from proxy import __version__
from proxy.mirror import Mirror
from proxy.reporting.metrics import CONTENT_TYPE, exposition
from proxy.reporting.snapshot import Observer
from proxy.service.cache import Cache
from proxy.web import SERVER_NAME
from proxy.web.access.gate import Gate
from proxy.web.admin.api import answer
from proxy.web.admin.rendering import page_reply, render, static_reply
from proxy.web.admin.views.visit import base_of, usable_address
from proxy.web.recipes import recipes

_HEADERS = {"Server": SERVER_NAME, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class Welcome:
    """The page for whoever looks what this is: HTML for browsers, text for all others."""

    def __init__(self, mirrors: tuple[Mirror, ...], gate: Gate, *, has_state: bool) -> None:
        self._mirrors = mirrors
        self._gate = gate
        self._has_state = has_state
        """Whether the operator's pages are at the same address."""

    async def get_page(self, request: web.Request) -> web.Response:
        """List the mirrors that somebody may read from where they are, as URLs to give to a client."""
        file = request.query.get("file")
        if file is not None:
            return static_reply(file) or web.Response(status=HTTPStatus.NOT_FOUND, text="no such file\n")
        base = base_of(request.scheme, request.headers.get("Host", ""))
        readable = tuple(one for one in self._mirrors if self._gate.admits(one, request.remote or ""))
        own = None if request.transport is None else request.transport.get_extra_info("sockname")
        if "text/html" in request.headers.get("Accept", ""):
            values = {
                "version": __version__,
                "base": base,
                "mirrors": readable,
                "has_state": self._has_state,
                "recipes": recipes(readable, base, usable_address(own)),
            }
            return page_reply(render("welcome.html", values), Vary="Accept")
        return web.Response(text=self._as_text(readable, base), headers={**_HEADERS, "Vary": "Accept"})

    def _as_text(self, readable: Sequence[Mirror], base: str) -> str:
        lines = [f"sstream-proxy {__version__}: a verified cache of simplestreams mirrors.", ""]
        lines += [f"  {mirror.name:20} {base}{mirror.mount}" for mirror in readable]
        if not readable:
            lines += ["  None of its mirrors is for clients at your address."]
        if self._has_state:
            lines += ["", f"  {'state and figures':20} {base}/-/"]
        return "\n".join(lines) + "\n"


class Pages:
    """The operator's pages that programs read."""

    def __init__(
        self, cache: Cache, observer: Observer, why_not_read: Callable[[web.Request], str | None]
    ) -> None:
        self._cache = cache
        self._observer = observer
        self._why_not_read = why_not_read

    async def get_stats(self, _: web.Request) -> web.Response:
        """Return all figures."""
        return answer(HTTPStatus.OK, (await self._observer.snapshot()).stats)

    async def get_metrics(self, _: web.Request) -> web.Response:
        """Return all figures for Prometheus."""
        body = exposition(await self._observer.snapshot())
        return web.Response(body=body, headers={**_HEADERS, "Content-Type": CONTENT_TYPE})

    async def get_health(self, _: web.Request) -> web.Response:
        """Say that this worker answers."""
        return web.Response(text="ok\n", headers=_HEADERS)

    async def get_ready(self, request: web.Request) -> web.Response:
        """Say whether the proxy can do its work; mirrors without lists are woken up.

        One whose origins fail goes on serving what it has: a load balancer is to keep it, for its
        neighbours have the same origins. Its problems are told all the same, as why it is not ready is,
        to those who may read the operator's pages: they name mirrors and origins.
        """
        stats = (await self._observer.snapshot()).stats
        reasons = []
        for name, mirror in stats["mirrors"].items():
            if not mirror["is_ready"]:
                why = mirror["last_problem"] or "they are being fetched"
                reasons.append(f"mirror {name} has no verified lists: {why}")
                self._cache.wake(name)
        if not stats["store"]["is_writable"]:
            reasons.append(f"the store cannot be written: {'; '.join(stats['store']['faults'])}")
        status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
        why_untold = self._why_not_read(request)
        if why_untold is not None:
            untold = [f"not told: {why_untold}"] * bool(reasons)
            return answer(status, {"ready": not reasons, "reasons": untold})
        problems = [f"{problem['subject']} {problem['text']}" for problem in stats["problems"]]
        told = {} if reasons or not problems else {"problems": problems}
        return answer(status, {"ready": not reasons, "reasons": reasons, **told})
