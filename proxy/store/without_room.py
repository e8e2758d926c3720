"""What could not be stored for want of room, for people to see: clients were served past the store.

without room/<digest>   [its path, its size in bytes]; expires by itself after a day
"""

import contextlib

from proxy.digest import Digest
from proxy.store.files import StoreFault
from proxy.store.ledger import Ledger
from proxy.store.protocols import ReadStore
from proxy.store.records import Kind, known, of_blobs
from proxy.store.schema import Count, Row, Schema

_TOLD_FOR_S = 86400.0


class WithoutRoom(Row, frozen=True):
    """A blob that did not fit, not even after eviction."""

    path: str
    size_bytes: Count


_WITHOUT_ROOM = Kind("without room/", Schema(WithoutRoom))


def record_without_room(ledger: Ledger, digest: Digest, path: str, size_bytes: int) -> None:
    """Record that a blob did not fit. A ledger that cannot take that says so itself. Blocks."""
    with contextlib.suppress(StoreFault):
        _WITHOUT_ROOM.write(ledger, WithoutRoom(path, size_bytes), digest, expire_s=_TOLD_FOR_S)


def read_without_room(ledger: Ledger, store: ReadStore) -> list[WithoutRoom]:
    """Return what did not fit in the last day and is not here now, the largest first. Blocks."""
    found = of_blobs(_WITHOUT_ROOM.read_all(ledger))
    told = ((digest, known(one)) for digest, one in found.items())
    missing = [one for digest, one in told if one is not None and not store.has(digest)]
    return sorted(missing, key=lambda one: one.size_bytes, reverse=True)
