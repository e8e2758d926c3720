"""The dashboard at `/-/`: rendered here, without anything from elsewhere.

/-/                 the page
/-/live             its changing part, which the page fetches every few seconds
/-/plots/NAME.svg   a plot of the last day
/-/static/FILE      style and script
"""

import time
from collections.abc import Callable
from http import HTTPStatus
from importlib.resources import files

import jinja2
from aiohttp import web

from proxy.readable import duration, share, size
from proxy.reporting.plots import HEIGHT, PLOTS, THEMES, WIDTH, draw
from proxy.reporting.products import ProductTable
from proxy.reporting.snapshot import Observer
from proxy.service.cache import Cache
from proxy.web import SERVER_NAME
from proxy.web.admin.permission import CHANGE_HEADER

_PAGE_POLICY = (
    "default-src 'none'; img-src 'self' blob:; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PICTURE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
_STATIC = {"dashboard.css": "text/css", "dashboard.js": "text/javascript", "icon.svg": "image/svg+xml"}


def _moment(when: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(when))


def _capitalize_first(text: str) -> str:
    return text[:1].upper() + text[1:]


# Read once, when the program starts: no request waits for the disk.
_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("proxy.web.admin"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters |= {
    "size": size,
    "duration": duration,
    "share": share,
    "moment": _moment,
    "capitalize_first": _capitalize_first,
}
_TEMPLATES.globals |= {
    "plots": PLOTS,
    "plot_width": WIDTH,
    "plot_height": HEIGHT,
    "change_header": CHANGE_HEADER,
}
_PAGE = _TEMPLATES.get_template("page.html")
_LIVE = _TEMPLATES.get_template("live.html")
_FILES = {name: files("proxy.web.admin").joinpath("static").joinpath(name).read_bytes() for name in _STATIC}


class Dashboard:
    """Answers for the pages that a person looks at."""

    def __init__(self, cache: Cache, observer: Observer, *, may_read: Callable[[web.Request], bool]) -> None:
        self._may_read = may_read
        self._cache = cache
        self._observer = observer
        self._products = ProductTable(cache)

    async def get_page(self, request: web.Request) -> web.Response:
        """Return the whole page; to those who may not read it only what lets them send a token."""
        live = await self._render_live() if self._may_read(request) else ""
        return _page(_PAGE.render(live=live))

    async def get_live(self, _: web.Request) -> web.Response:
        """Return the changing part."""
        return _page(await self._render_live())

    async def get_plot(self, request: web.Request) -> web.Response:
        """Return a plot."""
        name, theme = request.match_info["name"], request.query.get("theme", THEMES[0])
        if name not in PLOTS or theme not in THEMES:
            return web.Response(status=HTTPStatus.NOT_FOUND, text="there is no such plot\n")
        snapshot = await self._observer.snapshot()
        threads = self._cache.storage.threads
        picture = await threads.slow(draw, name, theme, snapshot.totals, snapshot.taken_at)
        return _answer(picture, "image/svg+xml", _PICTURE_POLICY)

    async def get_static(self, request: web.Request) -> web.Response:
        """Return style or script."""
        name = request.match_info["name"]
        if name not in _STATIC:
            return web.Response(status=HTTPStatus.NOT_FOUND, text="there is no such file\n")
        return _answer(_FILES[name], _STATIC[name], _PAGE_POLICY)

    async def _render_live(self) -> str:
        snapshot = await self._observer.snapshot()
        products = await self._products.rows()
        render: Callable[..., str] = _LIVE.render
        return await self._cache.storage.threads.slow(
            lambda: render(stats=snapshot.stats, now=snapshot.taken_at, products=products)
        )


def _page(text: str) -> web.Response:
    """Answer with a page. Names of files that are no UTF-8 have half characters, which it spells out."""
    return _answer(text.encode(errors="backslashreplace"), "text/html", _PAGE_POLICY)


def _answer(body: bytes, content_type: str, policy: str) -> web.Response:
    headers = {
        "Server": SERVER_NAME,
        "Content-Security-Policy": policy,
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    charset = None if content_type == "image/svg+xml" else "utf-8"
    return web.Response(body=body, content_type=content_type, charset=charset, headers=headers)
