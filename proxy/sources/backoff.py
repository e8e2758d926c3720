"""Pauses between tries: growing, bounded, and never in step with other clients."""

from collections.abc import Iterator
from random import Random


def pauses_s(random: Random, *, first_s: float = 0.2, limit_s: float = 5.0) -> Iterator[float]:
    """Yield seconds to wait: each drawn from the upper half of a span that doubles up to `limit_s`."""
    span_s = first_s
    while True:
        yield random.uniform(span_s / 2, span_s)
        span_s = min(span_s * 2, limit_s)
