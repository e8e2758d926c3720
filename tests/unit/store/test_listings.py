"""Packed lists as files: whole ones are used, damaged ones go, and drafts leave nothing behind."""

import os
import time
from pathlib import Path

import pytest

from proxy.digest import digest_of
from proxy.simplestreams.listing import Entry, Listing, pack
from proxy.store import listings as module
from proxy.store.listings import Listings, write_sealed

TEXT = digest_of(b"text")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return where packed lists lie."""
    return tmp_path / "listings"


@pytest.fixture
def listings(folder: Path) -> Listings:
    """Return none yet."""
    return Listings(folder)


def packed() -> bytes:
    return pack([Entry("a/b", "20250101", digest_of(b"item"), 4)])


def keep(listings: Listings) -> None:
    with listings.draft() as draft:
        write_sealed(draft, packed())
        listings.keep(draft, TEXT)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def paths_of(found: Listing | None) -> list[str]:
    assert found is not None
    return [one.path for one in found]


def test_what_was_kept_is_opened(listings: Listings, folder: Path) -> None:
    assert listings.open(TEXT) is None
    keep(listings)
    assert paths_of(listings.open(TEXT)) == ["a/b"]
    assert names_in(folder) == {TEXT}
    assert (folder / TEXT).stat().st_mode & 0o777 == 0o444


def test_large_ones_stay_on_the_disk(listings: Listings, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(listings)
    monkeypatch.setattr(module, "_READ_AT_ONCE_BYTES", 1)
    assert paths_of(listings.open(TEXT)) == ["a/b"]


def test_the_seal_is_found_however_much_is_read_at_once(
    listings: Listings, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(listings)
    for step in (1, 7, len(packed()), len(packed()) + 1):
        monkeypatch.setattr(module, "_STEP_BYTES", step)
        assert paths_of(listings.open(TEXT)) == ["a/b"]


@pytest.mark.parametrize("place", [0, -40, -33, -32, -1])
def test_a_changed_byte_makes_it_lost(listings: Listings, folder: Path, place: int) -> None:
    keep(listings)
    data = bytearray((folder / TEXT).read_bytes())
    data[place] ^= 1
    (folder / TEXT).unlink()
    (folder / TEXT).write_bytes(data)
    assert listings.open(TEXT) is None
    assert not (folder / TEXT).exists()


@pytest.mark.parametrize("left", [0, 1, 31, 32, 33, -1])
def test_one_that_was_cut_is_lost(listings: Listings, folder: Path, left: int) -> None:
    keep(listings)
    data = (folder / TEXT).read_bytes()[:left]
    (folder / TEXT).unlink()
    (folder / TEXT).write_bytes(data)
    assert listings.open(TEXT) is None
    assert not (folder / TEXT).exists()


def test_a_draft_that_is_not_kept_goes(listings: Listings, folder: Path) -> None:
    with listings.draft() as draft:
        assert draft.parent == folder
        draft.write_bytes(b"half")
    assert names_in(folder) == set()


def test_what_nobody_uses_goes_when_it_is_old(listings: Listings, folder: Path) -> None:
    listings.tidy(set())  # Before there is a folder.
    folder.mkdir()
    now = time.time()
    used, unused = digest_of(b"used"), digest_of(b"unused")
    ages = {
        used: 8000.0,
        f"{used}.census": 8000.0,
        unused: 8000.0,
        f"{unused}.contents": 8000.0,
        "old.draft": 8000.0,
        digest_of(b"young"): 3000.0,
        "young.draft": 0.0,
        digest_of(b"ahead"): -100_000.0,
    }
    for name, age_s in ages.items():
        (folder / name).write_bytes(b"")
        os.utime(folder / name, (now - age_s, now - age_s))
    listings.tidy({used})
    assert names_in(folder) == {
        used,
        f"{used}.census",
        digest_of(b"young"),
        "young.draft",
        digest_of(b"ahead"),
    }
    assert abs((folder / digest_of(b"ahead")).stat().st_mtime - now) < 1000.0
