"""The operator's pages below `/-/`: rendered here, without anything from elsewhere.

/-/                 the overview          /-/NAME         another page
/-/live             its changing part     /-/live/NAME    that of another page
/-/plots/NAME.svg   a plot
/-/static/FILE      style and script

Each page is a frame that anybody gets, with what only readers may see in it: whoever may not
read it is told why and can send a token from there, and the script then asks for the changing part
with it. Which client asked for what is shown to admins alone.
"""

from http import HTTPStatus
from typing import NamedTuple

from aiohttp import web

from proxy.mirror import Mirror
from proxy.reporting.file_search import FileIndex
from proxy.reporting.history import SPANS, points_of
from proxy.reporting.plots import PLOTS, THEMES, draw
from proxy.reporting.products import ProductTable
from proxy.reporting.snapshot import Observer
from proxy.service.cache import Cache
from proxy.web.admin.api import asker_of
from proxy.web.admin.permission import AdminPermission
from proxy.web.admin.rendering import page_reply, picture_reply, render, static_reply
from proxy.web.admin.views.clients import Clients
from proxy.web.admin.views.connect import Connect
from proxy.web.admin.views.files import Files
from proxy.web.admin.views.history import History
from proxy.web.admin.views.overview import Overview
from proxy.web.admin.views.pins import Pins
from proxy.web.admin.views.releases import Releases
from proxy.web.admin.views.visit import Look, Visit, base_of, by_address, usable_address

OVERVIEW = ""
PAGE_NAMES = (OVERVIEW, "releases", "files", "pins", "clients", "history", "connect")
"""In the order of the menu."""


class _Page(NamedTuple):
    title: str
    look: Look
    renewed_every_s: int
    """How often the script brings it up to date; 0 is never."""


class Dashboard:
    """Answers for the pages that a person looks at."""

    def __init__(
        self,
        cache: Cache,
        observer: Observer,
        mirrors: tuple[Mirror, ...],
        permission: AdminPermission,
        clients_port: int | None = None,
    ) -> None:
        """Show these mirrors; `clients_port` is where clients ask for them, if these pages are elsewhere."""
        self._permission = permission
        self._cache = cache
        self._observer = observer
        self._clients_port = clients_port
        storage = cache.storage
        names = tuple(mirror.name for mirror in mirrors)
        self._pages = {
            OVERVIEW: _Page("Overview", Overview(observer, mirrors).look, 3),
            "releases": _Page("Releases", Releases(ProductTable(cache), observer).look, 3),
            "files": _Page("Files", Files(FileIndex(cache, observer.counts), names).look, 0),
            "pins": _Page("Pins", Pins(cache, observer).look, 5),
            "clients": _Page("Clients", Clients(observer.counts, storage.threads, observer.clock).look, 5),
            "history": _Page("History", History(cache, observer).look, 60),
            "connect": _Page("Connect", Connect(mirrors).look, 0),
        }
        self._menu = [(name, page.title) for name, page in self._pages.items()]

    async def get_page(self, request: web.Request) -> web.Response:
        """Return a whole page; to those who may not read it only what lets them send a token."""
        name = request.path.rpartition("/")[2]
        page = self._pages[name]
        asker = asker_of(request)
        why_not = self._permission.why_not_read(asker)
        live = "" if why_not else await self._render_live(name, request)
        elsewhere = ""
        if self._permission.may_read_by_address(asker):
            elsewhere = by_address(request.scheme, _socket_name(request), request.path)
        frame = {"live": live, "name": name, "page": page, "menu": self._menu}
        return page_reply(render("page.html", {**frame, "why_not": why_not, "elsewhere": elsewhere}))

    async def get_live(self, request: web.Request) -> web.Response:
        """Return the changing part of a page."""
        name = request.match_info.get("name", OVERVIEW)
        if name not in self._pages:
            return _nothing("page")
        return page_reply(await self._render_live(name, request))

    async def get_plot(self, request: web.Request) -> web.Response:
        """Return a plot."""
        name, query = request.match_info["name"], request.query
        theme, span = query.get("theme", THEMES[0]), SPANS.get(query.get("span", "day"))
        if name not in PLOTS or theme not in THEMES or span is None:
            return _nothing("plot")
        snapshot = await self._observer.snapshot()
        folder, totals, now = self._observer.counts, snapshot.totals, snapshot.taken_at
        threads = self._cache.storage.threads
        return picture_reply(
            await threads.slow(lambda: draw(name, theme, points_of(span, totals, folder, now), span))
        )

    async def get_static(self, request: web.Request) -> web.Response:
        """Return style or script."""
        return static_reply(request.match_info["name"]) or _nothing("file")

    async def _render_live(self, name: str, request: web.Request) -> str:
        base = base_of(request.scheme, request.headers.get("Host", ""), self._clients_port)
        visit = Visit(
            base=base,
            query=request.query,
            address=usable_address(_socket_name(request)),
            is_admin=self._permission.is_admin(asker_of(request)),
        )
        values = await self._pages[name].look(visit)
        template = f"live/{name or 'overview'}.html"
        return await self._cache.storage.threads.slow(render, template, values)


def _socket_name(request: web.Request) -> object:
    return None if request.transport is None else request.transport.get_extra_info("sockname")


def _nothing(kind: str) -> web.Response:
    return web.Response(status=HTTPStatus.NOT_FOUND, text=f"there is no such {kind}\n")
