"""How fast the bytes of a running fill are passed on to clients: a pure decision.

Three rules meet here.

* The end of every reply is held back until the digest has matched, so that no client
  completes a body that turns out wrong.
* A reserve of bytes that have arrived is kept back behind the first ones.
* While upstream is silent, clients get a few bytes of the reserve at a time (drips),
  because some, such as MAAS, give up after ten seconds without a byte.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedOptions:
    """Sizes in bytes, times in seconds."""

    reserve_bytes: int = 1024 * 1024
    """Kept back from clients of a running fill, to feed them while upstream recovers."""
    drip_interval_s: float = 3.0
    """A client that waits for upstream gets some of the reserve this often."""
    first_byte_within_s: float = 8.0
    """A client without any byte is cut off after so long, if no origin can be reached: it may try again."""


HOLD_BACK_BYTES = 64 * 1024
"""The end of each reply that is sent only after the digest matched."""


def held_end(start: int, stop: int) -> int:
    """Return the offset that a reply of [start, stop) may not pass before verification."""
    return max(start, stop - HOLD_BACK_BYTES)


def flowing_end(filled: int, options: FeedOptions) -> int:
    """Return the offset up to which bytes flow while upstream delivers.

    An eighth of what has arrived is kept until the reserve is full, so that the
    first byte leaves at once and small items are hardly delayed.
    """
    return filled - min(options.reserve_bytes, filled // 8)


def drip_end(position: int, filled: int) -> int:
    """Return the offset up to which one drip feeds a reader that stands at `position`.

    A thirty-second of what is left, at least one byte: the drips shrink, so
    that the reserve outlives any outage a client would wait through.
    """
    left = filled - position
    return position + min(left, max(1, left // 32))
