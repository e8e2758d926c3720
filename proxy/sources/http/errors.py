"""What can go wrong with an origin that is asked over HTTP, besides what can with any origin."""

from proxy.sources.errors import Cause, OriginError, OriginLoops, OriginUnreachable


class OriginHungUp(OriginUnreachable):
    """A connection that was made, and on which no answer came, or not all of it."""


class ParentProxyRefused(OriginUnreachable):
    """The site's own proxy does not let us through to an origin, or cannot reach it."""

    cause: Cause = "site_proxy"


class OriginStatus(OriginError):
    """An HTTP status that is neither the document nor its absence."""

    def __init__(self, origin: str, status: int, problem: str) -> None:
        super().__init__(origin, problem)
        self.status = status


class OriginLooped(OriginStatus, OriginLoops):
    """The status 508."""

    cause: Cause = "loop"
