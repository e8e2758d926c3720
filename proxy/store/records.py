"""Kinds of records in the ledger: where the keys of each begin, and how its values are read and written.

The module that owns what a record says declares its kind and is the only one to
write it. Whoever reads gets the record, None when there is none, or `Unreadable`
when something is there that this release cannot read: a record of a newer one, or
what is left of one. What that means is for the reader to decide. It must not stop
checks, statistics or upkeep, and nothing may be deleted, unpinned or rolled back as
if there were no record. The log tells of it once for each key.
"""

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from proxy.digest import Digest, is_digest
from proxy.store.ledger import Ledger
from proxy.store.schema import Schema, Unreadable

T = TypeVar("T")


class Kind(Generic[T]):
    """The records whose keys begin alike. What takes the ledger blocks, and raises LedgerUnavailable."""

    def __init__(self, prefix: str, schema: Schema[T]) -> None:
        """Know records by the beginning of their keys; a kind of which there is one has the whole key."""
        self.prefix = prefix
        self.schema = schema

    def key(self, name: str = "") -> str:
        """Return the key of a record, for those who read several kinds with one query."""
        return self.prefix + name

    def read(self, ledger: Ledger, name: str = "") -> T | Unreadable | None:
        """Return a record, None when there is none."""
        return self.among(ledger, ledger.records_at(self.key(name)), name)

    def read_all(self, ledger: Ledger, beginning: str = "") -> dict[str, T | Unreadable]:
        """Return the records by name, or those whose names begin so."""
        found = ledger.records(self.key(beginning))
        return {
            key.removeprefix(self.prefix): self._decode(ledger, key, value) for key, value in found.items()
        }

    def among(self, ledger: Ledger, found: Mapping[str, Any], name: str = "") -> T | Unreadable | None:
        """Return the record that `ledger.records_at` found with others, None when it found none."""
        key = self.key(name)
        return self._decode(ledger, key, found[key]) if key in found else None

    def write(self, ledger: Ledger, record: T, name: str = "", *, expire_s: float | None = None) -> None:
        """Write a record that lasts, or lasts `expire_s`."""
        ledger.write(self.key(name), self.schema.encode(record), expire_s=expire_s)

    def entry(self, record: T, name: str = "") -> dict[str, Any]:
        """Return a record by its key, for those who write several kinds at once with `ledger.write_all`."""
        return {self.key(name): self.schema.encode(record)}

    def forget(self, ledger: Ledger, name: str = "") -> None:
        """Forget a record, if there is one."""
        ledger.forget(self.key(name))

    def names(self, ledger: Ledger) -> list[str]:
        """Return the names of all records, readable or not."""
        return [key.removeprefix(self.prefix) for key in ledger.keys(self.prefix)]

    def _decode(self, ledger: Ledger, key: str, value: Any) -> T | Unreadable:
        record = self.schema.decode(value)
        if isinstance(record, Unreadable):
            ledger.tell_unreadable(key, record.problem)
        return record


def of_blobs(found: Mapping[str, T]) -> dict[Digest, T]:
    """Return what was found of blobs, by digest.

    A name that is no digest is passed over: nobody asks for it, and as a file's it could be any path.
    """
    return {Digest(name): one for name, one in found.items() if is_digest(name)}


def known(record: T | Unreadable | None) -> T | None:
    """Return a record for those to whom one that cannot be read says as little as none.

    Not for whoever would delete, unpin or go back when there is none.
    """
    return None if isinstance(record, Unreadable) else record
