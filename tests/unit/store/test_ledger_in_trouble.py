"""The ledger when SQLite gives out, and when clocks were wrong."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from support.failing_disk import locked
from support.ledger_rows import ONE, TWO, fill, rows
from support.running import Clock
from support.stored import recorded
from support.tampering import tamper

from proxy.store.blob_records import BlobRecords, Proof
from proxy.store.ledger import Ledger, LedgerUnavailable
from proxy.store.pins import Pins

# SQLite gives out


def test_a_ledger_that_is_no_database_is_unavailable(directory: Path) -> None:
    (directory / "records").mkdir(parents=True)
    (directory / "records" / "cache.db").write_bytes(b"this is not SQLite" * 1000)
    with (
        closing(Ledger(directory)) as ledger,
        pytest.raises(LedgerUnavailable, match="the ledger cannot be used: file is not a database"),
    ):
        recorded(ledger, "key")


def test_a_ledger_without_a_place_is_unavailable_until_it_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.store.ledger._OPENING_PAUSE_S", 0.0)
    (tmp_path / "file").touch()
    with closing(Ledger(tmp_path / "file" / "ledger")) as ledger:
        with pytest.raises(LedgerUnavailable):
            recorded(ledger, "key")
        (tmp_path / "file").unlink()
        fill(ledger)
        assert BlobRecords(ledger).total_bytes() == 10


def test_a_lock_that_somebody_keeps_is_waited_for_once(
    ledger: Ledger, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not by everybody who comes after: clients stand behind it."""
    waited: list[int] = []
    monkeypatch.setattr("proxy.store.table.PATIENCE_S", 0.2)
    monkeypatch.setattr("proxy.store.table._LEFT_PATIENCE_S", 0.001)
    with locked(directory / "records" / "cache.db"):
        for _ in range(3):
            with pytest.raises(LedgerUnavailable, match="locked"):
                ledger.write("key", 1)
            waited.append(ledger._records._con.execute("PRAGMA busy_timeout").fetchone()[0])
        BlobRecords(ledger).add(ONE, 10)
    ledger.write("key", 2)
    ledger.write("key", 3)

    assert waited == [200, 1, 1]
    assert ledger._records._con.execute("PRAGMA busy_timeout").fetchone() == (200,)
    assert recorded(ledger, "key") == 3


def test_a_transaction_that_cannot_end_changes_nothing_and_the_next_one_can(ledger: Ledger) -> None:
    """As on a disk that is full: SQLite says so when it commits."""
    ledger.write("key", 1)
    limit = ledger._records._con.execute("PRAGMA page_count").fetchone()[0]
    ledger._records._con.execute(f"PRAGMA max_page_count = {limit}")

    def change() -> None:
        with ledger.transaction():
            ledger.write("key", 2)
            ledger.write("other", "x" * 100_000)

    with pytest.raises(LedgerUnavailable, match="full"):
        change()
    assert recorded(ledger, "key") == 1

    ledger._records._con.execute("PRAGMA max_page_count = 1000000")
    ledger.write("key", 3)
    assert recorded(ledger, "key") == 3


def test_what_ended_a_transaction_is_told_even_if_it_cannot_be_undone(ledger: Ledger) -> None:
    def allow(action: int, what: str | None, *_: str | None) -> int:
        is_undoing = action == sqlite3.SQLITE_TRANSACTION and what == "ROLLBACK"
        return sqlite3.SQLITE_DENY if is_undoing else sqlite3.SQLITE_OK

    connection = ledger._records._con
    connection.set_authorizer(allow)
    with pytest.raises(ZeroDivisionError), ledger.transaction():
        raise ZeroDivisionError
    connection.set_authorizer(None)
    assert connection.in_transaction
    connection.execute("ROLLBACK")


def test_a_ledger_that_somebody_removed_begins_anew(ledger: Ledger, directory: Path) -> None:
    fill(ledger)
    with closing(Ledger(directory)) as of_another_worker:
        assert BlobRecords(of_another_worker).total_bytes() == 10
        shutil.rmtree(directory)

        assert BlobRecords(of_another_worker).total_bytes() == 0
        BlobRecords(of_another_worker).add(TWO, 20)
        assert BlobRecords(ledger).total_bytes() == 20


@pytest.mark.parametrize("is_open", [True, False], ids=["open", "opened later"])
@pytest.mark.parametrize("is_twice", [True, False], ids=["rows twice", "each row once"])
def test_a_table_whose_index_somebody_lost_gets_another(
    directory: Path, caplog: pytest.LogCaptureFixture, *, is_open: bool, is_twice: bool
) -> None:
    """As by salvaging what a damaged file holds: of what that finds twice the newest counts."""
    with closing(Ledger(directory)) as first, closing(Ledger(directory)) as second:
        fill(first)
        BlobRecords(second).add(TWO, 5)
        if is_open:
            lose_index(directory, is_twice=is_twice)
        first.try_out()
        BlobRecords(second).touch({ONE: 6.0, TWO: 7.0})
    if not is_open:
        lose_index(directory, is_twice=is_twice)
    with closing(Ledger(directory)) as third:
        assert BlobRecords(third).used_at([ONE, TWO]) == {ONE: 6.0, TWO: 7.0}
        assert BlobRecords(third).sizes_and_total([ONE, TWO]) == ({ONE: 10, TWO: 5}, 15)
        assert BlobRecords(third).count() == len(rows(directory, "blobs")) - 1 == 2
    told = [message for message in caplog.messages if "ledger.rows_dropped" in message]
    assert ["rows=3 problem=newer rows" in message for message in told] == [True] * is_twice


@pytest.mark.parametrize("loss", ["DROP TRIGGER Settings_count_insert", "DELETE FROM Settings"])
def test_blobs_are_counted_whatever_was_lost_of_their_count(
    ledger: Ledger, directory: Path, loss: str
) -> None:
    """Also after the next start, which makes the count anew, from nothing."""
    fill(ledger)
    with closing(sqlite3.connect(directory / "blobs" / "cache.db")) as database:
        database.execute(loss)
        database.commit()
    BlobRecords(ledger).add(TWO, 5)
    assert BlobRecords(ledger).count() == 2
    with closing(Ledger(directory)) as later:
        assert BlobRecords(later).count() == 2


def lose_index(directory: Path, *, is_twice: bool) -> None:
    """Lose what holds each key of the blobs to one row, and have older rows of the same keys."""
    with closing(sqlite3.connect(directory / "blobs" / "cache.db")) as database:
        database.execute("DROP INDEX Cache_key_raw")
        if is_twice:
            database.execute(
                "INSERT INTO Cache (key, raw, store_time, mode, value)"
                " SELECT key, raw, store_time - 60, mode, '[99,1.0]' FROM Cache"
            )
        database.commit()


@pytest.mark.parametrize("table", ["records", "blobs"])
def test_whether_the_ledger_can_be_written_is_tried_out(ledger: Ledger, directory: Path, table: str) -> None:
    fill(ledger)
    before = rows(directory, "records"), rows(directory, "blobs")
    ledger.try_out()
    assert (rows(directory, "records"), rows(directory, "blobs")) == before

    tamper(directory, table, "DROP TABLE Cache")
    with pytest.raises(LedgerUnavailable):
        ledger.try_out()


def test_a_table_that_breaks_later_is_unavailable(ledger: Ledger, directory: Path) -> None:
    fill(ledger)
    tamper(directory, "records", "DROP TABLE Cache")

    def change() -> None:
        with ledger.transaction():
            ledger.write("key", 1)

    uses = (
        lambda: recorded(ledger, "key"),
        lambda: ledger.write("key", 1),
        lambda: ledger.forget("key"),
        lambda: list(ledger.keys("")),
        Pins(ledger).names,
        change,
    )
    for use in uses:
        with pytest.raises(LedgerUnavailable):
            use()
    assert BlobRecords(ledger).total_bytes() == 10


# Clocks that were wrong


def test_what_a_clock_ahead_wrote_to_expire_has_expired(ledger: Ledger, directory: Path) -> None:
    """Else it would last for as long as the clock was ahead."""
    for key in ("ahead/expires", "ahead/lasts", "now/expires"):
        ledger.write(key, True, expire_s=None if key.endswith("lasts") else 60)
    tamper(
        directory,
        "records",
        "UPDATE Cache SET store_time = store_time + 7200, expire_time = expire_time + 7200"
        " WHERE key LIKE 'ahead/%'",
    )
    assert recorded(ledger, "ahead/expires") is None
    assert ledger.records_at("ahead/expires", "ahead/lasts") == {"ahead/lasts": True}
    assert ledger.keys("") == ["ahead/lasts", "now/expires"]
    ledger.forget_expired()
    assert sorted(str(row[0]) for row in rows(directory, "records")) == ["ahead/lasts", "now/expires"]


def test_moments_that_a_clock_ahead_wrote_are_mended(ledger: Ledger, clock: Clock) -> None:
    BlobRecords(ledger).add(ONE, 1)
    BlobRecords(ledger).add(TWO, 2)
    BlobRecords(ledger).record_proof(TWO, Proof(clock.now, 5))
    clock.advance(7200)
    BlobRecords(ledger).touch({ONE: clock.now})
    BlobRecords(ledger).record_proof(ONE, Proof(clock.now, 7))
    clock.advance(-7200)
    assert [usage.used_at for usage in BlobRecords(ledger).usages()] == [clock.now, clock.now]
    assert BlobRecords(ledger).proofs() == {TWO: clock.now}
    assert BlobRecords(ledger).mend_moments() == 1
    assert BlobRecords(ledger).mend_moments() == 0
    assert BlobRecords(ledger).proof(ONE) is None
    mended_at = clock.now
    clock.advance(7300)
    assert {usage.digest: usage.used_at for usage in BlobRecords(ledger).usages()} == {
        ONE: mended_at,
        TWO: mended_at,
    }
