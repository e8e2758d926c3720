"""The limits of one process, opened by what is configured."""

from collections.abc import Callable
from pathlib import Path

from proxy.sources.limits.flow import Flow
from proxy.sources.limits.limit import Limit
from proxy.sources.limits.limits import Limits
from proxy.sources.limits.priority import Priority
from proxy.sources.limits.shared import SharedLimit


class BackgroundBandwidth:
    """What all that nobody waits for may take together."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._flow = Flow(lambda: Priority.BACKGROUND)

    async def take(self, count: int) -> None:
        """Take bytes that have passed; wait until that many may."""
        while count > 0:
            count -= self._limit.take_now(count, self._flow) or await self._limit.take(count, self._flow)


class OpenLimits:
    """Opens limits, and closes them all in the end.

    Their files are in `folder`. `processes` is how many processes there are, as far as this one knows:
    if it cannot use a file, it keeps to its share. `clock` gives the monotonic seconds that all share.
    """

    def __init__(self, folder: Path, processes: int, clock: Callable[[], float]) -> None:
        self._folder = folder
        self._processes = processes
        self._clock = clock
        self._shared: list[SharedLimit] = []
        self._limits: list[Limit] = []
        self._whole: list[Limit] = []

    def limit_all(self, rate_bytes_s: int | None) -> None:
        """Limit what comes from all origins together; None is no limit. Blocks."""
        if rate_bytes_s is not None:
            self._whole = [self._open(".limit", rate_bytes_s)]

    def of_mirror(self, name: str, rate_bytes_s: int | None) -> Limits:
        """Return the limits that hold for a mirror, with one of its own unless None. Blocks."""
        own = [] if rate_bytes_s is None else [self._open(f".limit-of-{name}", rate_bytes_s)]
        return Limits([*own, *self._whole])

    def of_background(self, rate_bytes_s: int | None) -> BackgroundBandwidth | None:
        """Return what the background may take; None is no limit. Blocks."""
        if rate_bytes_s is None:
            return None
        return BackgroundBandwidth(self._open(".background-limit", rate_bytes_s))

    def close(self) -> None:
        """Let go of all files."""
        for limit in self._limits:
            limit.close()
        for shared in self._shared:
            shared.close()

    def _open(self, file_name: str, rate_bytes_s: int) -> Limit:
        share = rate_bytes_s / self._processes
        shared = SharedLimit(self._folder / file_name, rate_bytes_s, share, self._clock)
        shared.open()
        limit = Limit(shared)
        self._shared.append(shared)
        self._limits.append(limit)
        return limit
