"""Names in the ledger that are no digests: as a blob's file they could be any path, and they stop nothing."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.keeping import Keeping
from support.running import Clock

from proxy.digest import digest_of
from proxy.store.ledger import Ledger
from proxy.store.limits import StoreLimits
from proxy.store.local.store import LocalStore
from proxy.store.without_room import read_without_room

DATA = bytes(60)
OURS = digest_of(DATA)
NEW = digest_of(b"new")
DEAD = [4_000_000, 1]
"""A process that is no more."""
LETTER = "letter"
"""A file beside the data directory."""
ODD = (
    "",
    ".",
    "a\0b",
    "x" * 300,
    "é\n\N{GRINNING FACE}",
    OURS.upper(),
    f"../../{LETTER}",
    f"../../../../{LETTER}",
)


@pytest.fixture
def letter(tmp_path: Path) -> Path:
    letter = tmp_path / LETTER
    letter.write_bytes(DATA)
    return letter


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path / "data")
    store.put(DATA)
    return store


@pytest.fixture
def ledger(tmp_path: Path, store: LocalStore, clock: Clock) -> Iterator[Ledger]:  # noqa: ARG001 - made first
    with closing(Ledger(tmp_path / "data" / "ledger", clock)) as ledger:
        yield ledger


@pytest.fixture
def keeping(store: LocalStore, ledger: Ledger) -> Keeping:
    keeping = Keeping(store, ledger, StoreLimits(limit_bytes=100, min_free_bytes=0))
    keeping.blobs.add(OURS, len(DATA))
    return keeping


def insert(ledger: Ledger, table: str, key: str, value: object) -> None:
    """Write what no method of the ledger would."""
    with closing(sqlite3.connect(ledger.directory / table / "cache.db", isolation_level=None)) as database:
        database.execute(
            "INSERT INTO Cache (key, raw, store_time, access_time, access_count, size, mode, value)"
            " VALUES (?, 1, 0, 0, 0, 0, 1, ?)",
            (key, json.dumps(value)),
        )


@pytest.fixture(params=ODD, ids=lambda name: f"{name!r:.30}")
def name(request: pytest.FixtureRequest, ledger: Ledger, keeping: Keeping) -> str:  # noqa: ARG001 - made first
    """Return a name that stands wherever a digest should."""
    name: str = request.param
    insert(ledger, "blobs", name, [60, 1.0])
    for key, value in {
        "reserved/": 60,
        "filling/": ["label", 60, 0, 1.0, DEAD],
        "pin/": ["somebody"],
        "held/": True,
        "without room/": ["path", 5],
    }.items():
        insert(ledger, "records", key + name, value)
    return name


def test_upkeep_goes_on_and_room_is_made_of_blobs_only(
    name: str, letter: Path, store: LocalStore, keeping: Keeping
) -> None:
    assert keeping.reservations.total_bytes() == 0
    assert keeping.reservations.arriving() == []
    assert [usage.digest for usage in keeping.eviction.candidates()] == [OURS]
    assert keeping.reserve(NEW, 90)
    assert not store.has(OURS)

    keeping.reconcile()

    assert keeping.blobs.count() == 0
    assert letter.read_bytes() == DATA
    assert name not in keeping.blobs.proofs()


def test_whoever_asks_for_pins_is_told_of_blobs(
    name: str, store: LocalStore, ledger: Ledger, keeping: Keeping
) -> None:
    assert name not in keeping.pins.protected()
    keeping.pins.pin_all("somebody", [OURS])
    assert keeping.pins.names() == {OURS: ["somebody"]}
    assert keeping.pins.protected() == {OURS}
    assert keeping.pins.repin("somebody", []) == {OURS}
    assert read_without_room(ledger, store) == []
