"""How much one reply may bring now, by all limits that hold for its origin."""

import math
from collections.abc import Sequence

from proxy.sources.limits.flow import Flow
from proxy.sources.limits.limit import Limit


class Limits:
    """The limits that hold for one mirror: its own, and the one on all that comes from upstream."""

    def __init__(self, limits: Sequence[Limit] = ()) -> None:
        self._limits = tuple(limits)
        self.chunk_bytes = min((one.rules.chunk_bytes for one in limits), default=None)
        """How much is granted at a time; None without a limit."""
        self.rate_bytes_s = min((one.rules.rate_bytes_s for one in limits), default=math.inf)
        """The lowest of them."""

    def __bool__(self) -> bool:
        return bool(self._limits)

    async def take(self, most_bytes: int, flow: Flow) -> int:
        """Return how many bytes a flow may receive, once it may; `most_bytes` at once without a limit."""
        granted = most_bytes
        taken: list[tuple[Limit, int]] = []
        try:
            for limit in self._limits:
                count = limit.take_now(granted, flow)
                if not count:
                    with flow.waiting():
                        count = await limit.take(granted, flow)
                for earlier, more in taken:
                    earlier.give_back(more - count)
                taken = [(one, count) for one, _ in taken]
                taken.append((limit, count))
                granted = count
        except BaseException:
            for earlier, count in taken:
                earlier.give_back(count)
            raise
        return granted

    def give_back(self, count: int) -> None:
        """Take back what was granted and not received."""
        for limit in self._limits:
            limit.give_back(count)


UNLIMITED = Limits()
