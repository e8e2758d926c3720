"""What a further connection should fetch next: what holds up the rest first, else the next unclaimed part.

Knows the window, and what each connection brings. Begins and ends nothing.
"""

from proxy.sources.candidates import Candidate
from proxy.sources.segments.connections import Connections
from proxy.sources.segments.lengths import Load, next_length, split_offset
from proxy.sources.segments.relief import Relief
from proxy.sources.segments.window import Segment, Window

_SILENT_S = 1.0
"""A main transfer that sends nothing for so long, while parts come, is not waited for."""


class NextPart:
    """The choice of parts of one item of so many bytes."""

    def __init__(self, size_bytes: int, window: Window, connections: Connections, relief: Relief) -> None:
        self._size_bytes = size_bytes
        self._window = window
        self._connections = connections
        self._relief = relief

    def at(self, candidate: Candidate) -> Segment | None:
        """Return what to fetch from an origin, which is then taken; None when nothing is left."""
        overtaken = self._overtaken()
        if overtaken is not None:
            return overtaken
        left = self._window.left_behind()
        if left is not None:
            left.is_taken = True
            return left
        return self._unclaimed(candidate)

    def _overtaken(self) -> Segment | None:
        """Take over what nobody fetches, or a main transfer that has become far slower than the parts.

        That holds up everything ahead of it, and as long as it trickles, it does not break off.
        """
        window, connections = self._window, self._connections
        hole_bytes = window.starts_at - window.position if window.segments else 0
        if hole_bytes <= 0:
            return None
        if connections.main is None:
            return window.take_over(window.position)
        if (rate_bytes := connections.lagging_rate) is None:
            return None
        if self._relief.waited_s >= _SILENT_S:
            return window.take_over(window.position)
        kept = split_offset(Load(hole_bytes, connections.main_rate.rate_bytes), rate_bytes)
        return None if kept is None else window.take_over(window.position + kept)

    def _unclaimed(self, candidate: Candidate) -> Segment | None:
        """Claim a part that takes an origin about as long as the others take for theirs."""
        window, connections = self._window, self._connections
        rate_bytes = connections.usual_rate(candidate)
        others = [one.load for one in connections.transfers]
        start = window.position
        if connections.main is not None:
            main = Load(max(0, window.starts_at - window.position), connections.main_rate.rate_bytes)
            if not window.segments:
                # The main transfer takes its share as if it were a segment.
                start += next_length(main.rate_bytes, self._size_bytes - start, [Load(0, rate_bytes)])
            else:
                others.append(main)
        unclaimed_bytes = self._size_bytes - max(start, window.frontier)
        return window.claim(next_length(rate_bytes, unclaimed_bytes, others), start)
