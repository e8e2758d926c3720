"""Which tables of a ledger are set aside: those that SQLite cannot read, and no others."""

import contextlib
import sqlite3
from pathlib import Path

import pytest
from support.running import Clock

from proxy.store.ledger import Ledger
from proxy.store.recovery import set_damaged_ledger_aside


@pytest.fixture
def directory(tmp_path: Path, clock: Clock) -> Path:
    """Return a ledger with a record, which nobody has open."""
    with contextlib.closing(Ledger(tmp_path / "ledger", clock)) as ledger:
        for number in range(200):
            ledger.write(f"key/{number}", "value" * 20)
    return tmp_path / "ledger"


def database(directory: Path, table: str = "records") -> Path:
    return directory / table / "cache.db"


def change(directory: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(database(directory))) as connection, connection:
        connection.execute(statement)


def test_what_can_be_read_stays(directory: Path, tmp_path: Path) -> None:
    assert set_damaged_ledger_aside(directory) == []
    assert set_damaged_ledger_aside(tmp_path / "none") == []
    assert database(directory).exists()


@pytest.mark.parametrize("table", ["records", "blobs"])
def test_what_is_no_database_is_set_aside_alone(directory: Path, table: str) -> None:
    database(directory, table).write_bytes(b"no database at all, of some length")
    [aside] = set_damaged_ledger_aside(directory)
    assert aside.parent == directory
    assert aside.name.startswith(f"damaged-{table}-")
    assert (aside / "cache.db").read_bytes().startswith(b"no database")
    assert not (directory / table).exists()
    other = "blobs" if table == "records" else "records"
    assert database(directory, other).exists()


def test_a_damaged_page_is_found(directory: Path) -> None:
    path = database(directory)
    data = bytearray(path.read_bytes())
    assert len(data) > 3 * 4096
    for start in range(4096, len(data), 4096):
        data[start : start + 64] = b"\xff" * 64
    path.write_bytes(data)
    assert len(set_damaged_ledger_aside(directory)) == 1


@pytest.mark.parametrize("table", ["Cache", "Settings"])
def test_a_table_that_is_lost_is_damage(directory: Path, table: str) -> None:
    change(directory, f"DROP TABLE {table}")
    assert len(set_damaged_ledger_aside(directory)) == 1


def test_a_database_that_was_only_begun_is_gone_on_with(tmp_path: Path) -> None:
    path = database(tmp_path)
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE Settings (key TEXT, value)")
    assert set_damaged_ledger_aside(tmp_path) == []


@pytest.mark.parametrize("is_gone", [True, False])
def test_an_empty_file_with_a_log_of_changes_is_damage(directory: Path, *, is_gone: bool) -> None:
    path = database(directory)
    path.write_bytes(b"")
    if is_gone:
        path.unlink()
    assert set_damaged_ledger_aside(directory) == []
    log = path.with_name("cache.db-wal")
    log.write_bytes(b"")
    assert set_damaged_ledger_aside(directory) == []
    log.write_bytes(b"changes")
    [aside] = set_damaged_ledger_aside(directory)
    assert (aside / "cache.db-wal").read_bytes() == b"changes"


def test_what_cannot_be_opened_is_no_reason_to_throw_it_away(tmp_path: Path) -> None:
    path = database(tmp_path)
    path.mkdir(parents=True)  # SQLite says "unable to open database file".
    assert set_damaged_ledger_aside(tmp_path) == []
    assert path.is_dir()
