"""What lists name, counted by kind: each content once, kinds without number bounded, damage noticed."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.layout import layout_of

from proxy.digest import Digest, digest_of
from proxy.documents import reading
from proxy.documents.reading import Reading
from proxy.simplestreams.census import CensusDamaged, Kind, kinds_bytes, take_census
from proxy.simplestreams.parse import parse_document
from proxy.store.censuses import Census
from proxy.store.files import StoreFault
from proxy.store.local.store import LocalStore


def products(*items: tuple[str, str, str, int], **fields: str) -> bytes:
    """Write a list of (product, version, digest's letter, size)."""
    found: dict[str, dict[str, Any]] = {}
    for number, (product, version, letter, size) in enumerate(items):
        versions = found.setdefault(product, {**fields, "release": product, "versions": {}})["versions"]
        entries = versions.setdefault(version, {"items": {}})["items"]
        entries[f"i{number}"] = {"path": f"{product}/{number}", "sha256": letter * 64, "size": size}
    return json.dumps({"format": "products:1.0", "content_id": "c", "products": found}).encode()


def census_of(text: bytes) -> Census:
    return Census(take_census(parse_document(text)))  # type: ignore[arg-type]


def test_each_content_counts_once_in_its_kind() -> None:
    text = products(
        ("noble", "2", "a", 5),
        ("noble", "1", "a", 5),
        ("noble", "1", "b", 7),
        ("jammy", "3", "a", 5),
        arch="x",
    )
    census = census_of(text)
    assert census.kinds == [
        Kind("jammy", "x", "3", 1, 5, "release", versions=["3"]),
        Kind("noble", "x", "2", 2, 12, "release", versions=["2", "1"]),
    ]
    first = [tuple(row[:3]) for row in census.rows() if row.is_first]
    assert first == [("a" * 64, 5, 0), ("a" * 64, 5, 1), ("b" * 64, 7, 1)]


def test_what_maas_downloads_is_marked_by_the_newest_version_that_has_any() -> None:
    """A squashfs alone makes no list one for MAAS; LXD's have it too."""
    entries = (("noble", "3", "c", 1), ("noble", "2", "a", 5), ("noble", "1", "a", 5), ("noble", "1", "b", 7))
    text = json.loads(products(*entries, arch="x"))
    for number, ftype in ((1, "squashfs"), (2, "squashfs"), (3, "boot-kernel")):
        version = text["products"]["noble"]["versions"][entries[number][1]]["items"]
        version[f"i{number}"]["ftype"] = ftype
    census = census_of(json.dumps(text).encode())
    told = {(row.digest[0], row.version): (row.is_boot_file, row.is_wanted) for row in census.rows()}
    assert told == {
        ("c", 0): (False, True),
        ("a", 1): (True, True),
        ("a", 2): (True, False),
        ("b", 2): (True, False),
    }
    assert census.kinds[0].is_for_maas
    del text["products"]["noble"]["versions"]["1"]["items"]["i3"]
    assert not census_of(json.dumps(text).encode()).kinds[0].is_for_maas


def test_of_versions_without_number_only_the_newest_are_told_apart() -> None:
    census = census_of(products(*(("noble", f"{n:03}", "a", 5) for n in range(60)), arch="x"))
    assert census.kinds[0].versions == [f"{n:03}" for n in range(59, 9, -1)]
    assert sum(row.version is None for row in census.rows()) == 10


def test_boot_loaders_are_kinds_of_their_own_and_what_is_not_said_is_shown_as_such() -> None:
    text = json.loads(products(("grub", "1", "a", 5)))
    text["products"]["grub"] |= {"bootloader-type": "uefi", "os": "grub-efi"}
    assert [(one.release, one.arch) for one in census_of(json.dumps(text).encode()).kinds] == [
        ("boot loader grub-efi", "-")
    ]


def test_what_nothing_proves_is_not_counted() -> None:
    text = json.loads(products(("noble", "1", "a", 5)))
    del text["products"]["noble"]["versions"]["1"]["items"]["i0"]["sha256"]
    census = census_of(json.dumps(text).encode())
    assert (census.kinds, list(census.rows())) == ([], [])


def test_of_kinds_without_number_the_small_ones_are_one() -> None:
    few = [(f"r{number}", "1", "0123456789abcdef"[number % 16], number) for number in range(2000)]
    census = census_of(products(("large", "1", "a", 5), ("large", "1", "b", 5), *few))
    assert len(census.kinds) == 501
    assert sum(kind.files for kind in census.kinds if kind.release != "all others") == 501
    assert "all others" in {kind.release for kind in census.kinds}


def test_a_census_that_is_none_is_noticed() -> None:
    good = take_census(parse_document(products(("noble", "1", "a", 5))))  # type: ignore[arg-type]
    for bad in (b"", good[:20], b"x" + good[1:40]):
        with pytest.raises(CensusDamaged):
            kinds_bytes(bad[:40])


@pytest.fixture
def text(tmp_path: Path) -> tuple[LocalStore, Digest]:
    store = LocalStore(tmp_path)
    return store, store.put(products(("noble", "1", "a", 5), arch="x"))


def test_a_large_list_is_counted_apart_and_once(
    text: tuple[LocalStore, Digest], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, digest = text
    monkeypatch.setattr(reading, "_LARGE_BYTES", 0)
    first = Reading(store, layout_of(store).root / "listings").census(digest)
    assert first is not None
    monkeypatch.setattr(reading, "program", None)
    again = Reading(store, layout_of(store).root / "listings").census(digest)
    assert again is not None
    assert first.kinds == again.kinds == [Kind("noble", "x", "1", 1, 5, "release", versions=["1"])]
    assert list(first.rows()) == list(again.rows())
    assert [row[:4] for row in first.rows()] == [("a" * 64, 5, 0, 0)]


def test_a_damaged_census_is_taken_again(
    text: tuple[LocalStore, Digest], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, digest = text
    monkeypatch.setattr(reading, "_LARGE_BYTES", 0)
    assert Reading(store, layout_of(store).root / "listings").census(digest) is not None
    (file,) = (layout_of(store).root / "listings").glob("*.census")
    file.chmod(0o600)
    file.write_bytes(file.read_bytes().replace(b"noble", b"jammy"))
    again = Reading(store, layout_of(store).root / "listings").census(digest)
    assert again is not None
    assert [kind.release for kind in again.kinds] == ["noble"]


@pytest.mark.parametrize("large_bytes", [0, 2**30])
def test_a_text_that_cannot_be_counted_is_a_fault_of_the_store_and_one_that_is_lost_is_none(
    text: tuple[LocalStore, Digest], monkeypatch: pytest.MonkeyPatch, large_bytes: int
) -> None:
    store, digest = text
    monkeypatch.setattr(reading, "_LARGE_BYTES", large_bytes)
    path = layout_of(store).path(digest)
    path.chmod(0o600)
    path.write_bytes(b"{}")
    with pytest.raises(StoreFault, match="cannot be counted"):
        Reading(store, layout_of(store).root / "listings").census(digest)
    path.unlink()
    assert Reading(store, layout_of(store).root / "listings").census(digest) is None


def test_only_one_process_counts_at_a_time(
    text: tuple[LocalStore, Digest], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, digest = text
    monkeypatch.setattr(reading, "_LARGE_BYTES", 0)
    one, other = (
        Reading(store, layout_of(store).root / "listings"),
        Reading(store, layout_of(store).root / "listings"),
    )
    with one._censuses.turn() as is_ours:
        assert is_ours
        assert other.census(digest) is None
    assert other.census(digest) is not None


def test_a_census_under_way_ends_with_whoever_wanted_it(tmp_path: Path) -> None:
    """A stop does not wait for half a minute of counting."""
    store = LocalStore(tmp_path)
    many = products(*((f"p{n // 100}", "1", "0123456789abcdef"[n % 16], n) for n in range(300_000)))
    digest = store.put(many)
    reader = Reading(store, layout_of(store).root / "listings")

    with ThreadPoolExecutor(1) as pool:
        counting = pool.submit(reader.census, digest)
        while reader._counting is None and not counting.done():
            time.sleep(0.001)
        reader.stop()
        with pytest.raises(StoreFault, match="cannot be counted"):
            counting.result(20)
    assert digest == digest_of(many)
