"""Releases as people think of them: which version is here, whether it is complete, and what can be done."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from proxy.readable import counted, size
from proxy.reporting.problems import find_waiting
from proxy.reporting.products import ProductKind, ProductRow, ProductTable
from proxy.reporting.snapshot import Observer
from proxy.web.admin.views.visit import Visit

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_+:")


@dataclass(frozen=True, slots=True)
class Shown:
    """A row of the page."""

    kind: ProductKind
    row: ProductRow
    state: str
    """One word: complete, partial, upstream."""
    text: str
    order: dict[str, Any] | None
    """What an action is told that means it; None for what no selection means."""
    pin: str
    """What the page's own pin of it is called."""
    under_way: bool
    """Whether it is being fetched because somebody asked for it."""
    problem: str
    """Why the last fetch that was asked for is not complete."""

    @property
    def name(self) -> str:
        """What people call it."""
        return self.kind.release if self.kind.arch == "-" else f"{self.kind.release} {self.kind.arch}"

    @property
    def is_pinned_here(self) -> bool:
        """Whether a pin keeps it that the page can let go of."""
        return self.pin in self.row.pins

    @property
    def other_pins(self) -> list[str]:
        """What else keeps some of it."""
        return sorted(self.row.pins - {self.pin})


class Releases:
    """Shows what lists name by release and architecture, and has it fetched, pinned and let go."""

    def __init__(self, table: ProductTable, observer: Observer) -> None:
        self._table = table
        self._observer = observer

    async def look(self, visit: Visit) -> dict[str, Any]:
        """Return what the page shows."""
        snapshot, products = await self._observer.snapshot(), await self._table.rows()
        asked = {one["pin"]: one for one in snapshot.stats["requested"]}
        wanted = visit.text("search").lower()
        shown = {}
        for mirror, its_rows in groupby(products.rows, key=lambda one: one[0].mirror):
            rows = list(its_rows)
            lacking = snapshot.stats["mirrors"].get(mirror, {}).get("lacking") or {}
            extra = _what_else_maas_needs(rows, lacking)
            found = sorted(rows, key=lambda one: one[1].is_boot_loader)
            shown[mirror] = [_shown(kind, row, extra, asked) for kind, row in found if wanted in _words(kind)]
        return {
            "stats": snapshot.stats,
            "now": snapshot.taken_at,
            "mirrors": shown,
            "uncounted": products.uncounted,
            "search": visit.text("search"),
            "waiting": find_waiting(snapshot.stats),
        }


def _words(kind: ProductKind) -> str:
    return f"{kind.mirror} {kind.release} {kind.arch}".lower()


def _what_else_maas_needs(rows: list[tuple[ProductKind, ProductRow]], lacking: Mapping[str, str]) -> str:
    """Say what a mirror's every MAAS release lacks, "" for nothing: boot loaders come with any of them."""
    loaders = [row for _, row in rows if row.is_boot_loader]
    missing = sum(row.wanted_items - row.wanted_here for row in loaders)
    if missing:
        files = sum(row.wanted_items for row in loaders)
        return f"{missing} of {counted(files, 'boot loader file')} are missing, which come with any release"
    return f"{counted(len(lacking), 'list')} of the mirror cannot be had" if lacking else ""


def _shown(kind: ProductKind, row: ProductRow, extra: str, asked: Mapping[str, dict[str, Any]]) -> Shown:
    order = _order(kind, row)
    pin = "" if order is None else _pin(kind, row)
    known = asked.get(pin)
    is_complete = row.is_complete and not (extra and row.is_for_maas)
    state = "complete" if is_complete else "partial" if row.cached_items or row.partial_items else "upstream"
    under_way = known is not None and known["ended_at"] is None
    problem = known["problem"] if known is not None and not under_way else ""
    return Shown(kind, row, state, _text(row, extra), order, pin, under_way, problem)


def _text(row: ProductRow, extra: str) -> str:
    """Say which version is here, and whether it is all that clients want: in words, as to a colleague."""
    whole, begun = row.newest_whole, row.newest_begun
    if begun is None and not row.cached_items and not row.partial_items:
        return f"only upstream, newest {row.newest}"
    purpose = " for MAAS" if row.is_for_maas else ""
    if row.is_complete:
        here = f"{whole or row.newest} here"
        if extra and row.is_for_maas:
            return f"{here}, but not complete for MAAS: {extra}"
        newest = "the newest listed" if whole in {"", row.newest} else f"{row.newest} upstream adds nothing"
        return f"{here}, complete{purpose}; {newest}"
    missing = row.wanted_items - row.wanted_here
    lack = (
        f"{missing} of {counted(row.wanted_items, 'file')}{purpose} missing, "
        f"{size(max(0, row.wanted_bytes - row.wanted_bytes_here))}"
    )
    if whole and whole != row.newest:
        return f"{whole} here; {row.newest} upstream: {lack}"
    if begun is not None and begun.name != row.newest:
        return f"{begun.here} of {counted(begun.files, 'file')} of {begun.name} here; {row.newest}: {lack}"
    return f"{row.newest} in part: {lack}"


def _order(kind: ProductKind, row: ProductRow) -> dict[str, Any] | None:
    """Return what selects the newest version of a kind; None if its names need more than a filter."""
    if row.is_boot_loader or not row.key or not (_is_plain(kind.release) and _is_plain(kind.arch)):
        return None
    if row.is_for_maas and row.key == "release":
        return {"mirrors": [kind.mirror], "maas": [kind.release], "arch": [kind.arch]}
    filters = [f"{row.key}={kind.release}", *([] if kind.arch == "-" else [f"arch={kind.arch}"])]
    return {"mirrors": [kind.mirror], "filters": filters, "max": 1}


def _pin(kind: ProductKind, row: ProductRow) -> str:
    """Return the name that `pin_of` gives to the order's selection."""
    if row.is_for_maas and row.key == "release":
        return f"prefetch {kind.mirror}: maas={kind.release} arch={kind.arch}"
    arch = "" if kind.arch == "-" else f" arch={kind.arch}"
    return f"prefetch {kind.mirror}: {row.key}={kind.release}{arch} max=1"


def _is_plain(name: str) -> bool:
    return bool(name) and set(name) <= _PLAIN
