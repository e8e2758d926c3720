"""When a generation must be checked with its origin: a pure decision.

RFC 9111 section 4.2 (freshness) and RFC 5861 (stale-while-revalidate,
stale-if-error) applied to a whole generation of documents at once.
"""

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshnessPolicy:
    """Times in seconds."""

    fresh_for_s: float = 300.0
    """A generation that was checked this recently is served without another check."""
    retry_after_s: float = 15.0
    """First pause after a failed check; doubled at each further failure."""
    retry_limit_s: float = 300.0
    """Longest pause between failed checks."""
    hold_back_s: float = 6 * 3600.0
    """How long a new index is held back while lists it names are missing or older than it says."""
    retain_s: float = 24 * 3600.0
    """How long documents and items that left upstream's lists stay served."""
    idle_after_s: float = 24 * 3600.0
    """A mirror nobody asked for this long is no longer checked in the background."""


class Verdict(Enum):
    """How to answer for a document without asking the origin first."""

    FRESH = "fresh"
    """Serve; nothing to do."""
    STALE = "stale"
    """Serve now, and check behind the client's back."""
    WAIT = "wait"
    """Nothing to serve: the client must wait for the origin."""


def decide(checked_at: float | None, now: float, policy: FreshnessPolicy) -> Verdict:
    """Say how to answer from a generation last confirmed at `checked_at` (Unix seconds).

    None means there is no generation. A time in the future (a clock was set
    back) is stale, never fresh.
    """
    if checked_at is None:
        return Verdict.WAIT
    if 0 <= now - checked_at < policy.fresh_for_s:
        return Verdict.FRESH
    return Verdict.STALE


def recheck_after_s(known_for_s: float, policy: FreshnessPolicy) -> float:
    """Return the pause until what an index names, and could not be had, is asked for again.

    `known_for_s` is for how long that had been so at the last check: the pauses double.
    """
    return min(max(known_for_s, policy.retry_after_s), policy.fresh_for_s)


def retry_pause_s(failures: int, policy: FreshnessPolicy) -> float:
    """Return the pause after the `failures`-th failed check in a row (from 1)."""
    doublings = min(max(failures - 1, 0), 30)
    return min(policy.retry_after_s * 2.0**doublings, policy.retry_limit_s)
