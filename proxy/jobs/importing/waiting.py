"""Generations that were imported and are not complete: kept until they are, or until a newer one is served.

    waiting/MIRROR      a list of them; their contents are blobs, which pins keep

A record that cannot be read says that nothing waits: whoever imports the bundle again has it
wait again, and what its pins keep stays. All functions block, and raise LedgerUnavailable.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from proxy.digest import Digest
from proxy.store.ledger import Ledger
from proxy.store.records import Kind, known
from proxy.store.schema import Count, Moment, Schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One such generation."""

    contents: Digest
    """Of the text that says what it needs, which is in the store."""
    generation: Count
    """Its number at the site that wrote it."""
    updated: Moment | None = None
    """The date that its index states, Unix seconds."""
    accepted_at: Moment
    """When the site that wrote it accepted it."""
    pin: str
    """The name that keeps what is here of it."""
    bundle: str = ""
    """Where it was read from."""
    since: Moment
    missing_files: Count = 0
    missing_bytes: Count = 0
    """What it lacked when somebody looked last."""
    unprovable: tuple[str, ...] = ()
    """Items of it that its lists name without saying what proves them: these are not waited for."""
    accepts_older: bool = False
    """Whether an operator lets it replace what is newer."""

    @property
    def age(self) -> tuple[float, int]:
        """What grows from one generation to the next, at the site that wrote them."""
        return self.accepted_at, self.generation


_WAITING: Kind[tuple[Waiting, ...]] = Kind("waiting/", Schema(tuple[Waiting, ...]))


def waiting_generations(ledger: Ledger, mirror: str) -> tuple[Waiting, ...]:
    """Return the generations of a mirror that wait, the oldest first."""
    found = known(_WAITING.read(ledger, mirror)) or ()
    return tuple(sorted(found, key=lambda one: one.age))


def all_waiting(ledger: Ledger) -> dict[str, tuple[Waiting, ...]]:
    """Return the generations that wait, by mirror."""
    return {mirror: known(found) or () for mirror, found in _WAITING.read_all(ledger).items()}


def keep_waiting(ledger: Ledger, mirror: str, one: Waiting) -> None:
    """Record that a generation waits, in the place of what was recorded of it."""
    _change(ledger, mirror, lambda found: (*(it for it in found if it.contents != one.contents), one))


def end_waiting(ledger: Ledger, mirror: str, contents: Sequence[Digest]) -> None:
    """Record that generations do not wait any more."""
    _change(ledger, mirror, lambda found: tuple(it for it in found if it.contents not in contents))


def _change(
    ledger: Ledger, mirror: str, change: Callable[[tuple[Waiting, ...]], tuple[Waiting, ...]]
) -> None:
    with ledger.lasting_transaction():
        left = change(waiting_generations(ledger, mirror))
        if left:
            _WAITING.write(ledger, left, mirror)
        else:
            _WAITING.forget(ledger, mirror)
