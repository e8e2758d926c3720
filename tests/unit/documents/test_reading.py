"""Packed lists as files: shared, and as good as lost once anything about them is wrong."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.digest import Digest, digest_of
from proxy.documents import reading
from proxy.documents.reading import Reading, Summary
from proxy.simplestreams.listing import Entry, Listing, ListingDamaged, pack
from proxy.simplestreams.model import INDEX_FORMAT, PRODUCTS_FORMAT, Index
from proxy.simplestreams.parse import FormatError, parse_document
from proxy.store import listings as store_listings
from proxy.store.files import StoreFault
from proxy.store.listings import Listings, write_sealed
from proxy.store.local.store import LocalStore

TEXT = Digest("ab" * 32)
ENTRY = Entry("a/b", "20250718", Digest("cd" * 32), 5)

LIST = (
    b'{"format": "products:1.0", "content_id": "c", "updated": "Mon, 01 Jan 2024 00:00:00 +0000", "products":'
    b' {"p": {"versions": {"1": {"items": {"i": {"path": "a", "size": 5, "sha256": "'
    + b"ab" * 32
    + b'"}}}}}}}'
)


@pytest.fixture
def listings(tmp_path: Path) -> Listings:
    listings = Listings(tmp_path / "listings")
    with listings.draft() as draft:
        write_sealed(draft, pack([ENTRY]))
        listings.keep(draft, TEXT)
    return listings


@pytest.fixture(params=["here", "apart"])
def reader(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reading:
    """Read in a thread, or in a process of its own."""
    monkeypatch.setattr(reading, "_LARGE_BYTES", 0 if request.param == "apart" else 2**30)
    return Reading(LocalStore(tmp_path), tmp_path / "listings")


def test_a_kept_list_is_found_by_its_text(listings: Listings) -> None:
    found = listings.open(TEXT)
    assert found is not None
    assert list(found) == [ENTRY]
    assert listings.open(Digest("00" * 32)) is None


def test_a_large_list_stays_on_the_disk(listings: Listings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_listings, "_READ_AT_ONCE_BYTES", 0)
    found = listings.open(TEXT)
    assert found is not None
    assert list(found) == [ENTRY]
    assert found.find(ENTRY.path) == ENTRY
    assert ENTRY.digest is not None
    assert found.find_digest(ENTRY.digest) == ENTRY


def test_a_list_on_the_disk_says_what_one_in_memory_does(
    listings: Listings, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [Entry(f"p{n}", str(n % 7), Digest(f"{n:064x}") if n % 3 else None, n % 3) for n in range(3000)]
    entries = [one if one.digest else one._replace(size_bytes=0) for one in entries]
    for text, chosen in ((TEXT, entries), (Digest("cd" * 32), entries[:5])):
        with listings.draft() as draft:
            write_sealed(draft, pack(chosen))
            listings.keep(draft, text)
    in_memory = Listing(pack(entries))
    monkeypatch.setattr(store_listings, "_READ_AT_ONCE_BYTES", 0)
    found, other = listings.open(TEXT), listings.open(Digest("cd" * 32))
    assert found is not None
    assert other is not None

    assert list(found) == list(in_memory)
    assert [found.find(one.path) for one in entries] == entries
    assert found.find("none") is None
    assert all(found.find_digest(one.digest) == one for one in entries if one.digest)
    assert not Listing.are_disjoint([found, other])
    assert Listing.are_disjoint([found, Listing(pack([ENTRY]))])


@pytest.mark.parametrize("left_bytes", [0, 40, 4096])
def test_a_list_that_is_cut_while_it_is_open_is_an_error_and_no_signal(
    listings: Listings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left_bytes: int
) -> None:
    """A mapped one would end the process."""
    entries = [Entry(f"{n}" * 50, "1", Digest(f"{n:064x}"), n) for n in range(3000)]
    with listings.draft() as draft:
        write_sealed(draft, pack(entries))
        listings.keep(draft, TEXT)
    monkeypatch.setattr(store_listings, "_READ_AT_ONCE_BYTES", 0)
    found = listings.open(TEXT)
    assert found is not None
    assert not found.is_damaged
    file = tmp_path / "listings" / TEXT
    file.chmod(0o600)  # Nobody may write to it.
    os.truncate(file, left_bytes)

    with pytest.raises(ListingDamaged):
        list(map(found.find, (one.path for one in entries)))
    assert found.is_damaged
    assert listings.open(TEXT) is None


def test_any_changed_byte_or_missing_end_makes_it_lost(listings: Listings, tmp_path: Path) -> None:
    file = tmp_path / "listings" / TEXT
    good = file.read_bytes()
    for place in range(len(good)):
        for bad in (good[:place], good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]):
            file.unlink(missing_ok=True)  # Nobody may write to it.
            file.write_bytes(bad)
            assert listings.open(TEXT) is None
            assert not file.exists()
    file.write_bytes(good + b"x")
    assert listings.open(TEXT) is None


def test_a_draft_that_is_not_kept_goes(listings: Listings, tmp_path: Path) -> None:
    with listings.draft() as draft:
        assert draft.exists()
    assert [path.name for path in (tmp_path / "listings").iterdir()] == [TEXT]


def test_what_is_not_used_goes_when_it_is_old(listings: Listings, tmp_path: Path) -> None:
    listings.tidy(set())
    assert listings.open(TEXT) is not None
    hour_ago = time.time() - 3700
    os.utime(tmp_path / "listings" / TEXT, (hour_ago, hour_ago))
    listings.tidy({TEXT})
    assert listings.open(TEXT) is not None
    listings.tidy(set())
    assert listings.open(TEXT) is None


def test_a_list_is_summarised_and_packed(reader: Reading) -> None:
    summary = reader.summarise(LIST, TEXT)
    assert (summary.format, summary.content_id, summary.updated) == (PRODUCTS_FORMAT, "c", 1704067200.0)
    packed = reader.listings.open(TEXT)
    assert packed is not None
    assert list(packed) == [Entry("a", "1", Digest("ab" * 32), 5)]


def test_an_index_is_summarised_with_what_it_names(reader: Reading) -> None:
    text = b'{"format": "index:1.0", "index": {"c": {"path": "streams/v1/c.json", "format": "products:1.0"}}}'
    summary = reader.summarise(text, TEXT)
    assert summary.format == INDEX_FORMAT
    index = parse_document(text)
    assert isinstance(index, Index)
    assert summary == Summary(INDEX_FORMAT, "", None, index)
    assert summary.index is not None
    assert [entry.path for entry in summary.index.entries] == ["streams/v1/c.json"]
    assert reader.listings.open(TEXT) is None


def test_a_large_index_is_not_read_by_the_process_that_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_LARGE_BYTES", 0)
    monkeypatch.setattr(reading, "parse_document", None)
    text = b'{"format": "index:1.0", "index": {"c": {"path": "streams/v1/c.json", "format": "products:1.0"}}}'
    assert Reading(LocalStore(tmp_path), tmp_path / "listings").summarise(text, TEXT).index is not None


@pytest.mark.parametrize("text", [b"", b"{}", b"no json", b"[" * 100_000, b'{"format": "products:1.0"}'])
def test_a_text_that_is_no_document_is_refused_with_the_reason(reader: Reading, text: bytes) -> None:
    with pytest.raises(FormatError, match=r"^it"):
        reader.summarise(text, TEXT)


@pytest.mark.parametrize(
    ("other", "is_same"),
    [(LIST.replace(b": ", b":"), True), (LIST.replace(b'"size": 5', b'"size": 6'), False), (b"{", False)],
)
def test_texts_are_compared(reader: Reading, other: bytes, *, is_same: bool) -> None:
    assert reader.says_the_same(LIST, other) is is_same


def test_large_texts_are_not_compared_by_the_process_that_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_LARGE_BYTES", 2 * len(LIST))
    monkeypatch.setattr(reading, "same_statement", None)
    assert Reading(LocalStore(tmp_path), tmp_path / "listings").says_the_same(LIST, LIST)


def test_small_texts_are_compared_without_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "ask_program", None)
    assert Reading(LocalStore(tmp_path), tmp_path / "listings").says_the_same(LIST, LIST)


def test_a_lost_packed_list_is_made_again_from_its_text(reader: Reading, tmp_path: Path) -> None:
    digest = LocalStore(tmp_path).put(LIST)
    made = reader.listing(digest)
    assert made is not None
    assert [entry.path for entry in made] == ["a"]
    assert (tmp_path / "listings" / digest).exists()
    assert reader.listing(digest_of(b"not here")) is None


def test_generations_that_share_a_list_share_its_packed_form(reader: Reading, tmp_path: Path) -> None:
    digest = LocalStore(tmp_path).put(LIST)
    assert reader.listing(digest) is reader.listing(digest)


def test_a_reader_that_dies_is_no_fault_of_the_list(reader: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_LARGE_BYTES", 0)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(StoreFault, match="cannot be read"):
        reader.summarise(LIST, TEXT)
    with pytest.raises(StoreFault, match="the two cannot be compared"):
        reader.says_the_same(LIST, LIST)


def test_where_no_process_can_be_begun_a_list_is_read_and_nothing_is_compared(
    reader: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_LARGE_BYTES", 0)
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    assert reader.summarise(LIST, TEXT).content_id == "c"
    with pytest.raises(StoreFault, match="the two cannot be compared"):
        reader.says_the_same(LIST, LIST)


def test_modules_of_the_current_directory_are_not_run(
    reader: Reading, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('run')")
    monkeypatch.chdir(tmp_path)
    assert reader.summarise(LIST, TEXT).content_id == "c"


def test_a_list_that_cannot_be_kept_by_its_reader_is_served(
    reader: Reading, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As when the disk is full."""
    digest = LocalStore(tmp_path).put(LIST)

    @contextlib.contextmanager
    def draft(_: Listings) -> Iterator[Path]:
        yield Path("/dev/full")

    monkeypatch.setattr(Listings, "draft", draft)
    made = reader.listing(digest)
    assert made is not None
    assert [entry.path for entry in made] == ["a"]


def test_a_list_is_served_though_its_packed_form_cannot_be_kept(reader: Reading, tmp_path: Path) -> None:
    digest = LocalStore(tmp_path).put(LIST)
    (tmp_path / "listings").write_text("no directory")
    made = reader.listing(digest)
    assert made is not None
    assert [entry.path for entry in made] == ["a"]
