"""The ledger is never a program: nothing in it is run when it is read."""

import contextlib
import json
import pickle
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import diskcache
import pytest
from support.ledger_rows import ONE, TWO, fill, rows
from support.stored import recorded
from support.tampering import tamper

from proxy.store.blob_records import BlobRecords, Proof
from proxy.store.ledger import Ledger, LedgerUnavailable
from proxy.store.pins import Pins
from proxy.store.schema import Unreadable
from proxy.store.table import LedgerDamaged


def test_all_that_is_in_the_files_is_text(ledger: Ledger, directory: Path) -> None:
    """Every key and value is JSON or a name, in the database itself; nothing is pickled or put beside it."""
    fill(ledger)
    ledger.close()
    found = [row for table in ("records", "blobs") for row in rows(directory, table)]
    assert len(found) == 5
    for key, is_plain, mode, filename, value in found:
        assert isinstance(key, str)
        assert is_plain
        assert mode == diskcache.core.MODE_RAW
        assert filename is None
        assert isinstance(value, str)
        json.loads(value)
    assert {path.name.removesuffix("-wal").removesuffix("-shm") for path in files(directory)} == {"cache.db"}
    for path in files(directory):
        assert not any(
            opening in path.read_bytes() for opening in (b"\x80\x03c", b"\x80\x04\x95", b"\x80\x05\x95")
        )


def files(directory: Path) -> list[Path]:
    """List the ledger's files."""
    return [path for path in directory.rglob("*") if path.is_file()]


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self._path,)


@pytest.fixture
def crater(tmp_path: Path) -> Path:
    """Return the file that exists once a bomb went off."""
    path = tmp_path / "crater"
    pickle.loads(pickle.dumps(Bomb(path)))
    assert path.exists(), "the bomb works"
    path.unlink()
    return path


MODES = [
    diskcache.core.MODE_NONE,
    diskcache.core.MODE_BINARY,
    diskcache.core.MODE_TEXT,
    diskcache.core.MODE_PICKLE,
]


@pytest.mark.parametrize("mode", MODES)
def test_a_pickled_value_is_neither_read_nor_run(
    ledger: Ledger, directory: Path, crater: Path, mode: int
) -> None:
    """Whoever can write to the ledger can mislead the proxy, and not make it run a program."""
    fill(ledger)
    bomb = pickle.dumps(Bomb(crater))
    (directory / "records" / "aside.val").write_bytes(bomb)
    statement = "UPDATE Cache SET mode = ?, value = ?, filename = ? WHERE key = 'generation/maas'"
    for filename in (None, "aside.val"):
        ledger.write("generation/maas", 1)
        assert tamper(directory, "records", statement, mode, bomb, filename) == 1
        assert recorded(ledger, "generation/maas") is None
        assert ledger.records("generation/") == {"generation/maas": Unreadable("it is not text")}
    assert recorded(ledger, "failure/x") == ["absent", "path"]
    assert not crater.exists()


@pytest.mark.parametrize(
    "use",
    [
        lambda ledger: BlobRecords(ledger).usages(),
        lambda ledger: BlobRecords(ledger).proofs(),
        lambda ledger: BlobRecords(ledger).touch({ONE: 1.0}),
    ],
    ids=["usages", "proofs", "touch"],
)
def test_a_pickled_usage_is_neither_read_nor_run(
    ledger: Ledger, directory: Path, crater: Path, use: Callable[[Ledger], object]
) -> None:
    fill(ledger)
    statement = "UPDATE Cache SET mode = ?, value = ? WHERE key = ?"
    bomb = pickle.dumps(Bomb(crater))
    assert tamper(directory, "blobs", statement, diskcache.core.MODE_PICKLE, bomb, ONE) == 1
    use(ledger)
    assert ONE not in {usage.digest for usage in BlobRecords(ledger).usages()}
    assert not crater.exists()


@pytest.mark.parametrize("is_plain", [0, 1])
def test_a_pickled_key_is_passed_over_and_not_run(
    ledger: Ledger, directory: Path, crater: Path, is_plain: int
) -> None:
    fill(ledger)
    statement = "UPDATE Cache SET key = ?, raw = ? WHERE key = 'failure/x'"
    assert tamper(directory, "records", statement, pickle.dumps(Bomb(crater)), is_plain) == 1
    assert "failure/x" not in ledger.keys("")
    assert not crater.exists()


def test_only_upkeep_removes_what_has_no_key(ledger: Ledger, directory: Path) -> None:
    """Who reads writes nothing."""
    fill(ledger)
    assert tamper(directory, "records", "UPDATE Cache SET raw = 0 WHERE key = 'failure/x'") == 1
    before = rows(directory, "records")
    ledger.records("")
    ledger.keys("")
    assert recorded(ledger, "failure/x") is None
    assert rows(directory, "records") == before
    ledger.forget_expired()
    assert [row for row in before if row not in rows(directory, "records")] == [
        row for row in before if row[0] == "failure/x"
    ]


def open_again(directory: Path) -> None:
    with closing(Ledger(directory)) as ledger:
        Pins(ledger).names()


USES: dict[str, Callable[[Ledger], object]] = {
    "records_at": lambda ledger: ledger.records_at("failure/x", "generation/maas"),
    "keys": lambda ledger: ledger.keys(""),
    "records": lambda ledger: ledger.records(""),
    "write": lambda ledger: ledger.write("failure/x", 1),
    "forget": lambda ledger: ledger.forget("failure/x"),
    "forget_expired": Ledger.forget_expired,
    "try_out": Ledger.try_out,
    "pin": lambda ledger: Pins(ledger).pin_all("test", [ONE]),
    "repin": lambda ledger: Pins(ledger).repin("test", [ONE]),
    "pins": lambda ledger: Pins(ledger).names(),
    "protected": lambda ledger: Pins(ledger).protected(),
    "is_protected": lambda ledger: Pins(ledger).is_protected(ONE),
    "add_blob": lambda ledger: BlobRecords(ledger).add(ONE, 1),
    "note_proof": lambda ledger: BlobRecords(ledger).record_proof(ONE, Proof(1.0, 1)),
    "proof": lambda ledger: BlobRecords(ledger).proof(ONE),
    "total_bytes": lambda ledger: BlobRecords(ledger).total_bytes(),
    "sizes": lambda ledger: BlobRecords(ledger).sizes([ONE]),
    "usages": lambda ledger: BlobRecords(ledger).usages(),
    "forget_blob": lambda ledger: BlobRecords(ledger).forget(ONE),
    "reconcile": lambda ledger: BlobRecords(ledger).reconcile([(ONE, 1, 1.0)], lambda _: True),
    "opened again": lambda ledger: open_again(ledger.directory),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
@pytest.mark.parametrize("column", ["value", "key", "file"])
def test_nothing_that_lies_in_the_ledger_is_ever_unpickled(
    ledger: Ledger, directory: Path, crater: Path, column: str, use: Callable[[Ledger], object]
) -> None:
    """CVE-2025-69872 of diskcache: whoever can write to its folder has its readers run a program."""
    fill(ledger)
    bomb = pickle.dumps(Bomb(crater))
    for table in ("records", "blobs"):
        (directory / table / "aside.val").write_bytes(bomb)
        change, values = {
            "value": ("mode = ?, value = ?", (diskcache.core.MODE_PICKLE, bomb)),
            "key": ("raw = 0, key = ? || rowid", (bomb,)),
            "file": ("mode = ?, value = NULL, filename = 'aside.val'", (diskcache.core.MODE_PICKLE,)),
        }[column]
        assert tamper(directory, table, f"UPDATE Cache SET {change}", *values)

    with contextlib.suppress(LedgerUnavailable, LedgerDamaged):
        use(ledger)

    assert not crater.exists()
    ledger.write("failure/x", ["absent", "path"])
    assert recorded(ledger, "failure/x") == ["absent", "path"]


@pytest.mark.parametrize("value", ["no JSON", "", "{", b"bytes", 7, None], ids=repr)
def test_a_value_that_is_not_what_was_written_stays_and_hides_no_other(
    ledger: Ledger, directory: Path, value: object
) -> None:
    fill(ledger)
    assert tamper(directory, "records", "UPDATE Cache SET value = ? WHERE key = 'failure/x'", value) == 1
    assert "generation/maas" in ledger.records("")
    assert recorded(ledger, "failure/x") is None
    assert isinstance(ledger.records("failure/")["failure/x"], Unreadable)


def test_rows_and_total_are_brought_in_line_with_the_disk(ledger: Ledger, directory: Path) -> None:
    BlobRecords(ledger).add(ONE, 10)
    BlobRecords(ledger).add(TWO, 20)
    tamper(directory, "blobs", "UPDATE Cache SET value = '999999' WHERE key = 'total'")
    tamper(directory, "blobs", "UPDATE Cache SET value = '[3,1.0]' WHERE key = ?", ONE)
    BlobRecords(ledger).reconcile([(ONE, 10, 1.0), (TWO, 20, 1.0)], lambda _: True)
    assert BlobRecords(ledger).total_bytes() == 30
    assert sorted(usage.size_bytes for usage in BlobRecords(ledger).usages()) == [10, 20]
