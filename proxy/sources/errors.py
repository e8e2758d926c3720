"""What an origin can do wrong: the only errors that leave `Origin` and `Reply`."""

import re

from proxy.errors import ProxyError
from proxy.sources.reasons import refusal_told

_LONGEST_PROBLEM = 600
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class OriginError(ProxyError):
    """An origin that did not give what it was asked for."""

    def __init__(self, origin: str, problem: str) -> None:
        # It may quote what the origin sent, and goes into logs, JSON and the ledger.
        problem = _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], problem[:_LONGEST_PROBLEM])
        super().__init__(f"{origin}: {problem}")
        self.origin = origin
        self.problem = problem


class OriginUnreachable(OriginError):
    """No connection, no answer, or one that broke off."""


class OriginHungUp(OriginUnreachable):
    """A connection that was made, and on which no answer came, or not all of it."""


class ParentProxyRefused(OriginUnreachable):
    """The site's own proxy does not let us through to an origin, or cannot reach it."""


class OriginAbsent(OriginError):
    """The origin says that it has no such path (404 or 410)."""


class OriginMisbehaved(OriginError):
    """An answer that makes no sense for the question."""


class OriginOverdid(OriginMisbehaved):
    """A document over the limit, however it is asked for."""


class OriginGarbled(OriginMisbehaved):
    """An answer whose head is no HTTP."""


class OriginStatus(OriginError):
    """A status that is neither the document nor its absence."""

    def __init__(self, origin: str, status: int, problem: str = "") -> None:
        super().__init__(origin, problem or refusal_told(status))
        self.status = status


class OriginForbidden(OriginStatus):
    """A 403, whatever the spelling of the path.

    Object stores say so for what they do not have, to whom may not list the bucket. But so do
    login walls, block pages and rate limits.
    """
