"""Prefetches that somebody asked for by a page or over HTTP, and what came of them.

    requested/<pin>   what is wanted, by the name of the pin that keeps it; the result expires after a day

All functions block, and raise LedgerUnavailable.
"""

from dataclasses import dataclass

from proxy.errors import ProxyError
from proxy.jobs.selection import Selection
from proxy.readable import counted
from proxy.simplestreams.filters import Filter
from proxy.store.ledger import Ledger
from proxy.store.records import Kind
from proxy.store.schema import Count, Moment, Schema, Unreadable

_MOST_WAITING = 100
_TOLD_FOR_S = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Requested:
    """A prefetch that somebody asked for. Times in Unix seconds, sizes in bytes."""

    mirrors: tuple[str, ...]
    filters: tuple[str, ...] = ()
    maas: tuple[str, ...] = ()
    arch: tuple[str, ...] = ()
    newest: int | None = None
    asked_at: Moment
    ended_at: Moment | None = None
    """None until it has been carried out."""
    problem: str = ""
    """Why it is not complete, "" if it is."""
    fetched_bytes: Count = 0

    def selection(self) -> Selection:
        """Return what is wanted. Raises FilterError."""
        return Selection(
            filters=tuple(map(Filter.parse, self.filters)),
            maas_releases=self.maas,
            maas_arches=self.arch,
            newest=self.newest,
        )


_REQUESTED = Kind("requested/", Schema(Requested))


class TooManyRequested(ProxyError):
    """More prefetches were asked for than are written down."""


def pin_of(mirrors: tuple[str, ...], selection: Selection) -> str:
    """Return what the pin of a selection that was fetched by hand is called."""
    return f"prefetch {' '.join(mirrors)}: {selection}"


def note_request(ledger: Ledger, mirrors: tuple[str, ...], selection: Selection, now: float) -> str:
    """Write down what somebody wants; return the name of the pin. Raises TooManyRequested."""
    name = pin_of(mirrors, selection)
    waiting = [one for one, known in requested(ledger).items() if known.ended_at is None]
    if name not in waiting and len(waiting) >= _MOST_WAITING:
        count = counted(len(waiting), "prefetch is", "prefetches are")
        raise TooManyRequested(f"{count} waiting already")
    record = Requested(
        mirrors=mirrors,
        filters=tuple(one.expression for one in selection.filters),
        maas=selection.maas_releases,
        arch=selection.maas_arches,
        newest=selection.newest,
        asked_at=now,
    )
    _REQUESTED.write(ledger, record, name)
    return name


def requested(ledger: Ledger) -> dict[str, Requested]:
    """Return what was asked for, by the names of the pins."""
    found = _REQUESTED.read_all(ledger)
    return {name: one for name, one in found.items() if not isinstance(one, Unreadable)}


def note_result(ledger: Ledger, name: str, ended: Requested) -> None:
    """Write down what came of a prefetch."""
    _REQUESTED.write(ledger, ended, name, expire_s=_TOLD_FOR_S)
