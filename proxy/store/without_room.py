"""What could not be stored for want of room, for people to see: clients were served past the store."""

import contextlib
from typing import NamedTuple

from proxy.digest import Digest
from proxy.store.files import StoreFault
from proxy.store.ledger import Ledger, is_count
from proxy.store.protocols import ReadStore

_KEY = "without room/"
_TOLD_FOR_S = 86400.0


class WithoutRoom(NamedTuple):
    """A blob that did not fit, not even after eviction."""

    path: str
    size_bytes: int


def note_without_room(ledger: Ledger, digest: Digest, path: str, size_bytes: int) -> None:
    """Note that a blob did not fit. A ledger that cannot take that says so itself. Blocks."""
    with contextlib.suppress(StoreFault):
        ledger.write(_KEY + digest, [path, size_bytes], expire_s=_TOLD_FOR_S)


def read_without_room(ledger: Ledger, store: ReadStore) -> list[WithoutRoom]:
    """Return what did not fit in the last day and is not here now, the largest first. Blocks."""
    found = []
    for key, told in ledger.records(_KEY).items():
        match told:
            case [str() as path, size_bytes] if is_count(size_bytes):
                if not store.has(Digest(key.removeprefix(_KEY))):
                    found.append(WithoutRoom(path, size_bytes))
    return sorted(found, key=lambda one: one.size_bytes, reverse=True)
