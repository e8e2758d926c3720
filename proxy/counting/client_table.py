"""Who uses the proxy: a bounded table of clients, in a file that outlives its process.

stats/<n>/clients.1    256 rows, written by the process that holds stats/<n>/lock

A row tells of one client address at one mirror. When all rows are taken, the client
that was seen longest ago gives its row up. A row begins with a number that is odd
while it is written, so that readers in other processes need no lock. A release that
changes the form of the rows takes another name for the file.
"""

import contextlib
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from proxy.counting.outcomes import OUTCOMES
from proxy.system.mapped_files import map_file

FORGOTTEN_AFTER_S = 30 * 86400.0
"""A client that was not seen for so long is told of no more."""

_FILE = "clients.1"
_ROWS = 256
_TURN = struct.Struct("=Q")
_NUMBERS = struct.Struct(f"=2d{len(OUTCOMES)}Q5Q")
"""First and last seen, requests by outcome, bytes sent, bytes sent from the store, replies that clients
broke off, replies that were cut by the proxy, and when the last of these was, in whole Unix seconds."""
_TEXTS = struct.Struct("=64s64s160s256s")
"""Client, mirror, user agent, path of the last request."""
_TEXT_BYTES = (64, 64, 160, 256)
_ROW_BYTES = _TURN.size + _NUMBERS.size + _TEXTS.size
_TRIES = 3
_HIT = OUTCOMES.index("hit")


class Visit(NamedTuple):
    """A request as this table tells of it."""

    client: str
    """Its address."""
    mirror: str
    agent: str
    """What it says that it is."""
    path: str


@dataclass(slots=True, kw_only=True)
class Client:
    """What one client address did at one mirror. Moments in Unix seconds, sizes in bytes."""

    address: str
    mirror: str
    agent: str
    """The last one, if it used several programs."""
    path: str
    """Of its last request."""
    first_at: float
    last_at: float
    requests: dict[str, int] = field(default_factory=dict)
    """How many ended how: the words of OUTCOMES."""
    sent_bytes: int = 0
    hit_bytes: int = 0
    """Of these, what was in the store already."""
    left: int = 0
    """Replies that it broke off."""
    cut: int = 0
    """Replies that the proxy cut, as no origin could be had or its bytes were wrong."""
    broken_at: int = 0
    """When a reply was broken off or cut last; 0 for never."""

    @property
    def total(self) -> int:
        """How many requests there were."""
        return sum(self.requests.values())

    @property
    def hits(self) -> int:
        """How many of them were answered from the store."""
        return self.requests.get("hit", 0) + self.requests.get("stale", 0)

    def add(self, other: "Client") -> None:
        """Add what another process saw of the same client at the same mirror."""
        if other.last_at > self.last_at:
            self.last_at, self.agent, self.path = other.last_at, other.agent, other.path
        self.first_at = min(self.first_at, other.first_at)
        for outcome, count in other.requests.items():
            self.requests[outcome] = self.requests.get(outcome, 0) + count
        self.sent_bytes += other.sent_bytes
        self.hit_bytes += other.hit_bytes
        self.left += other.left
        self.cut += other.cut
        self.broken_at = max(self.broken_at, other.broken_at)


class ClientTable:
    """What this process sees of its clients. For the thread of the event loop alone."""

    def __init__(self, slot: Path, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._memory = map_file(slot / _FILE, _ROWS * _ROW_BYTES)
        self._places: dict[tuple[str, str], int] = {}
        self._agents: dict[int, tuple[str, str]] = {}
        """What each row says of agent and path, so that it is written only when it changes."""
        for place in range(_ROWS):
            row = _unpack(self._memory[place * _ROW_BYTES :][:_ROW_BYTES])
            if row is not None:
                self._places[row.address, row.mirror] = place
        self._free = sorted(set(range(_ROWS)) - set(self._places.values()), reverse=True)

    def ended(
        self,
        visit: Visit,
        outcome: str,
        sent_bytes: int,
        times: int = 1,
        *,
        is_left: bool = False,
        is_cut: bool = False,
    ) -> None:
        """Count requests of one client that ended alike, with so many bytes in all."""
        now = self._clock()
        key = (_cut(visit.client, _TEXT_BYTES[0]), _cut(visit.mirror, _TEXT_BYTES[1]))
        place = self._places.get(key)
        if place is None:
            place = self._take(key, now)
        start, memory = place * _ROW_BYTES, self._memory
        at = start + _TURN.size
        (turn,) = _TURN.unpack_from(memory, start)
        _TURN.pack_into(memory, start, turn | 1)
        numbers = list(_NUMBERS.unpack_from(memory, at))
        numbers[1] = now
        index = OUTCOMES.index(outcome)
        numbers[2 + index] += times
        sums = 2 + len(OUTCOMES)
        numbers[sums] += sent_bytes
        numbers[sums + 1] += sent_bytes if index == _HIT else 0
        numbers[sums + 2] += is_left
        numbers[sums + 3] += is_cut
        if is_left or is_cut:
            numbers[sums + 4] = max(0, int(now))
        _NUMBERS.pack_into(memory, at, *numbers)
        if self._agents.get(place) != visit[2:]:
            self._agents[place] = visit[2:]
            texts = (_encoded(text, most) for text, most in zip(visit, _TEXT_BYTES, strict=True))
            _TEXTS.pack_into(memory, at + _NUMBERS.size, *texts)
        _TURN.pack_into(memory, start, (turn | 1) + 1)

    def close(self) -> None:
        """Let go of the file."""
        self._memory.close()

    def _take(self, key: tuple[str, str], now: float) -> int:
        """Return the row of a new client: a free one, or that of whoever was seen longest ago."""
        if self._free:
            place = self._free.pop()
        else:
            oldest = min(self._places, key=lambda one: self._seen_at(self._places[one]))
            place = self._places.pop(oldest)
        start = place * _ROW_BYTES
        (turn,) = _TURN.unpack_from(self._memory, start)
        _TURN.pack_into(self._memory, start, turn | 1)
        _NUMBERS.pack_into(self._memory, start + _TURN.size, now, now, *[0] * (len(OUTCOMES) + 5))
        self._agents.pop(place, None)
        self._places[key] = place
        return place

    def _seen_at(self, place: int) -> float:
        _, last_at, *_ = _NUMBERS.unpack_from(self._memory, place * _ROW_BYTES + _TURN.size)
        return float(last_at)


class NoClients(ClientTable):
    """Stands for the table where it is not wanted: nothing is kept, and what was kept before is removed."""

    def __init__(self, slot: Path) -> None:
        (slot / _FILE).unlink(missing_ok=True)

    def ended(
        self,
        visit: Visit,
        outcome: str,
        sent_bytes: int,
        times: int = 1,
        *,
        is_left: bool = False,
        is_cut: bool = False,
    ) -> None:
        """Count nothing."""

    def close(self) -> None:
        """Nothing is open."""


def read_clients(directory: Path, now: float) -> list[Client]:
    """Return what all processes have seen of clients, those seen last first. Blocks."""
    found: dict[tuple[str, str], Client] = {}
    for file in directory.glob(f"*/{_FILE}"):
        with contextlib.suppress(OSError):
            for row in _rows(file):
                known = found.setdefault((row.address, row.mirror), row)
                if known is not row:
                    known.add(row)
    lasting = (one for one in found.values() if one.last_at > now - FORGOTTEN_AFTER_S)
    return sorted(lasting, key=lambda one: -one.last_at)


def _rows(file: Path) -> Iterable[Client]:
    with file.open("rb") as opened:
        for place in range(_ROWS):
            for _ in range(_TRIES):
                opened.seek(place * _ROW_BYTES)
                data = opened.read(_ROW_BYTES)
                if len(data) < _ROW_BYTES or not _TURN.unpack_from(data)[0] & 1:
                    break
            if len(data) == _ROW_BYTES and (row := _unpack(data)) is not None:
                yield row


def _unpack(data: bytes) -> Client | None:
    """Return what a row tells, None for one that nobody has."""
    first_at, last_at, *counts = _NUMBERS.unpack_from(data, _TURN.size)
    texts = _TEXTS.unpack_from(data, _TURN.size + _NUMBERS.size)
    address, mirror, agent, path = (text.rstrip(b"\0").decode(errors="replace") for text in texts)
    if not address:
        return None
    by_outcome, (sent, hit, left, cut, broken_at) = counts[: len(OUTCOMES)], counts[len(OUTCOMES) :]
    return Client(
        address=address,
        mirror=mirror,
        agent=agent,
        path=path,
        first_at=first_at,
        last_at=last_at,
        requests={name: count for name, count in zip(OUTCOMES, by_outcome, strict=True) if count},
        sent_bytes=sent,
        hit_bytes=hit,
        left=left,
        cut=cut,
        broken_at=broken_at,
    )


def _cut(text: str, most: int) -> str:
    """Return as much of a text as a row has room for."""
    return _encoded(text, most).decode(errors="ignore")


def _encoded(text: str, most: int) -> bytes:
    return text.encode(errors="replace")[:most].decode(errors="ignore").rstrip("\0").encode()
