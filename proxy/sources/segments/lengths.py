"""How long the next segment should be, and where another one is split. Pure.

A segment keeps a connection busy for some seconds, so that its request hardly counts. Towards
the end of the item all connections should be done at the same time.
"""

from collections.abc import Sequence
from typing import NamedTuple

from proxy.sources.segments.window import LEAST_BYTES

MOST_BYTES = 16 * LEAST_BYTES
_LASTS_S = 2.0
_LAST_ONE_LASTS_S = 1.5 * _LASTS_S
"""One that ends the item may last longer: a further, short one would cost a request more."""
_WORTH_SAVING_S = 0.5
"""A transfer that is done so soon is left alone."""
_LEAST_SPLIT_BYTES = 256 * 1024


class Load(NamedTuple):
    """What a transfer has to fetch still, and its rate in bytes a second."""

    left_bytes: int
    rate_bytes: float

    @property
    def left_s(self) -> float:
        """How long that takes."""
        return self.left_bytes / max(1.0, self.rate_bytes)


def next_length(rate_bytes: float, unclaimed_bytes: int, others: Sequence[Load]) -> int:
    """Return how long the next segment of a connection of that rate should be."""
    all_rates = rate_bytes + sum(one.rate_bytes for one in others)
    all_left = unclaimed_bytes + sum(one.left_bytes for one in others)
    even_s = all_left / max(1.0, all_rates)
    lasts_s = even_s if even_s < _LAST_ONE_LASTS_S else _LASTS_S
    return int(min(MOST_BYTES, max(LEAST_BYTES, rate_bytes * lasts_s)))


def split_offset(load: Load, rate_bytes: float) -> int | None:
    """Return how much of its rest a slow transfer should keep, when one of that rate could take over.

    None when that would help little.
    """
    kept = int(load.left_bytes * load.rate_bytes / max(1.0, load.rate_bytes + rate_bytes))
    given = load.left_bytes - kept
    saved_s = load.left_s - given / max(1.0, rate_bytes)
    if given < _LEAST_SPLIT_BYTES or saved_s < _WORTH_SAVING_S:
        return None
    return kept if kept >= _LEAST_SPLIT_BYTES else 0
