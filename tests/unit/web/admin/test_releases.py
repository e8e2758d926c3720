"""What the page says of a release: which version is here, and whether clients find all that they want."""

from collections.abc import Mapping
from typing import Any

import pytest

from proxy.jobs.requested import pin_of
from proxy.jobs.selection import Selection
from proxy.reporting.products import ProductKind, ProductRow, ProductRows, Version
from proxy.simplestreams.filters import Filter
from proxy.web.admin.views.releases import Releases, Shown
from proxy.web.admin.views.visit import Visit

NOBLE = ProductKind("maas", "noble", "amd64")
LOADER = ProductKind("maas", "boot loader grub", "amd64")


def row(versions: Mapping[str, tuple[int, int]], wanted: tuple[int, int], **changes: Any) -> ProductRow:
    """Return a row of versions with (files here, files), of (here, all) files that are wanted now."""
    items = sum(files for _, files in versions.values())
    found = ProductRow(
        items=items,
        cached_items=sum(here for here, _ in versions.values()),
        newest=max(versions),
        key="release",
        is_for_maas=True,
        wanted_here=wanted[0],
        wanted_items=wanted[1],
        wanted_bytes=1024 * wanted[1],
        wanted_bytes_here=1024 * wanted[0],
        versions={name: Version(name, files, here) for name, (here, files) in versions.items()},
    )
    for name, value in changes.items():
        setattr(found, name, value)
    return found


class _Snapshot:
    taken_at = 1.0

    def __init__(self, requested: list[dict[str, Any]], lacking: Mapping[str, str]) -> None:
        self.stats = {"requested": requested, "mirrors": {"maas": {"lacking": lacking}}}


async def shown(
    *rows: tuple[ProductKind, ProductRow],
    search: str = "",
    requested: list[dict[str, Any]] | None = None,
    lacking: Mapping[str, str] | None = None,
) -> list[Shown]:
    class Table:
        async def rows(self) -> ProductRows:
            return ProductRows(list(rows), {})

    class Observer:
        async def snapshot(self) -> _Snapshot:
            return _Snapshot(requested or [], lacking or {})

    page = Releases(Table(), Observer())  # type: ignore[arg-type]
    values = await page.look(Visit(base="http://h", query={"search": search}))
    return [one for found in values["mirrors"].values() for one in found]


@pytest.mark.parametrize(
    ("found", "state", "text"),
    [
        (
            row({"20250718": (5, 5)}, (5, 5)),
            "complete",
            "20250718 here, complete for MAAS; the newest listed",
        ),
        (row({"20250718": (0, 5)}, (0, 5)), "upstream", "only upstream, newest 20250718"),
        (
            row({"20250709": (5, 5), "20250718": (1, 5)}, (1, 5)),
            "partial",
            "20250709 here; 20250718 upstream: 4 of 5 files for MAAS missing, 4.0 KiB",
        ),
        (
            row({"20250709": (2, 5), "20250718": (0, 5)}, (0, 5)),
            "partial",
            "2 of 5 files of 20250709 here; 20250718: 5 of 5 files for MAAS missing, 5.0 KiB",
        ),
        (
            row({"20250718": (2, 5)}, (2, 5), is_for_maas=False),
            "partial",
            "20250718 in part: 3 of 5 files missing, 3.0 KiB",
        ),
        (
            row({"20250709": (5, 5), "20250718": (0, 2)}, (5, 5)),
            "complete",
            "20250709 here, complete for MAAS; 20250718 upstream adds nothing",
        ),
    ],
)
async def test_a_release_is_told_of_as_to_a_colleague(found: ProductRow, state: str, text: str) -> None:
    (one,) = await shown((NOBLE, found))
    assert (one.name, one.state, one.text) == ("noble amd64", state, text)


async def test_no_release_is_complete_for_maas_without_boot_loaders_and_lists() -> None:
    whole = (NOBLE, row({"20250718": (5, 5)}, (5, 5)))
    loader = (LOADER, row({"1": (1, 3)}, (1, 3), is_boot_loader=True, is_for_maas=False))
    without, _ = await shown(loader, whole)
    assert without.state == "partial"
    assert "not complete for MAAS: 2 of 3 boot loader files are missing" in without.text
    (lacking,) = await shown(whole, lacking={"streams/v1/x.sjson": "404"})
    assert "not complete for MAAS: 1 list of the mirror cannot be had" in lacking.text
    other = (NOBLE, row({"20250718": (5, 5)}, (5, 5), is_for_maas=False))
    assert {one.state for one in await shown(other)} == {"complete"}


@pytest.mark.parametrize("is_for_maas", [True, False])
async def test_the_page_knows_its_own_pins_and_what_else_keeps_something(is_for_maas: bool) -> None:
    selection = Selection(maas_releases=("noble",), maas_arches=("amd64",))
    if not is_for_maas:
        selection = Selection(filters=(Filter.parse("release=noble"), Filter.parse("arch=amd64")), newest=1)
    pin = pin_of(("maas",), selection)
    found = row({"1": (5, 5)}, (5, 5), is_for_maas=is_for_maas, pins={pin, "rule lab"})
    (one,) = await shown((NOBLE, found))
    assert one.is_pinned_here
    assert one.other_pins == ["rule lab"]


async def test_what_was_asked_for_is_shown_until_it_has_ended_and_why_it_failed() -> None:
    found = (NOBLE, row({"1": (0, 5)}, (0, 5)))
    asked = {"pin": "prefetch maas: maas=noble arch=amd64", "ended_at": None, "problem": ""}
    assert (await shown(found, requested=[asked]))[0].under_way
    (ended,) = await shown(found, requested=[{**asked, "ended_at": 1.0, "problem": "no room"}])
    assert (ended.under_way, ended.problem) == (False, "no room")


async def test_what_no_filter_can_name_has_no_order() -> None:
    for kind, changes in (
        (LOADER, {"is_boot_loader": True}),
        (ProductKind("maas", "a b", "x"), {}),
        (NOBLE, {"key": ""}),
    ):
        (one,) = await shown((kind, row({"1": (0, 1)}, (0, 1), **changes)))
        assert one.order is None


async def test_releases_are_found_by_name_and_architecture() -> None:
    rows = [(NOBLE, row({"1": (0, 1)}, (0, 1))), (LOADER, row({"1": (0, 1)}, (0, 1)))]
    assert [one.name for one in await shown(*rows, search="NOBLE amd")] == ["noble amd64"]
