"""A caching HTTP proxy on loopback, such as a site has: honest by RFC 9111, and as forgetful as a test says.

It keeps every 200 that has a validator, and believes it for `fresh_for_s`, as heuristics allow
(section 4.2.2). It obeys `max-age`, `no-cache` and `Pragma` of requests, validates with the origin
what it may not believe, and answers conditions from what it keeps.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

_HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "te", "upgrade", "host"}


@dataclass
class _Stored:
    headers: CIMultiDict[str]
    body: bytes
    checked_at: float


class CachingProxy:
    """The server; use with `run_caching_proxy`."""

    def __init__(self, clock: Callable[[], float], fresh_for_s: float) -> None:
        self.url = ""
        self.hits = 0
        """Replies that no origin was asked for."""
        self._clock = clock
        self._fresh_for_s = fresh_for_s
        self._stored: dict[str, _Stored] = {}
        self._session: aiohttp.ClientSession | None = None

    def spoil(self, path: str, body: bytes) -> None:
        """Replace the kept body of a path by another, as a disk that fails might."""
        for url, stored in self._stored.items():
            if url.endswith(path):
                stored.body = body
                return
        raise KeyError(path)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request in absolute form."""
        url = request.path_qs if "://" in request.path_qs else str(request.url)
        stored = self._stored.get(url)
        if stored is not None and "Range" not in request.headers and self._may_answer(request, stored):
            self.hits += 1
            return self._from_store(request, stored)
        return await self._forward(request, url, stored)

    def _may_answer(self, request: web.BaseRequest, stored: _Stored) -> bool:
        asked = request.headers.get("Cache-Control", "").replace(" ", "").split(",")
        if "no-cache" in asked or ("Cache-Control" not in request.headers and "Pragma" in request.headers):
            return False
        limits = [float(word.removeprefix("max-age=")) for word in asked if word.startswith("max-age=")]
        return self._clock() - stored.checked_at < min([self._fresh_for_s, *limits])

    async def _forward(
        self, request: web.BaseRequest, url: str, stored: _Stored | None
    ) -> web.StreamResponse:
        headers = CIMultiDict(
            (name, value) for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP
        )
        is_reload = "no-cache" in headers.get("Cache-Control", "")
        is_validation = stored is not None and not is_reload and "Range" not in headers
        if stored is not None and is_validation:
            for name in ("If-None-Match", "If-Modified-Since"):
                headers.pop(name, None)
            headers["If-None-Match"] = stored.headers.get("ETag", "")
        assert self._session is not None
        async with self._session.get(url, headers=headers, allow_redirects=False) as response:
            body = await response.read()
            if stored is not None and is_validation and response.status == 304:
                stored.checked_at = self._clock()
                return self._from_store(request, stored)
            kept = CIMultiDict(
                (name, value)
                for name, value in response.headers.items()
                if name.lower() not in {*_HOP_BY_HOP, "content-length"}
            )
            if response.status == 200 and "ETag" in kept:
                self._stored[url] = _Stored(kept, body, self._clock())
            return web.Response(status=response.status, headers=kept, body=body)

    def _from_store(self, request: web.BaseRequest, stored: _Stored) -> web.StreamResponse:
        headers = CIMultiDict(stored.headers)
        headers["Age"] = str(int(self._clock() - stored.checked_at))
        if request.headers.get("If-None-Match") == stored.headers.get("ETag"):
            return web.Response(status=304, headers=headers)
        return web.Response(headers=headers, body=stored.body)

    async def start(self) -> web.ServerRunner:
        """Listen."""
        self._session = aiohttp.ClientSession(auto_decompress=False)
        runner = web.ServerRunner(web.Server(self.handle))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    async def stop(self, runner: web.ServerRunner) -> None:
        """Stop listening."""
        assert self._session is not None
        await self._session.close()
        await runner.cleanup()


@asynccontextmanager
async def run_caching_proxy(
    clock: Callable[[], float], *, fresh_for_s: float = 3 * 24 * 3600
) -> AsyncIterator[CachingProxy]:
    """Run a proxy that believes what it keeps for that long, by the test's clock."""
    proxy = CachingProxy(clock, fresh_for_s)
    runner = await proxy.start()
    try:
        yield proxy
    finally:
        await asyncio.shield(proxy.stop(runner))
