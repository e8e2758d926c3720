"""The proxy's side of an origin, alone: without a cache around it."""

from proxy.sources.http.origin import HttpOrigin as Upstream
from proxy.sources.http.redirects import RedirectGuard
from proxy.sources.http.sessions import Sessions
from support.origin import Origin


class Meter:
    """Adds up what is noted."""

    def __init__(self) -> None:
        self.received_bytes = 0
        self.failures = 0
        self.exceeded_times = 0
        self.answered_s: list[float] = []

    def answered(self, seconds: float, *, is_good: bool) -> None:  # noqa: ARG002
        """Note how long it took."""
        self.answered_s.append(seconds)

    def failed(self) -> None:
        """Count it."""
        self.failures += 1

    def received(self, count: int) -> None:
        """Count them."""
        self.received_bytes += count

    def exceeded(self) -> None:
        """Count it."""
        self.exceeded_times += 1


def asked_with(sessions: Sessions, origin: Origin, meter: Meter) -> Upstream:
    """Return the proxy's side of an origin."""
    return Upstream(origin.url, sessions, RedirectGuard([origin.url], (), tls_only=False), meter)
