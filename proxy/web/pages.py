"""What the proxy says of itself: `/` for people, `/-/stats` and `/-/health` for programs."""

import re

from aiohttp import web

from proxy import __version__
from proxy.cache.mirror import Mirror
from proxy.cache.service import Cache
from proxy.web.blob_response import SERVER_NAME

_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]+")


class Pages:
    """The pages that are no mirror's."""

    def __init__(self, cache: Cache, mirrors: tuple[Mirror, ...]) -> None:
        self._cache = cache
        self._mirrors = mirrors

    async def get_welcome(self, request: web.Request) -> web.Response:
        """List the mirrors, as URLs to give to a client."""
        host = request.headers.get("Host", "")
        base = f"{request.scheme}://{host if _HOST.fullmatch(host) else 'THIS-HOST'}"
        lines = [f"sstream-proxy {__version__}: a verified cache of simplestreams mirrors.", ""]
        lines += [f"  {mirror.name:20} {base}{mirror.mount}" for mirror in self._mirrors]
        return web.Response(text="\n".join(lines) + "\n", headers={"Server": SERVER_NAME})

    async def get_stats(self, _: web.Request) -> web.Response:
        """Return the state of every mirror."""
        stats = {"version": __version__, "mirrors": await self._cache.status()}
        return web.json_response(stats, headers={"Server": SERVER_NAME})

    async def get_health(self, _: web.Request) -> web.Response:
        """Say that this worker answers."""
        return web.Response(text="ok\n", headers={"Server": SERVER_NAME})
