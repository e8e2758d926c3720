"""Pins: named wishes to keep blobs, which eviction obeys. Whoever was told of one relies on it.

    pin/<digest>    the names of the pins that keep the blob, a JSON list
    held/<digest>   a pin has let go of it lately, or an export is about to read it; expires by itself

A pin may come before its blob. A record that this release cannot read protects its blob, and is kept
as an entry of the list that takes its place; so is an entry that is no name. Another release
wrote it for a reason.
All methods block, and raise LedgerUnavailable.
"""

from collections.abc import Collection, Iterable
from typing import Any

from proxy.digest import Digest
from proxy.store.ledger import Ledger
from proxy.store.records import Kind, known, of_blobs
from proxy.store.schema import Schema, Unreadable

_PINS: Kind[list[Any]] = Kind("pin/", Schema(list[Any]))
_RELEASED: Kind[Any] = Kind("held/", Schema(object))
_UNREADABLE = "unreadable"


class Pins:
    """The pins of one ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def __repr__(self) -> str:
        return f"<Pins in {self._ledger!r}>"

    def pin_all(self, name: str, digests: Iterable[Digest]) -> None:
        """Keep all these blobs from eviction, for as long as the pin of that name stays."""
        with self._ledger.lasting_transaction():
            for digest in digests:
                self._add(digest, name)

    def unpin(self, digest: Digest, name: str) -> None:
        """Take one named pin back."""
        with self._ledger.lasting_transaction():
            self._take_back(digest, name)

    def repin(self, name: str, digests: Collection[Digest], hold_s: float = 0.0) -> set[Digest]:
        """Make a named pin keep exactly these blobs; return those that it lets go.

        What is let go stays for `hold_s` more: clients may still work from a list that names it.
        """
        with self._ledger.lasting_transaction():
            released = self.pinned_by(name) - set(digests)
            for digest in released:
                self._take_back(digest, name)
                if hold_s > 0:
                    _RELEASED.write(self._ledger, True, digest, expire_s=hold_s)
            for digest in digests:
                self._add(digest, name)
        return released

    def hold(self, digests: Iterable[Digest], hold_s: float) -> None:
        """Keep all these blobs from eviction for so many seconds, whoever asks for that and dies."""
        with self._ledger.lasting_transaction():
            for digest in digests:
                _RELEASED.write(self._ledger, True, digest, expire_s=hold_s)

    def forget(self, digest: Digest) -> None:
        """Take all pins of a blob back, readable or not."""
        with self._ledger.lasting_transaction():
            _PINS.forget(self._ledger, digest)
            _RELEASED.forget(self._ledger, digest)

    def names(self, beginning: str = "") -> dict[Digest, list[str]]:
        """Return the names of the pins of every pinned blob, or of those whose digests begin so."""
        found = of_blobs(_PINS.read_all(self._ledger, beginning))
        named = ((digest, _names(known(entries) or [])) for digest, entries in found.items())
        return {digest: names for digest, names in named if names}

    def pinned_by(self, name: str) -> set[Digest]:
        """Return the digests that a named pin keeps."""
        return {digest for digest, names in self.names().items() if name in names}

    def protected(self) -> set[Digest]:
        """Return the digests that some pin keeps, or that were let go too short a while ago."""
        released = of_blobs(_RELEASED.read_all(self._ledger))
        pinned = of_blobs(_PINS.read_all(self._ledger))
        return {*released, *(digest for digest, entries in pinned.items() if _keeps(entries))}

    def is_protected(self, digest: Digest) -> bool:
        """Whether a digest is one of those that `protected` returns."""
        found = self._ledger.records_at(_PINS.key(digest), _RELEASED.key(digest))
        return _RELEASED.key(digest) in found or _keeps(_PINS.among(self._ledger, found, digest))

    def _add(self, digest: Digest, name: str) -> None:
        found = self._ledger.records_at(_PINS.key(digest))
        entries = _PINS.among(self._ledger, found, digest)
        if isinstance(entries, Unreadable):
            value = found[_PINS.key(digest)]
            entries = [{_UNREADABLE: None if isinstance(value, Unreadable) else value}]
        if name not in (entries or []):
            _PINS.write(self._ledger, _sorted([*(entries or []), name]), digest)

    def _take_back(self, digest: Digest, name: str) -> None:
        entries = known(_PINS.read(self._ledger, digest)) or []
        left = [entry for entry in entries if entry != name]
        if left:
            _PINS.write(self._ledger, left, digest)
        elif entries:
            _PINS.forget(self._ledger, digest)


def _keeps(entries: list[Any] | Unreadable | None) -> bool:
    return isinstance(entries, Unreadable) or bool(entries)


def _names(entries: list[Any]) -> list[str]:
    return [entry for entry in entries if isinstance(entry, str)]


def _sorted(entries: list[Any]) -> list[Any]:
    """Return the names in order, and after them what is no name."""
    return [*sorted(_names(entries)), *(entry for entry in entries if not isinstance(entry, str))]
