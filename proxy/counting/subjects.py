"""What is counted: of mirrors, origins, the store, limits, transfers, parts, cuts and the log."""

from proxy.counting.now import Now, Transfers
from proxy.counting.outcomes import OUTCOMES
from proxy.counting.tally import Tally

FIRST_BYTE_EDGES_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper edges of the first byte's histogram; what is slower is counted beyond the last one."""

_MIRROR = (
    *(f"requests {outcome}" for outcome in OUTCOMES),
    *(f"sent {outcome}" for outcome in OUTCOMES),
    *(f"first byte {edge}" for edge in (*FIRST_BYTE_EDGES_S, "inf")),
    "first byte us",
    "aborted",
    "fetched",
)
_ORIGIN = ("ok", "error", "bytes", "latency us", "latency count", "wrong")
_TRANSFERS = ("let go", "turned away")
_PARTS = ("fetched", "given up", "ahead bytes", "discarded bytes", "refused")
_LOG = ("dropped lines",)
_STORE = ("evicted blobs", "evicted bytes", "checked blobs", "checked bytes", "damaged", "repaired")

LIMITS = (
    "malformed_requests",
    "connections",
    "client_connections",
    "idle_connections",
    "unfinished_requests",
    "request_bodies",
    "document_bytes",
    "document_shape",
    "filter_time",
    "lockfile",
)
"""What somebody can ask too much of; `config.example.toml` says which of them can be set."""

CUTS = ("unreachable", "wrong_bytes", "store", "other")
"""Why replies were cut short: no origin could be had, its bytes were wrong, the store failed."""

NAMES = {
    "mirror": _MIRROR,
    "origin": _ORIGIN,
    "store": _STORE,
    "limits": LIMITS,
    "transfers": _TRANSFERS,
    "parts": _PARTS,
    "cuts": CUTS,
    "log": _LOG,
}
"""Of each kind of subject, in the order in which they stand in files."""


class MirrorTally:
    """What happens to a mirror's clients."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def ended(self, outcome: str, sent_bytes: int, first_byte_s: float | None, *, is_aborted: bool) -> None:
        """Count a request that has ended; `first_byte_s` is None for replies without a body."""
        index = OUTCOMES.index(outcome)
        amounts = [(index, 1), (len(OUTCOMES) + index, sent_bytes)]
        if first_byte_s is not None:
            slower = sum(1 for edge in FIRST_BYTE_EDGES_S if first_byte_s > edge)
            amounts += [(_FIRST_BYTE + slower, 1), (_FIRST_BYTE_US, int(first_byte_s * 1e6))]
        if is_aborted:
            amounts.append((_MIRROR.index("aborted"), 1))
        self._tally.add(*amounts)

    def ended_often(self, outcome: str, sent_bytes: int, times: int, *, has_body: bool) -> None:
        """Count so many requests that ended alike, each at once, with so many bytes in all."""
        index = OUTCOMES.index(outcome)
        amounts = [(index, times), (len(OUTCOMES) + index, sent_bytes)]
        self._tally.add(*amounts, *([(_FIRST_BYTE, times)] if has_body else []))

    def fetched(self, count: int) -> None:
        """Count bytes from its origins."""
        self._tally.add((_FETCHED, count))


_FIRST_BYTE = 2 * len(OUTCOMES)
_FIRST_BYTE_US = _MIRROR.index("first byte us")
_FETCHED = _MIRROR.index("fetched")


class OriginTally:
    """How an origin does."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def answered(self, seconds: float, *, is_good: bool) -> None:
        """Count an answer, and how long its headers took."""
        outcome = _ORIGIN.index("ok" if is_good else "error")
        latency_us, count = _ORIGIN.index("latency us"), _ORIGIN.index("latency count")
        self._tally.add((outcome, 1), (latency_us, int(seconds * 1e6)), (count, 1))

    def failed(self) -> None:
        """Count a request without an answer, or with one that broke off or made no sense."""
        self._tally.add((_ORIGIN.index("error"), 1))

    def received(self, count: int) -> None:
        """Count bytes."""
        self._tally.add((_ORIGIN.index("bytes"), count))

    def wrong(self) -> None:
        """Count a copy of an item that was not the listed one."""
        self._tally.add((_ORIGIN.index("wrong"), 1))


class OriginMeter:
    """Counts what an origin does, for itself and for the mirror that asks it."""

    def __init__(self, origin: OriginTally, mirror: MirrorTally, limits: "LimitTally") -> None:
        self._mirror = mirror
        self._limits = limits
        self.answered = origin.answered
        self.failed = origin.failed
        self._received = origin.received

    def received(self, count: int) -> None:
        """Count bytes."""
        self._received(count)
        self._mirror.fetched(count)

    def exceeded(self) -> None:
        """Count a document larger than the limit."""
        self._limits.met("document_bytes")


class StoreTally:
    """What becomes of blobs."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def evicted(self, count: int) -> None:
        """Count an evicted blob of so many bytes."""
        self._tally.add((_STORE.index("evicted blobs"), 1), (_STORE.index("evicted bytes"), count))

    def checked(self, count: int) -> None:
        """Count a blob of so many bytes that was hashed again."""
        self._tally.add((_STORE.index("checked blobs"), 1), (_STORE.index("checked bytes"), count))

    def damaged(self) -> None:
        """Count a blob that was found damaged."""
        self._tally.add((_STORE.index("damaged"), 1))

    def repaired(self) -> None:
        """Count a damaged blob that was fetched again."""
        self._tally.add((_STORE.index("repaired"), 1))


class LimitTally:
    """How often a limit was met."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def met(self, limit: str) -> None:
        """Count that somebody met one of LIMITS, and was refused what lies beyond."""
        self._tally.add((LIMITS.index(limit), 1))


class TransferTally:
    """What becomes of transfers from origins."""

    def __init__(self, tally: Tally, now: Now) -> None:
        self._tally = tally
        self._now = now

    def note(self, running: int, waiting: int) -> None:
        """Tell how many there are now."""
        self._now.note(Transfers(running, waiting))

    def let_go(self) -> None:
        """Count one that ended because nobody waited for it any more."""
        self._tally.add((_TRANSFERS.index("let go"), 1))

    def turned_away(self) -> None:
        """Count one that was not begun: too many run and wait."""
        self._tally.add((_TRANSFERS.index("turned away"), 1))


class PartTally:
    """What becomes of parts of items that are fetched ahead over further connections."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def fetched(self, count: int) -> None:
        """Count a part of which so many bytes came."""
        self._tally.add((_PARTS.index("fetched"), 1), (_PARTS.index("ahead bytes"), count))

    def given_up(self) -> None:
        """Count a further connection that was given up because it did not help."""
        self._tally.add((_PARTS.index("given up"), 1))

    def refused(self) -> None:
        """Count a further connection that an origin refused while it served others of ours."""
        self._tally.add((_PARTS.index("refused"), 1))

    def discarded(self, count: int) -> None:
        """Count bytes that came ahead, and were of no use."""
        self._tally.add((_PARTS.index("discarded bytes"), count))


class CutTally:
    """How often a reply ended before its end, for what we or upstream did."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def cut(self, reason: str) -> None:
        """Count a reply that was cut for one of CUTS."""
        self._tally.add((CUTS.index(reason), 1))


class LogTally:
    """What becomes of the lines of the log."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def dropped(self, lines: int) -> None:
        """Count lines that were not written because nobody read the log, or it could not be written."""
        self._tally.add((_LOG.index("dropped lines"), lines))
