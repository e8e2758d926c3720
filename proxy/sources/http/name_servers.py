"""Asking the name servers that the configuration names, in place of this machine's own. Blocks.

Neither /etc/resolv.conf nor /etc/hosts counts then: what they give for an origin's name may be meant for
clients, and would lead the proxy to itself. Names are asked for as they stand, in no search domain. What
means this machine, or is an address however it is spelt, no name server is asked for.
"""

import socket
import time
from collections.abc import Callable, Iterator, Sequence

from dns.exception import DNSException, Timeout
from dns.name import Name, from_text, root
from dns.nameserver import Do53Nameserver
from dns.resolver import NXDOMAIN, LifetimeTimeout, NoNameservers, Resolver

from proxy.sources.http.names import Found, NameNotResolved, of_addresses, plain_name

_ROUNDS = 2
"""How often each name server is asked, before the time is up, if none answers: packets get lost."""
_LONGEST_CHAIN = 8
_KINDS = {
    socket.AF_INET: ("A",),
    socket.AF_INET6: ("AAAA",),
    socket.AF_UNSPEC: ("A", "AAAA"),
}
_WHERE = "[upstream] resolver"
_CODES = {
    "SERVFAIL": "fails (SERVFAIL): it could not look that name up itself, look at its log",
    "REFUSED": "refuses to answer this machine (REFUSED): allow it there to ask for names of other sites",
}

_Error = tuple[str | None, bool, int, Exception | str, object]
"""What one name server did: which one, by TCP or not, its port, what went wrong, and its answer."""


class NameServers:
    """Looks names up as socket.getaddrinfo does, but at the name servers given."""

    def __init__(
        self,
        addresses: Sequence[tuple[str, int]],
        lifetime_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        servers = [Do53Nameserver(host, port) for host, port in addresses]
        self._resolver = Resolver(configure=False)
        self._resolver.nameservers = servers
        self._resolver.timeout = lifetime_s / (_ROUNDS * len(servers))
        self._lifetime_s = lifetime_s
        self._clock = clock
        self._shown = {str(one): f"name server {one.address} port {one.port}" for one in servers}

    def __call__(self, host: str, port: None, *, family: int, type: int, flags: int) -> Found:  # noqa: A002 - so getaddrinfo names it
        """Return the addresses of a host. Raises NameNotResolved, or ValueError for what is no name."""
        if _is_local(plain_name(host)):
            return socket.getaddrinfo(host, port, family=family, type=type, flags=flags)
        name = _name(host)
        try:
            addresses = self._addresses(name, family)
        except NXDOMAIN as error:
            problem = f"there is no such name, says {self._who}; check its spelling, and {_WHERE}"
            raise NameNotResolved(host, problem) from error
        except (LifetimeTimeout, NoNameservers) as error:
            said = ", ".join(self._told(error.kwargs["errors"])) or f"{self._who} does not answer"
            raise NameNotResolved(host, f"{said}; check the network, and {_WHERE}") from error
        except DNSException as error:
            problem = f"{self._who} {_words(error)}; check {_WHERE}"
            raise NameNotResolved(host, problem) from error
        if not addresses:
            problem = f"there is no address of that name, says {self._who}; check its spelling, and {_WHERE}"
            raise NameNotResolved(host, problem)
        return of_addresses(addresses)

    @property
    def _who(self) -> str:
        return next(iter(self._shown.values())) if len(self._shown) == 1 else f"a name server of {_WHERE}"

    def _addresses(self, name: Name, family: int) -> list[str]:
        """Return what there is in the time; addresses of one kind do without those of the other."""
        deadline = self._clock() + self._lifetime_s
        found: list[str] = []
        for kind in _KINDS[socket.AddressFamily(family)]:
            try:
                found += self._of_kind(name, kind, deadline)
            except DNSException:
                if not found:
                    raise
        return found

    def _of_kind(self, name: Name, kind: str, deadline: float) -> list[str]:
        """Return the addresses at the end of a chain of aliases, which may end outside of an answer."""
        for _ in range(_LONGEST_CHAIN):
            answer = self._resolver.resolve(
                name, kind, raise_on_no_answer=False, lifetime=deadline - self._clock()
            )
            if answer.rrset is not None:
                return [record.to_text() for record in answer.rrset]
            if answer.canonical_name == name:
                break
            name = answer.canonical_name
        return []

    def _told(self, errors: Sequence[_Error]) -> Iterator[str]:
        """Yield what each name server did last."""
        for server, problem in {str(error[0]): error[3] for error in errors}.items():
            yield f"{self._shown.get(server, server)} {_words(problem)}"


def _is_local(host: str) -> bool:
    """Whether a host is this machine, or an address, as the C library reads it: 127.1 is one."""
    return (
        host == "localhost"
        or host.endswith(".localhost")
        or ":" in host
        or (host != "" and host.replace(".", "").isdigit())
    )


def _name(host: str) -> Name:
    try:
        name = from_text(host)
    except DNSException as error:
        raise ValueError(host) from error
    if name == root:
        raise ValueError(host)
    return name


def _words(problem: Exception | str) -> str:
    if isinstance(problem, Timeout):
        return "does not answer"
    if isinstance(problem, OSError):
        return f"cannot be asked: {problem.strerror or problem}"
    if isinstance(problem, Exception):
        return f"sends what is no answer ({type(problem).__name__})"
    return _CODES.get(problem, f"answers {problem}, and no address")
