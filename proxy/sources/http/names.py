"""Looking names up, in threads that do nothing else.

The C library's getaddrinfo blocks, for half a minute where name servers are
silent. If its threads were shared with disk work, a hung disk would stop name
look-ups, or the other way round; if a few were shared by all names, one dead name
would stop the others. So each name that is being looked up has one thread, however
many ask for it, and the number of threads is limited. A caller that has waited long
enough goes on without the name. Of names that are pinned the configuration has the addresses; all others may
be looked up at name servers that it names (name_servers.py), in such threads too.
"""

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from proxy.sources.awake_timeout import AwakeTimeout

_MOST_LOOKUPS = 16
"""Names that are being looked up at a time. What is known is remembered by the connector."""
_IPV4 = 4
_NOTHING: Mapping[str, Sequence[str]] = MappingProxyType({})
_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV

_HINT = "check its spelling, and the name servers of this machine (/etc/resolv.conf)"
_PROBLEMS = {
    socket.EAI_NONAME: f"there is no such name; {_HINT}",
    socket.EAI_NODATA: f"there is no address of that name; {_HINT}",
    socket.EAI_AGAIN: "no name server answers; check the network, and /etc/resolv.conf",
    socket.EAI_FAIL: "the name server fails; check the network, and /etc/resolv.conf",
}

Found = Sequence[tuple[int, int, int, str, tuple[Any, ...]]]
"""What socket.getaddrinfo returns."""


class NameNotResolved(OSError):
    """A name without an address, for now or for good."""

    def __init__(self, host: str, problem: str) -> None:
        super().__init__(f"the name {host!r:.80} does not resolve: {problem}")


class Names(AbstractResolver):
    """Resolves the names of one process's upstream hosts."""

    def __init__(
        self,
        timeout_s: float = 5.0,
        getaddrinfo: Callable[..., Found] = socket.getaddrinfo,
        pinned: Mapping[str, Sequence[str]] = _NOTHING,
        servers_from: str = "/etc/resolv.conf",
    ) -> None:
        self._timeout_s = timeout_s
        self._getaddrinfo = getaddrinfo
        self._servers_from = servers_from
        self._pinned = {plain_name(host): of_addresses(texts) for host, texts in pinned.items()}
        self._own: dict[str, str] = {}
        """Names that lead to this machine, and to which address of it."""
        self._lookups: dict[tuple[str, int], asyncio.Future[Found]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host. Raises NameNotResolved."""
        pinned = self._pinned.get(plain_name(host))
        if pinned is not None:
            return [_result(host, port, one[0], one[2], one[4]) for one in pinned]
        lookup = self._lookups.get((host, family)) or self._begin(host, family)
        try:
            async with AwakeTimeout(self._timeout_s):
                found = await asyncio.shield(lookup)
        except TimeoutError:
            problem = f"no name server has answered for {self._timeout_s:g} s; check {self._servers_from}"
            raise NameNotResolved(host, problem) from None
        except socket.gaierror as error:
            raise NameNotResolved(host, _PROBLEMS.get(error.errno or 0, str(error.strerror))) from error
        except ValueError as error:
            raise NameNotResolved(host, "no host can have such a name") from error
        return [_result(host, port, one[0], one[2], one[4]) for one in found]

    def own_address(self, host: str) -> str | None:
        """Return the address of this machine that a name has led to when it was looked up last, if any."""
        return self._own.get(plain_name(host))

    async def close(self) -> None:
        """Wait for nobody: threads that still look something up tell nobody."""
        for lookup in self._lookups.values():
            lookup.cancel()

    def _begin(self, host: str, family: int) -> asyncio.Future[Found]:
        if len(self._lookups) >= _MOST_LOOKUPS:
            raise NameNotResolved(host, f"{_MOST_LOOKUPS} other names are being looked up, in vain so far")
        loop = asyncio.get_running_loop()
        lookup: asyncio.Future[Found] = loop.create_future()
        self._lookups[host, family] = lookup

        def end(_: asyncio.Future[Found]) -> None:
            del self._lookups[host, family]
            if not lookup.cancelled():
                lookup.exception()  # Or asyncio would log one that nobody waits for any more.

        lookup.add_done_callback(end)

        def look_up() -> None:
            try:
                found = self._getaddrinfo(
                    host, None, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
                )
                self._note_own(plain_name(host), found)
            except Exception as error:  # noqa: BLE001 - is for whoever asks
                tell(lookup.set_exception, error)
            else:
                tell(lookup.set_result, found)

        def tell(settle: Callable[[Any], None], what: object) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(lambda: None if lookup.done() else settle(what))

        # No pool: at the end of the process it would wait for the name server.
        threading.Thread(target=look_up, name=f"name {host:.40}", daemon=True).start()
        return lookup

    def _note_own(self, host: str, found: Found) -> None:
        own = next((one[4][0] for one in found if _is_own(one[0], one[4])), None)
        if own is None:
            self._own.pop(host, None)
        else:
            self._own[host] = own


def plain_name(host: str) -> str:
    """Return a name as all who mean it write it."""
    return host.lower().removesuffix(".")


def _is_own(family: int, address: tuple[Any, ...]) -> bool:
    """Whether an address is this machine's: to no other can a socket be bound."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as one:
            one.bind((address[0], 0, *address[2:]))
    except (OSError, OverflowError):
        return False
    return True


def of_addresses(texts: Sequence[str]) -> Found:
    """Return addresses as socket.getaddrinfo does."""
    addresses = map(ipaddress.ip_address, texts)
    return [
        (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (str(one), 0))
        if one.version == _IPV4
        else (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (str(one), 0, 0, 0))
        for one in addresses
    ]


def _result(host: str, port: int, family: int, proto: int, address: tuple[Any, ...]) -> ResolveResult:
    found, scope = address[0], address[3] if family == socket.AF_INET6 else 0
    if scope and "%" not in found:
        found = f"{found}%{scope}"
    return ResolveResult(hostname=host, host=found, port=port, family=family, proto=proto, flags=_NUMERIC)
