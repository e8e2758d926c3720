"""The HTTP origins of one process, for which nothing is loaded or opened before one of them is asked.

The library of HTTP takes a third of the time in which a command starts, and many commands ask nobody:
`export` reads what is in the cache, `import` what was carried here.
"""

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from proxy.sources.addresses import authority_of, shown_url
from proxy.sources.document import CONFIRMED, Fetched, FetchOptions, Validators
from proxy.sources.limits.limits import Limits
from proxy.sources.loops import Behind, Loops
from proxy.sources.meter import Meter
from proxy.sources.options import UpstreamOptions
from proxy.sources.origin import Origin, OriginItem

if TYPE_CHECKING:
    from proxy.sources.http.sessions import Sessions


class Redirects(NamedTuple):
    """Where the origins of a mirror may send us."""

    servers: Sequence[str]
    """The configured origins themselves."""
    hosts: Sequence[str]
    """Those that the configuration names besides."""
    tls_only: bool


class HttpOrigins:
    """Makes HTTP origins, which share their connections."""

    def __init__(self, options: UpstreamOptions, loops: Loops) -> None:
        self._options = options
        self._loops = loops
        self._sessions: Sessions | None = None

    def origin(
        self, url: str, redirects: Redirects, meter: Meter, limits: Limits, behind: Behind | None
    ) -> Origin:
        """Return the origin at a URL."""
        return _LateOrigin(url, partial(self._open, url, redirects, meter, limits, behind))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sessions is not None:
            await self._sessions.close()

    def _open(
        self, url: str, redirects: Redirects, meter: Meter, limits: Limits, behind: Behind | None
    ) -> Origin:
        from proxy.sources.http.origin import HttpOrigin  # noqa: PLC0415 - late, as the module says
        from proxy.sources.http.redirects import RedirectGuard  # noqa: PLC0415
        from proxy.sources.http.sessions import Sessions  # noqa: PLC0415

        if self._sessions is None:
            self._sessions = Sessions(self._options, self._loops)
        guard = RedirectGuard(redirects.servers, redirects.hosts, tls_only=redirects.tls_only)
        return HttpOrigin(url, self._sessions, guard, meter, limits, behind)


class _LateOrigin:
    """An HTTP origin that is opened when it is asked."""

    def __init__(self, url: str, open_origin: Callable[[], Origin]) -> None:
        self.name = shown_url(url)
        self.host = authority_of(url)
        self._open = open_origin

    @cached_property
    def _opened(self) -> Origin:
        return self._open()

    async def fetch(
        self, path: str, validators: Validators, options: FetchOptions = CONFIRMED
    ) -> Fetched | None:
        """Do what `Origin.fetch` does."""
        return await self._opened.fetch(path, validators, options)

    def item(self, path: str, size_bytes: int) -> OriginItem:
        """Do what `Origin.item` does."""
        return self._opened.item(path, size_bytes)


def load_http() -> None:
    """Load now what is loaded late otherwise."""
    import_module("proxy.sources.http.origin")
