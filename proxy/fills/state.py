"""Where a fill stands, and which steps it may take: everything about that is in this module.

    QUEUED ──> STARTING ──> LEADING ────> PROVED ──> COMMITTED
                  │            ^            ^
                  └──────> FOLLOWING ───────┘

From every state that is not final a fill may fail or be stopped. Before it is
proved it may also be left: it ends soon, and whoever comes begins another one.
A third role, waiting for another node, would be one more state beside FOLLOWING. Pure.
"""

from collections.abc import Mapping
from enum import Enum

from proxy.fills.feed import FeedOptions, drip_end, flowing_end, held_end

_UNCOMMITTED_BYTES = 8 * 1024 * 1024
"""So much of what is proved is sent before another look whether the disk has taken it."""


class State(Enum):
    """Where a fill stands."""

    QUEUED = "queued"
    """It waits for its place among the transfers of this process."""
    STARTING = "starting"
    """It has its place, and finds out which process writes the file."""
    LEADING = "leading"
    """This process fetches the item and writes the file."""
    FOLLOWING = "following"
    """Another process writes the file; this one reads it."""
    PROVED = "proved"
    """All bytes are here and match the digest; the disk has not confirmed them yet."""
    COMMITTED = "committed"
    """The blob is in the store."""
    LEAVING = "leaving"
    """Nobody wants it any more; its task has been cancelled and has not ended yet."""
    STOPPED = "stopped"
    """It was ended before its time: nobody wanted it, or the process stops."""
    FAILED = "failed"
    """Its bytes could not be had, proved or stored."""

    @property
    def is_final(self) -> bool:
        """Whether nothing follows."""
        return not STEPS[self]

    @property
    def is_proved(self) -> bool:
        """Whether the bytes of the fill match their digest."""
        return self in {State.PROVED, State.COMMITTED}

    @property
    def is_unproved(self) -> bool:
        """Whether the fill is still on its way to the proof, and nobody has left it."""
        return State.LEAVING in STEPS[self]


ROLES = frozenset({State.LEADING, State.FOLLOWING})
"""What this process may do for a fill."""

_ENDS = frozenset({State.FAILED, State.STOPPED})
_ENDS_BEFORE_PROOF = _ENDS | {State.LEAVING}

STEPS: Mapping[State, frozenset[State]] = {
    State.QUEUED: _ENDS_BEFORE_PROOF | {State.STARTING},
    # Straight to the proof: another process has just committed the blob.
    State.STARTING: _ENDS_BEFORE_PROOF | {State.LEADING, State.FOLLOWING, State.PROVED},
    State.LEADING: _ENDS_BEFORE_PROOF | {State.PROVED},
    State.FOLLOWING: _ENDS_BEFORE_PROOF | {State.LEADING, State.PROVED},
    State.PROVED: _ENDS | {State.COMMITTED},
    State.LEAVING: _ENDS,
    State.COMMITTED: frozenset(),
    State.STOPPED: frozenset(),
    State.FAILED: frozenset(),
}
"""Which states may follow each state."""


class IllegalStep(Exception):
    """A step that the table does not know: a fault of this program."""

    def __init__(self, before: State, after: State) -> None:
        super().__init__(f"a fill that is {before.value} cannot become {after.value}")


def step(before: State, after: State) -> State:
    """Return the state after a step. Raises IllegalStep."""
    if after not in STEPS[before]:
        raise IllegalStep(before, after)
    return after


def sendable_end(
    state: State, position: int, start: int, stop: int, filled_bytes: int, feed: FeedOptions
) -> int:
    """Return up to which offset a client that stands at `position` of [start, stop) may be sent bytes now.

    Before the proof never beyond the tail that is held back; `position` when there is nothing for now.
    """
    if state is State.COMMITTED:
        return stop
    if state is State.PROVED:
        return min(stop, position + _UNCOMMITTED_BYTES)
    return max(position, min(flowing_end(filled_bytes, feed), held_end(start, stop)))


def dripped_end(position: int, start: int, stop: int, filled_bytes: int) -> int:
    """Return up to which offset such a client is sent bytes of the reserve while upstream is silent."""
    return max(position, min(drip_end(position, filled_bytes), held_end(start, stop)))
