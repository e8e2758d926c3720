"""What fills keep in the ledger: every kind of record, its schema, and for how long it stays.

Every record expires by itself. One that cannot be read (a newer release wrote
it, or half of it is lost) keeps no client from its item: it names no origin, and
the next finding replaces it. But it counts as a sign that something was wrong, so
a good transfer ends it too. The ledger says in the log, once, that it cannot be read.
"""

from dataclasses import dataclass
from typing import Annotated

import msgspec

from proxy.digest import Digest
from proxy.moments import lasts_until
from proxy.simplestreams.model import Item
from proxy.sources.route import DISTRUST_S
from proxy.store.ledger import Ledger
from proxy.store.records import Kind, known
from proxy.store.schema import Count, Moment, Row, Schema

FAILURES_KEPT_FOR_S = 3600.0
"""How long a block that is over still counts for the length of the next one."""
ABSENT_FOR_S = 60.0
UNREACHABLE_FOR_S = 15.0
"""Longer than the pauses between tries."""
PARTS_KEPT_FOR_S = 3600.0
WRONG_COPY_KEPT_FOR_S = 24 * 3600.0


class Blocked(Row, frozen=True):
    """An origin, or a URL that one redirected to, that had a wrong copy of an item."""

    problem: str
    times: Annotated[int, msgspec.Meta(ge=1)]
    """How often in a row it was found wrong."""
    until: Moment
    """Not asked for the item until then."""


class Unreachable(Row, frozen=True):
    """Why no origin could be reached for an item, and when."""

    problem: str
    at: Moment


class SentPart(Row, frozen=True):
    """What an origin sent of an item that came from several origins and did not match its digest."""

    origin: str
    start: Count
    stop: Count
    sha256: str
    place: str = ""
    """The URL that the origin had redirected to; the first releases did not record it."""

    def __post_init__(self) -> None:
        if self.start > self.stop:
            raise ValueError(f"it ends at {self.stop}, before it begins at {self.start}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LastWrongCopy:
    """The last wrong copy that an origin sent."""

    path: str
    problem: str
    at: Moment
    distrusted_until: Moment
    """Asked last, for everything, until then; 0 when it is not."""

    def is_distrusted(self, now: float) -> bool:
        """Whether its origin is asked last."""
        return lasts_until(self.distrusted_until, now, DISTRUST_S)


BLOCKED = Kind("bad/", Schema(dict[str, Blocked]))
"""For an item: by origin."""
ABSENT = Kind("absent/", Schema(dict[str, Moment]))
"""For a path: until when each origin is known to lack it."""
UNREACHABLE = Kind("trouble/", Schema(Unreachable))
"""For an item."""
SENT_PARTS = Kind("mixed/", Schema(tuple[SentPart, ...]))
"""For an item."""
LAST_WRONG_COPY = Kind("liar/", Schema(LastWrongCopy))
"""For an origin."""


def name_of(item: Item) -> str:
    """Return the name of an item's records: a list that gives a wrong size must not disturb others."""
    return f"{item.digest}/{item.size_bytes}"


def last_wrong_copies(ledger: Ledger) -> dict[str, LastWrongCopy]:
    """Return the last wrong copy of each origin that had one of late. Blocks."""
    copies = {name: known(copy) for name, copy in LAST_WRONG_COPY.read_all(ledger).items()}
    return {name: copy for name, copy in copies.items() if copy is not None}


def forget_item(ledger: Ledger, digest: Digest) -> None:
    """Forget all that was found wrong with the copies of a digest. Blocks."""
    for kind in (BLOCKED, SENT_PARTS):
        for key in ledger.keys(kind.key(f"{digest}/")):
            ledger.forget(key)


def forget_absence(ledger: Ledger, path: str) -> None:
    """Forget that a path was absent. Blocks."""
    ABSENT.forget(ledger, path)
