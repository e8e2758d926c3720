"""Requests that come back: how a proxy knows its own, and those of proxies that it asks itself. Pure.

Where a name server gives a proxy's address for an origin's name, the proxy may ask itself; proxies
that are each other's origins may ask in a circle. So each request that goes out names the proxies that
it came through (CDN-Loop, RFC 8586), and each reply to such a request names those that are behind it (Via).
A request that has come through one of those is answered from what is held, or not at all: to fetch
for it would be to wait for it.
"""

import re
from collections.abc import Iterable, Iterator
from contextvars import ContextVar

from proxy.errors import ProxyError

REQUEST_FIELD = "CDN-Loop"
REPLY_FIELD = "Via"
_NAME = "sstream-proxy-"
_TOKEN = re.compile(rf"\b{_NAME}([0-9a-f]{{16}})\b")
_LONGEST_FIELD = 4096
_LONGEST_CHAIN = 10
_MOST_BEHIND = 10

CHAIN: ContextVar[tuple[str, ...]] = ContextVar("chain", default=())
"""The proxies that the request which is answered here came through; tasks inherit it from who begins them."""


class LoopDetected(ProxyError):
    """A request that fetching for would make go round."""

    def __init__(self, mirror: str, why: str) -> None:
        super().__init__(
            f"{why}: an origin of the mirror {mirror} leads back to where it is asked from. If a name server "
            "gives a proxy's address for an origin's name, write the origin's own address into "
            "[upstream] resolve there, or another name server into [upstream] resolver"
        )


def chain_of(fields: Iterable[str]) -> tuple[str, ...]:
    """Return the proxies that a request came through, the latest last; `fields` are its CDN-Loop."""
    return tuple(_TOKEN.findall(", ".join(fields)[:_LONGEST_FIELD]))


class Behind:
    """The proxies behind one mirror's origins, as far as these have told."""

    def __init__(self) -> None:
        self._tokens: dict[str, None] = {}

    def learn(self, via: str | None) -> None:
        """Take in what a reply says."""
        if via is not None and _NAME in via:
            for token in _TOKEN.findall(via[:_LONGEST_FIELD]):
                self._tokens.setdefault(token)
            while len(self._tokens) > _MOST_BEHIND:
                del self._tokens[next(iter(self._tokens))]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tokens)

    def __contains__(self, token: str) -> bool:
        return token in self._tokens


class Loops:
    """What one proxy, on one data directory, knows of itself and of those behind it."""

    def __init__(self, own: str) -> None:
        self._own = own
        self._behind: dict[str, Behind] = {}

    @property
    def request_field(self) -> str:
        """What a request says that is made now: the proxies it came through, and this one."""
        return ", ".join(f"{_NAME}{token}" for token in (*CHAIN.get()[-_LONGEST_CHAIN:], self._own))

    def behind(self, mirror: str) -> Behind:
        """Return who is behind a mirror's origins, to be told of more."""
        return self._behind.setdefault(mirror, Behind())

    def reply_field(self, mirror: str) -> str:
        """Return what a reply to a proxy's request says."""
        return ", ".join(f"1.1 {_NAME}{token}" for token in (self._own, *self.behind(mirror)))

    def check(self, chain: tuple[str, ...], mirror: str) -> None:
        """Raise LoopDetected for a request of our own, or one that has been through too many."""
        if self._own in chain:
            raise LoopDetected(mirror, "this request is this proxy's own")
        if len(chain) > _LONGEST_CHAIN:
            raise LoopDetected(mirror, f"this request came through more than {_LONGEST_CHAIN} proxies")

    def is_circle(self, chain: tuple[str, ...], mirror: str) -> bool:
        """Whether a request came through a proxy that this mirror's own origins ask, or are."""
        behind = self.behind(mirror)
        return any(token in behind for token in chain)
