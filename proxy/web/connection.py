"""One client connection: aiohttp's protocol with our filter before its parser."""

import asyncio
from typing import Any

from aiohttp.web_protocol import RequestHandler
from aiohttp.web_server import Server

from proxy.web.stray_chunk import StrayChunkFilter


class Connection(RequestHandler):
    """aiohttp's request handler, which never sees stray chunk markers."""

    __slots__ = ("_stray_chunks",)

    def __init__(self, manager: Server, *, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        super().__init__(manager, loop=loop, **options)
        self._stray_chunks = StrayChunkFilter()

    def data_received(self, data: bytes) -> None:
        """Hand received bytes to the parser. aiohttp itself calls this with none to parse again."""
        super().data_received(self._stray_chunks.feed(data) if data else data)
