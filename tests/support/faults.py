"""What goes wrong at an origin and for which requests: faults, gates, and the board that picks one."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way to misbehave; fields combine where that makes sense.

    Offsets named `…_after` count body bytes of the answer at hand, `corrupt_at` and `truncate_to`
    count bytes of the file, whatever range of it was asked. A mark beyond the body does nothing.
    """

    latency_s: float = 0.0
    """Wait before the status line."""
    rate_bytes_s: float | None = None
    """Send the body no faster than this."""
    cut_after: int | None = None
    """Send so many body bytes, then reset the connection."""
    close_after: int | None = None
    """Send so many body bytes, then close the connection cleanly, though more was promised."""
    stall_after: int | None = None
    """Send so many body bytes, then nothing until the fault is removed or the client leaves."""
    trickle_after: int | None = None
    """Send so many body bytes, and the others one at a time, some hundreds a second."""
    status: int | None = None
    """Answer this status with a short HTML page."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Add these headers, over the usual ones of the same name."""
    corrupt_at: int | None = None
    """Flip the byte at this offset."""
    body: bytes | None = None
    """Answer 200 with these bytes as an HTML page, whether or not the file exists."""
    truncate_to: int | None = None
    """Serve the file as if it were only so long."""
    chunked: bool = False
    """Send no Content-Length, but chunks."""
    ignore_range: bool = False
    """Answer a Range request with 200 and everything."""
    wrong_range: bool = False
    """Answer a Range request with 206 and another range than the one asked."""
    no_etag: bool = False
    """Send neither ETag nor Last-Modified, and answer no condition on them."""
    redirect_to: str | None = None
    """Answer 302 to this URL."""
    content_encoding: str | None = None
    """Claim this Content-Encoding without encoding anything."""
    gzip: bool = False
    """Compress the body and say so; ranges are ignored, as Apache's mod_deflate does."""
    head: bytes | None = None
    """Send these bytes in place of status line and headers; marks count from their end."""
    surplus: bytes | None = None
    """After the body, send these bytes too, which nobody asked for; the connection stays open."""
    endless: bytes | None = None
    """After the head, send nothing but these bytes, again and again, until the client leaves."""
    range_status: int | None = None
    """Answer a Range request with this status."""
    rest_status: int | None = None
    """Answer a Range request for all from an offset on with this status."""
    range_slice: bool = False
    """Answer a Range request with 200 and only the part that was asked for."""
    range_refuse: bool = False
    """Close the connection when a Range is asked for."""
    range_empty: bool = False
    """Answer a Range request with 206, the right Content-Range and no bytes."""
    range_unit: str = "bytes"
    """The unit in Content-Range."""
    condition_status: int | None = None
    """Answer a request with conditions with this status; 0 closes the connection."""
    length_error: int = 0
    """Say a Content-Length that is so many bytes off."""
    total_error: int = 0
    """Say a total in Content-Range that is so many bytes off."""
    refuse: bool = False
    """Close the connection without any answer."""

    def body_marks(self) -> list[tuple[int, str]]:
        """List where in the body something happens, in order; a stall comes before a cut."""
        marks = (
            ("trickle", self.trickle_after),
            ("stall", self.stall_after),
            ("cut", self.cut_after),
            ("close", self.close_after),
        )
        return sorted(((at, name) for name, at in marks if at is not None), key=lambda mark: mark[0])


class FaultHandle:
    """A fault while it is switched on."""

    def __init__(self, pattern: str, fault: Fault, times: int | None) -> None:
        self.pattern = pattern
        self.fault = fault
        self.times_left = times
        self.hits = 0
        """Requests that this fault was applied to."""
        self.reached = asyncio.Event()
        """Set when it happens: for a fault inside a body at its mark, else when a request meets it."""
        self.removed = asyncio.Event()

    def remove(self) -> None:
        """Switch the fault off: stalled and delayed answers go on as if nothing had happened."""
        self.removed.set()

    def applies_to(self, path: str) -> bool:
        """Tell whether a request for `path` meets this fault now."""
        return not self.removed.is_set() and self.times_left != 0 and matches(path, self.pattern)

    def take(self) -> None:
        """Use the fault for one request."""
        self.hits += 1
        if self.times_left is not None:
            self.times_left -= 1
        if not self.fault.body_marks():
            self.reached.set()


class Crowd:
    """Lets only so many requests be answered at a time, and has each further one meet a fault."""

    def __init__(self, pattern: str, at_once: int, fault: Fault) -> None:
        self.handle = FaultHandle(pattern, fault, None)
        self._at_once = at_once
        self._answered = 0
        """Requests that are answered now, but for those that met the fault."""

    @contextmanager
    def joined(self, path: str) -> Iterator[FaultHandle | None]:
        """Count a request for the length of its answer; give the fault if there are too many already."""
        if not self.handle.applies_to(path):
            yield None
        elif self._answered >= self._at_once:
            self.handle.take()
            yield self.handle
        else:
            self._answered += 1
            try:
                yield None
            finally:
                self._answered -= 1


class FaultBoard:
    """All faults switched on at one origin."""

    def __init__(self) -> None:
        self._handles: list[FaultHandle] = []

    def add(self, pattern: str, fault: Fault, times: int | None) -> FaultHandle:
        """Switch a fault on."""
        handle = FaultHandle(pattern, fault, times)
        self._handles.append(handle)
        return handle

    def take(self, path: str) -> FaultHandle:
        """Pick the fault for a request: limited ones in the order given, then the newest unlimited one."""
        self._handles = [handle for handle in self._handles if not handle.removed.is_set()]
        fitting = [handle for handle in self._handles if handle.applies_to(path)]
        limited = [handle for handle in fitting if handle.times_left is not None]
        chosen = limited[0] if limited else fitting[-1] if fitting else FaultHandle(path, Fault(), None)
        chosen.take()
        return chosen

    def clear(self) -> None:
        """Switch all faults off."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()


class Gate:
    """Holds requests back before their status line until it is opened."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.count = 0
        """Requests that wait here now."""
        self._opened = asyncio.Event()
        self._arrival = asyncio.Condition()

    def open(self) -> None:
        """Let all through, now and later."""
        self._opened.set()

    async def waiting(self, n: int) -> None:
        """Wait until `n` requests wait here at once."""
        async with self._arrival:
            await self._arrival.wait_for(lambda: self.count >= n)

    async def hold(self, path: str, gone: asyncio.Event) -> None:
        """Hold one request until the gate opens or its client has `gone`."""
        if self._opened.is_set() or not matches(path, self.pattern):
            return
        async with self._arrival:
            self.count += 1
            self._arrival.notify_all()
        try:
            await any_of(self._opened, gone)
        finally:
            self.count -= 1


def matches(path: str, pattern: str) -> bool:
    """Match a decoded path without its leading slash; `*` crosses slashes, an equal text always fits."""
    pattern = pattern.removeprefix("/")
    return path == pattern or fnmatchcase(path, pattern)


async def any_of(*events: asyncio.Event, timeout_s: float | None = None) -> None:
    """Wait until one of the events is set, or the time is over."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
