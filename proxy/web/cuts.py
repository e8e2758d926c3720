"""Replies that are cut: how, before there is a status line, and why, where the proxy itself is the reason."""

from typing import NoReturn

from aiohttp import web

from proxy.errors import ProxyError


class ProxyEnded(ProxyError):
    """A reply that was under way when the proxy, or a worker of it, had to be gone."""

    def __init__(self) -> None:
        super().__init__(
            "the proxy ended before this reply did; [clients] drain_timeout is how long it waits for those"
        )


class ConnectionCut(web.StreamResponse):
    """No reply: the connection ends before a status line. An error from a handler would be sent as 500."""

    def __init__(self) -> None:
        super().__init__(status=0)

    async def prepare(self, request: web.BaseRequest) -> NoReturn:  # noqa: ARG002
        """Cut it."""
        raise ConnectionResetError("cut on purpose")
