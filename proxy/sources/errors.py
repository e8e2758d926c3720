"""What can go wrong with an origin, and with an item at all of its origins.

An origin raises an OriginError and nothing else, whatever kind it is.
"""

import re
from typing import Literal, Self

from proxy.errors import ProxyError

Cause = Literal["network", "tls", "site_proxy", "machine", "rights", "folder", "answer", "nonsense", "loop"]
"""What is at fault: the way to an origin, its TLS, the site's own proxy, this machine, its rights to a
folder, the folder's disk, what an origin answers, that this makes no sense, or a name that leads back."""

_LONGEST_PROBLEM = 600
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class OriginError(ProxyError):
    """An origin that did not give what it was asked for."""

    is_about_question = False
    """Whether it is due to how the origin was asked, which is asked in another way the next time."""
    cause: Cause = "answer"
    """Who has to mend it."""
    pause_s: float | None = None
    """For how long the origin wants to be asked less, if it says so."""

    def __init__(self, origin: str, problem: str) -> None:
        # It may quote what the origin sent, and goes into logs, JSON and the ledger.
        problem = _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], problem[:_LONGEST_PROBLEM])
        super().__init__(f"{origin}: {problem}")
        self.origin = origin
        self.problem = problem

    def due_to(self, cause: Cause) -> Self:
        """Return this with another cause than is usual for its kind."""
        self.cause = cause
        return self


class OriginUnreachable(OriginError):
    """No connection, no answer, or one that broke off."""

    cause: Cause = "network"


class OriginAbsent(OriginError):
    """The origin has nothing at that path."""


class OriginMisbehaved(OriginError):
    """An answer that makes no sense for the question."""

    cause: Cause = "nonsense"


class OriginLoops(OriginError):
    """An origin that says that it is where it is asked from, or is asked from there in turn."""

    cause: Cause = "loop"


class OriginOverdid(OriginMisbehaved):
    """A document over the limit, however it is asked for."""


class OriginGarbled(OriginMisbehaved):
    """An answer that is not in the protocol that the origin is asked in."""


class PartsRefused(OriginMisbehaved):
    """An origin that cannot be asked for a part of an item: it sends something else instead."""


class OriginForbidden(OriginError):
    """An origin that does not let us have what is at a path, if anything is.

    Over HTTP it is a 403, whatever the spelling of the path. Object stores answer so for what
    they do not have, to clients that may not list the bucket; so do login walls, block pages
    and rate limits. `remark` says what else it may mean.
    """

    def __init__(self, origin: str, problem: str, remark: str = "") -> None:
        super().__init__(origin, problem)
        self.remark = remark


class WrongCopy(OriginError):
    """An origin whose copy of an item is not what the signed list says."""

    place: str = ""
    """The URL that the origin had redirected to, if any."""


class WrongLength(WrongCopy):
    """An origin whose copy is longer or shorter than the signed list says.

    `remarks` are what else is conspicuous about it.
    """

    def __init__(
        self,
        origin: str,
        expected_bytes: int,
        actual_bytes: int | None,
        *,
        place: str = "",
        remarks: str = "",
    ) -> None:
        actual = "another number of" if actual_bytes is None else actual_bytes
        problem = f"its copy has {actual} bytes, the list says {expected_bytes}"
        super().__init__(origin, problem + remarks + redirected(place))
        self.place = place


class PageSent(WrongLength):
    """A page for people in place of an item: a login page, an error told as if it were none, or a refusal.

    An origin that allows so many connections may answer each further one so.
    """


class ItemAbsent(ProxyError):
    """An item that no origin has."""

    def __init__(self, path: str) -> None:
        super().__init__(f"no origin has {path}")
        self.path = path


class ItemUnobtainable(ProxyError):
    """An item whose origins failed for so long that asking on makes no sense."""

    def __init__(self, path: str, last: OriginError | None) -> None:
        super().__init__(f"{path} cannot be had now; last: {last}")
        self.path = path
        self.last = last


class ItemForbidden(ItemUnobtainable):
    """An item that every origin that may have it refuses to give."""

    def __init__(self, path: str, last: OriginError, remark: str = "") -> None:
        super().__init__(path, last)
        self.args = (f"no origin gives {path}: {last}" + (f". {remark}" if remark else ""),)


def redirected(place: str) -> str:
    """Return words for where an origin has sent us, if anywhere."""
    return f", having redirected to {place}" if place else ""
