"""Who uses the proxy: a bounded table of clients, in a file that outlives its process.

stats/<n>/clients.1    256 rows, written by the process that holds stats/<n>/lock

A row tells of one client address at one mirror. When all rows are taken, the client
that was seen longest ago gives its row up. A row begins with a number that is odd
while it is written, so that readers in other processes need no lock. A release that
changes the form of the rows takes another name for the file.
"""

import contextlib
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import NamedTuple

from proxy.counting.outcomes import OUTCOMES
from proxy.system.mapped_files import map_file

FORGOTTEN_AFTER_S = 30 * 86400.0
"""A client that was not seen for so long is no longer listed."""

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
_WORD_BYTES = 8
_ROW_WORDS = _ROW_BYTES // _WORD_BYTES
_LAST_AT, _OUTCOMES = 2, 3
"""Which words of a row these are; each outcome has one of its own."""
_SENT, _HIT_SENT, _LEFT, _CUT, _BROKEN_AT = range(_OUTCOMES + len(OUTCOMES), _OUTCOMES + len(OUTCOMES) + 5)
_NOTHING = [0] * (len(OUTCOMES) + 5)
_LARGEST_WORD = (1 << 64) - 1
_LARGEST_COUNT = 1 << 62
_INDEX = {outcome: index for index, outcome in enumerate(OUTCOMES)}
_HIT = _INDEX["hit"]


class Visit(NamedTuple):
    """A request, as far as this table records it."""

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
        view = memoryview(self._memory)
        self._words, self._moments = view.cast("Q"), view.cast("d")
        self._last: dict[int, tuple[str, str]] = {}
        """What each row says of agent and path, so that it is written only when it changes."""
        rows = [_unpack(view[place * _ROW_BYTES :][:_ROW_BYTES]) for place in range(_ROWS)]
        taken = [(row.last_at, place, row) for place, row in enumerate(rows) if row is not None]
        taken.sort(key=lambda one: one[:2])
        self._places = OrderedDict(((row.address, row.mirror), place) for _, place, row in taken)
        """Seen longest ago first."""
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
        now, index, words = self._clock(), _INDEX[outcome], self._words
        place = self._place(_key(visit.client, visit.mirror), now)
        row = place * _ROW_WORDS
        turn = words[row] | 1
        words[row] = turn
        self._moments[row + _LAST_AT] = now
        words[row + _OUTCOMES + index] += times
        words[row + _SENT] += sent_bytes
        if index == _HIT:
            words[row + _HIT_SENT] += sent_bytes
        if is_left or is_cut:
            words[row + _LEFT] += is_left
            words[row + _CUT] += is_cut
            words[row + _BROKEN_AT] = max(0, int(now))
        last = visit[2:]
        if self._last.get(place) != last:
            self._last[place] = last
            texts = map(_encoded, visit, _TEXT_BYTES)
            _TEXTS.pack_into(self._memory, place * _ROW_BYTES + _TURN.size + _NUMBERS.size, *texts)
        words[row] = (turn + 1) & _LARGEST_WORD

    def close(self) -> None:
        """Let go of the file."""
        self._words.release()
        self._moments.release()
        self._memory.close()

    def _place(self, key: tuple[str, str], now: float) -> int:
        """Return the row of a client; a new one gets a free one, or that of whoever was seen longest ago."""
        place = self._places.get(key)
        if place is not None:
            self._places.move_to_end(key)
            return place
        place = self._free.pop() if self._free else self._places.popitem(last=False)[1]
        row = place * _ROW_WORDS
        self._words[row] |= 1
        _NUMBERS.pack_into(self._memory, place * _ROW_BYTES + _TURN.size, now, now, *_NOTHING)
        self._last.pop(place, None)
        self._places[key] = place
        return place


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


def _unpack(data: bytes | memoryview) -> Client | None:
    """Return what a row tells, None for one that nobody has, or that is damaged."""
    first_at, last_at, *counts = _NUMBERS.unpack_from(data, _TURN.size)
    texts = _TEXTS.unpack_from(data, _TURN.size + _NUMBERS.size)
    address, mirror, agent, path = (text.rstrip(b"\0").decode(errors="replace") for text in texts)
    is_damaged = not (isfinite(first_at) and isfinite(last_at)) or max(counts) > _LARGEST_COUNT
    if not address or is_damaged:
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


@lru_cache(2 * _ROWS)
def _key(client: str, mirror: str) -> tuple[str, str]:
    """Return what a row says of client and mirror: as much of each as it has room for."""
    return _encoded(client, _TEXT_BYTES[0]).decode(), _encoded(mirror, _TEXT_BYTES[1]).decode()


def _encoded(text: str, most: int) -> bytes:
    if text.isascii():
        return text[:most].encode().rstrip(b"\0")
    return text.encode(errors="replace")[:most].decode(errors="ignore").rstrip("\0").encode()
