"""Which bytes of an item are fetched ahead of the position up to which they were handed on. Pure.

The window is a row of segments without gaps between them. Each is fetched by at most one
transfer at a time, from its start on; a transfer that breaks off leaves the rest of its
segment to another one. Bytes leave the window in order, each once, whatever order they came in.

    handed on | hole, for the main transfer | segment | segment | segment | not claimed yet |
           position                      starts_at                     frontier            size
"""

from collections import deque
from typing import NamedTuple

LEAST_BYTES = 1024 * 1024
"""A shorter segment costs more in requests than it brings."""


class Sender(NamedTuple):
    """Where bytes came from: an origin's name, and the URL that it had redirected to, if any."""

    origin: str
    place: str = ""


class Chunk(NamedTuple):
    """The next bytes of an item, and who sent them."""

    sender: Sender
    data: bytes


class Segment:
    """The bytes of [start, stop), of which those up to `received` have come."""

    def __init__(self, start: int, stop: int) -> None:
        self.start = start
        self.stop = stop
        """Moves towards the start when another transfer takes over the end."""
        self.received = start
        self.is_taken = True
        """Whether a transfer is fetching it."""
        self._chunks: deque[Chunk] = deque()
        self._held_from = start

    def __repr__(self) -> str:
        state = "fetched" if self.is_whole else "being fetched" if self.is_taken else "left"
        return f"[{self.start}, {self.received} of {self.stop}) {state}"

    @property
    def left_bytes(self) -> int:
        """How many bytes are still to come."""
        return self.stop - self.received

    @property
    def is_whole(self) -> bool:
        """Whether all has come."""
        return self.received == self.stop

    def add(self, chunk: Chunk) -> int:
        """Take the next bytes, but for those past its end; return how many were taken."""
        data = chunk.data[: self.left_bytes]
        if data:
            self._chunks.append(Chunk(chunk.sender, data))
            self.received += len(data)
        return len(data)

    def take_from(self, position: int) -> Chunk | None:
        """Take out the first bytes that it holds from a position on; None when there are none."""
        while self._chunks:
            chunk = self._chunks.popleft()
            known = position - self._held_from
            self._held_from += len(chunk.data)
            if known < len(chunk.data):
                return Chunk(chunk.sender, chunk.data[max(0, known) :])
        return None


class Window:
    """The segments of one item between `position` and the frontier."""

    def __init__(self, position: int, size_bytes: int, limit_bytes: int) -> None:
        self.position = position
        """Up to where bytes were handed on."""
        self._size_bytes = size_bytes
        self.limit_bytes = limit_bytes
        """How far beyond the position segments may reach."""
        self._segments: list[Segment] = []

    def __repr__(self) -> str:
        return f"Window({self.position} of {self._size_bytes}: {self._segments})"

    @property
    def segments(self) -> tuple[Segment, ...]:
        """All segments, in order."""
        return tuple(self._segments)

    @property
    def starts_at(self) -> int:
        """Where the first segment starts; the end of the item without any."""
        return self._segments[0].start if self._segments else self._size_bytes

    @property
    def takes_over_at(self) -> int:
        """Where the main transfer may end: at the first segment of which something has come that is missing.

        An origin may never answer its further connections: the one that works is not given up for them.
        """
        first = next(iter(self._segments), None)
        has_come = first is not None and first.received > max(first.start, self.position)
        return self.starts_at if has_come else self._size_bytes

    @property
    def frontier(self) -> int:
        """Where the last segment ends; the position without any."""
        return self._segments[-1].stop if self._segments else self.position

    @property
    def left_bytes(self) -> int:
        """How much has still to be handed on."""
        return self._size_bytes - self.position

    @property
    def claimed_bytes(self) -> int:
        """How much memory the segments may come to take."""
        return sum(one.stop - max(one.start, self.position) for one in self._segments)

    @property
    def is_covered(self) -> bool:
        """Whether the bytes at the position have come, or a transfer is fetching them."""
        if not self._segments or self._segments[0].start > self.position:
            return False
        return self._segments[0].is_taken or self._segments[0].received > self.position

    def left_behind(self) -> Segment | None:
        """Return the first segment that a transfer has left before its end, to be fetched by another.

        One that the main transfer has reached is left to that.
        """
        return next(
            (
                one
                for one in self._segments
                if not one.is_taken and not one.is_whole and one.received >= self.position
            ),
            None,
        )

    def claim(self, length_bytes: int, start: int | None = None) -> Segment | None:
        """Return a new segment at the frontier; None where the window or the item ends.

        The first one of all starts where the main transfer is to stop.
        """
        if start is None or self._segments:
            start = self.frontier
        stop = min(self._size_bytes, start + length_bytes)
        if self._size_bytes - stop < LEAST_BYTES:
            stop = self._size_bytes
        if start >= stop or stop > self.position + self.limit_bytes:
            return None
        segment = Segment(start, stop)
        self._segments.append(segment)
        return segment

    def leave(self, segment: Segment) -> None:
        """Note that nobody fetches a segment any more. What is left of the last ones is claimed by none."""
        segment.is_taken = False
        while self._segments and not self._segments[-1].is_taken:
            last = self._segments[-1]
            last.stop = last.received
            if last.stop > max(last.start, self.position):
                break
            del self._segments[-1]

    def take_over(self, at: int) -> Segment:
        """Return a new segment that takes over the end of the hole before the first one, from `at` on."""
        if not self.position <= at < self.starts_at:
            raise ValueError(f"the hole of {self!r} cannot be taken over at {at}")
        end = Segment(at, self.starts_at)
        self._segments.insert(0, end)
        return end

    def split(self, segment: Segment, at: int) -> Segment:
        """Return a new segment that takes over the end of one which is being fetched, from `at` on."""
        if not segment.received <= at < segment.stop:
            raise ValueError(f"{segment!r} cannot be split at {at}")
        end = Segment(at, segment.stop)
        segment.stop = at
        self._segments.insert(self._segments.index(segment) + 1, end)
        if segment.start == at:
            self._segments.remove(segment)
        self.advance(self.position)
        return end

    def take(self) -> Chunk | None:
        """Hand on the next bytes, as many as came together; None when they have not come."""
        if not self._segments or self._segments[0].start > self.position:
            return None
        chunk = self._segments[0].take_from(self.position)
        self.advance(self.position + (0 if chunk is None else len(chunk.data)))
        return chunk

    def advance(self, position: int) -> None:
        """Note up to where bytes were handed on; the main transfer may have gone beyond its end."""
        self.position = position
        while self._segments and self._segments[0].stop <= position:
            del self._segments[0]

    def open_hole(self) -> None:
        """Leave to the main transfer what nobody fetches at the position."""
        while self._segments and self._segments[0].start <= self.position and not self.is_covered:
            del self._segments[0]
