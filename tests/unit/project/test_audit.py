"""The audit that the kill loop believes: it finds what is wrong, and nothing else."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from support.audit import take_stock
from support.layout import layout_of

from proxy.digest import Digest, digest_of
from proxy.store.blob_records import BlobRecords
from proxy.store.ledger import Ledger
from proxy.store.local.store import LocalStore
from proxy.store.pins import Pins

DATA = b"a boot image"
DIGEST = digest_of(DATA)
OTHER = digest_of(b"another one")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a data directory with one blob, one partial file, and all that belongs to them."""
    store = LocalStore(tmp_path)
    store.put(DATA)
    (layout_of(store).incoming / OTHER).write_bytes(b"anoth")
    with closing(Ledger(tmp_path / "ledger")) as ledger:
        BlobRecords(ledger).add(DIGEST, len(DATA))
        ledger.write(f"reserved/{OTHER}", 11)
        Pins(ledger).pin_all("test", [DIGEST])
    return tmp_path


def blob(data: Path) -> Path:
    return data / "blobs" / "sha256" / DIGEST[:2] / DIGEST


def rot(data: Path) -> None:
    blob(data).chmod(0o644)
    blob(data).write_bytes(DATA.upper())


def shorten(data: Path) -> None:
    blob(data).chmod(0o644)
    blob(data).write_bytes(DATA[:-1])


def lose_blob(data: Path) -> None:
    blob(data).unlink()


def lose_row(data: Path) -> None:
    with closing(Ledger(data / "ledger")) as ledger:
        BlobRecords(ledger).forget(DIGEST)


def lose_partial(data: Path) -> None:
    (data / "incoming" / OTHER).unlink()


def miscount(data: Path) -> None:
    with closing(sqlite3.connect(data / "ledger" / "blobs" / "cache.db")) as database, database:
        database.execute("UPDATE Cache SET value = '7' WHERE key = 'total'")


def set_aside(data: Path) -> None:
    LocalStore(data).set_aside(DIGEST)


def test_what_is_right_is_not_complained_of(data: Path) -> None:
    found = take_stock(data)

    assert found.faults() == []
    assert found.blobs == found.rows == {DIGEST: len(DATA)}
    assert found.pinned_bytes() == len(DATA)
    assert found.has_all_of(DIGEST, len(DATA))
    assert not found.has_all_of(OTHER, 11)


@pytest.mark.parametrize(
    ("harm", "told", "is_lasting"),
    [
        (rot, "wrong bytes", True),
        (shorten, "its row says 12", True),
        (miscount, "the ledger's total is 7", True),
        (set_aside, "set aside as damaged", True),
        (lose_blob, "has no blob", False),
        (lose_row, "has no row", False),
        (lose_partial, "which nobody fetches", False),
    ],
)
def test_whatever_is_wrong_is_found(
    data: Path, harm: Callable[[Path], None], told: str, *, is_lasting: bool
) -> None:
    """What a kill may leave until the keeper has reconciled is told apart from what may never be."""
    harm(data)
    found = take_stock(data)

    assert any(told in fault for fault in found.faults())
    assert bool(found.lasting_faults()) == is_lasting


def test_a_lost_blob_is_missed(data: Path) -> None:
    lose_blob(data)
    assert not take_stock(data).has_all_of(Digest(DIGEST), len(DATA))
