"""The ledger: what is known of blobs and names, shared by processes, and never a program."""

import contextlib
import json
import pickle
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import diskcache
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.failing_disk import locked
from support.holding import ROOT
from support.power import PowerCuts
from support.running import Clock
from support.stored import recorded
from support.tampering import tamper

from proxy.digest import Digest, digest_of
from proxy.store.blob_records import BlobRecords, Proof
from proxy.store.eviction_order import Usage
from proxy.store.ledger import Ledger, LedgerUnavailable
from proxy.store.pins import Pins
from proxy.store.schema import Unreadable
from proxy.store.table import LedgerDamaged

ONE, TWO, THREE = (digest_of(name) for name in (b"one", b"two", b"three"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return where the ledger lies."""
    return tmp_path / "ledger"


@pytest.fixture
def ledger(directory: Path, clock: Clock) -> Iterator[Ledger]:
    """Return an empty ledger."""
    ledger = Ledger(directory, clock)
    yield ledger
    ledger.close()


def rows(directory: Path, table: str) -> list[tuple[object, ...]]:
    """Read a table as SQLite has it: key, is the key plain, mode, file name, value."""
    with closing(sqlite3.connect(directory / table / "cache.db")) as database:
        return database.execute("SELECT key, raw, mode, filename, value FROM Cache").fetchall()


# Records


def test_a_record_is_what_was_written_last(ledger: Ledger) -> None:
    assert recorded(ledger, "key") is None
    ledger.write("key", {"number": 1})
    ledger.write("key", [True, None, "text"])
    assert recorded(ledger, "key") == [True, None, "text"]
    ledger.forget("key")
    ledger.forget("key")
    assert recorded(ledger, "key") is None


def test_any_json_value_is_kept_as_it_is(ledger: Ledger) -> None:
    @given(st.text(st.characters(exclude_categories=["Cs"])), JSON)
    def keeps(key: str, value: object) -> None:
        ledger.write(key, value)
        assert recorded(ledger, key) == value
        assert key in ledger.keys(key)

    keeps()


def test_what_is_no_json_is_refused_when_it_is_written(ledger: Ledger) -> None:
    for value in (object(), b"bytes", {1, 2}, Path("x")):
        with pytest.raises(TypeError):
            ledger.write("key", value)
    assert recorded(ledger, "key") is None


def test_keys_are_found_by_their_beginning(ledger: Ledger) -> None:
    for key in ("a/1", "a/2", "b/1", "a", ""):
        ledger.write(key, 1)
    assert sorted(ledger.keys("a/")) == ["a/1", "a/2"]
    assert sorted(ledger.keys("")) == ["", "a", "a/1", "a/2", "b/1"]
    assert list(ledger.keys("c")) == []


def test_a_record_can_expire(ledger: Ledger) -> None:
    ledger.write("short", 1, expire_s=0)
    ledger.write("long", 1, expire_s=1000)
    assert (recorded(ledger, "short"), recorded(ledger, "long")) == (None, 1)
    ledger.write("short", 2)
    assert recorded(ledger, "short") == 2


def test_records_outlive_the_process(ledger: Ledger, directory: Path) -> None:
    ledger.write("key", 1)
    BlobRecords(ledger).add(ONE, 10)
    ledger.close()
    with closing(Ledger(directory)) as again:
        assert recorded(again, "key") == 1
        assert BlobRecords(again).total_bytes() == 10


def test_changes_in_a_transaction_happen_together_or_not_at_all(ledger: Ledger) -> None:
    ledger.write("key", "old")

    def change() -> None:
        with ledger.transaction():
            ledger.write("key", "new")
            ledger.write("other", 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        change()
    assert (recorded(ledger, "key"), recorded(ledger, "other")) == ("old", None)


def test_two_ledgers_over_one_directory_see_the_same(ledger: Ledger, directory: Path) -> None:
    """As workers do."""
    with closing(Ledger(directory)) as other:
        ledger.write("key", 1)
        assert recorded(other, "key") == 1
        BlobRecords(other).add(ONE, 10)
        BlobRecords(ledger).add(TWO, 5)
        assert BlobRecords(ledger).total_bytes() == BlobRecords(other).total_bytes() == 15


# Pins


def test_a_blob_is_pinned_while_any_name_pins_it(ledger: Ledger) -> None:
    Pins(ledger).pin_all("release", [ONE])
    Pins(ledger).pin_all("release", [ONE])
    Pins(ledger).pin_all("test lab", [ONE])
    Pins(ledger).pin_all("release", [TWO])
    assert set(Pins(ledger).names()) == {ONE, TWO}
    Pins(ledger).unpin(ONE, "release")
    Pins(ledger).unpin(TWO, "release")
    assert set(Pins(ledger).names()) == {ONE}
    Pins(ledger).unpin(ONE, "nobody")
    Pins(ledger).unpin(ONE, "test lab")
    Pins(ledger).unpin(THREE, "release")
    assert Pins(ledger).names() == {}


def test_a_pin_can_be_moved_to_other_blobs_at_once(ledger: Ledger) -> None:
    Pins(ledger).pin_all("test lab", [TWO])
    Pins(ledger).repin("release", [ONE, TWO])
    Pins(ledger).repin("release", [TWO, THREE])
    assert Pins(ledger).pinned_by("release") == {TWO, THREE}
    assert Pins(ledger).pinned_by("test lab") == {TWO}
    Pins(ledger).repin("release", [])
    assert set(Pins(ledger).names()) == {TWO}
    assert Pins(ledger).pinned_by("nobody") == set()


def test_what_a_pin_lets_go_is_protected_for_a_while(ledger: Ledger) -> None:
    Pins(ledger).repin("release", [ONE, TWO])
    assert Pins(ledger).repin("release", [TWO], hold_s=60) == {ONE}
    assert Pins(ledger).protected() == {ONE, TWO}
    assert set(Pins(ledger).names()) == {TWO}
    ledger.write(f"held/{ONE}", True, expire_s=-1)
    assert Pins(ledger).protected() == {TWO}


# Blobs


@pytest.mark.parametrize(
    "tell",
    [
        pytest.param(lambda ledger: Pins(ledger).pin_all("told", [ONE]), id="pin"),
        pytest.param(lambda ledger: Pins(ledger).pin_all("told", [ONE]), id="pin_all"),
        pytest.param(lambda ledger: Pins(ledger).repin("told", [ONE]), id="repin"),
        pytest.param(
            lambda ledger: within(ledger, lambda: Pins(ledger).pin_all("told", [ONE])), id="within another"
        ),
    ],
)
def test_a_pin_that_was_told_of_outlives_a_power_cut(
    ledger: Ledger, directory: Path, tmp_path: Path, tell: Callable[[Ledger], object]
) -> None:
    """Whatever is written besides may be lost with it: syncing costs too much to be done each time."""
    with PowerCuts() as power:
        power.settle(directory)
        ledger.write("before", True)
        tell(ledger)
        ledger.write("after", True)
        power.cut(directory, tmp_path / "rebooted")

    with closing(Ledger(tmp_path / "rebooted")) as rebooted:
        assert Pins(rebooted).names() == {ONE: ["told"]}
        assert (recorded(rebooted, "before"), recorded(rebooted, "after")) == (True, None)


def test_the_first_pin_of_a_new_ledger_outlives_a_power_cut(tmp_path: Path) -> None:
    """The names of its folders and files are as new as the pin."""
    directory = tmp_path / "data"
    directory.mkdir()
    with PowerCuts() as power:
        power.settle(directory)
        with closing(Ledger(directory)) as ledger:
            Pins(ledger).pin_all("told", [ONE])
            power.cut(directory, tmp_path / "rebooted")

    with closing(Ledger(tmp_path / "rebooted")) as rebooted:
        assert Pins(rebooted).names() == {ONE: ["told"]}


def test_a_pin_that_was_let_go_does_not_come_back_with_the_power(
    ledger: Ledger, directory: Path, tmp_path: Path
) -> None:
    with PowerCuts() as power:
        power.settle(directory)
        for digest in (ONE, TWO, THREE):
            Pins(ledger).pin_all("told", [digest])
        Pins(ledger).unpin(ONE, "told")
        Pins(ledger).forget(TWO)
        power.cut(directory, tmp_path / "rebooted")

    with closing(Ledger(tmp_path / "rebooted")) as rebooted:
        assert Pins(rebooted).names() == {THREE: ["told"]}


def test_a_pin_is_not_told_of_when_the_disk_does_not_take_it(ledger: Ledger) -> None:
    with PowerCuts() as power:
        power.is_failing = True
        ledger.write("ordinary", True)
        with pytest.raises(LedgerUnavailable):
            Pins(ledger).pin_all("told", [ONE])
        power.is_failing = False
        Pins(ledger).pin_all("told", [ONE])


def within(ledger: Ledger, act: Callable[[], object]) -> None:
    with ledger.transaction():
        act()


def test_a_blob_counts_once(ledger: Ledger, clock: Clock) -> None:
    BlobRecords(ledger).add(ONE, 10)
    clock.advance(5)
    BlobRecords(ledger).add(ONE, 10)
    BlobRecords(ledger).add(TWO, 7)
    assert (
        BlobRecords(ledger).total_bytes() == ledger.blobs.get("total") == 17
    )  # Other releases read it there.
    assert sorted(BlobRecords(ledger).usages(), key=lambda usage: usage.size_bytes) == [
        Usage(TWO, 7, clock.now),
        Usage(ONE, 10, clock.now - 5),
    ]


def test_a_forgotten_blob_counts_no_more(ledger: Ledger) -> None:
    BlobRecords(ledger).add(ONE, 10)
    BlobRecords(ledger).add(TWO, 7)
    BlobRecords(ledger).forget(ONE)
    BlobRecords(ledger).forget(ONE)
    BlobRecords(ledger).forget(THREE)
    assert BlobRecords(ledger).total_bytes() == 7
    assert [usage.digest for usage in BlobRecords(ledger).usages()] == [TWO]


def test_use_is_noted_of_blobs_that_are_here(ledger: Ledger, clock: Clock) -> None:
    BlobRecords(ledger).add(ONE, 10)
    BlobRecords(ledger).add(TWO, 7)
    BlobRecords(ledger).touch({ONE: 12345.5, THREE: 99.0})
    used_at = {usage.digest: usage.used_at for usage in BlobRecords(ledger).usages()}
    assert used_at == {ONE: 12345.5, TWO: clock.now}
    assert BlobRecords(ledger).total_bytes() == 17


@pytest.mark.parametrize(
    ("listed", "found", "changes"),
    [
        ({}, {}, (0, 0)),
        ({ONE: 10}, {ONE: 10}, (0, 0)),
        ({}, {ONE: 10, TWO: 7}, (2, 0)),
        ({ONE: 10, TWO: 7}, {}, (0, 2)),
        ({ONE: 10, TWO: 7}, {TWO: 7, THREE: 5}, (1, 1)),
    ],
)
def test_the_ledger_is_brought_in_line_with_the_disk(
    ledger: Ledger,
    clock: Clock,
    listed: dict[Digest, int],
    found: dict[Digest, int],
    changes: tuple[int, int],
) -> None:
    """Blobs that stay keep what is known of their use; new ones come with what the disk knows."""
    for digest, size_bytes in listed.items():
        BlobRecords(ledger).add(digest, size_bytes)
    on_disk = ((digest, size_bytes, 5.0) for digest, size_bytes in found.items())
    assert BlobRecords(ledger).reconcile(on_disk, found.__contains__) == changes
    assert set(BlobRecords(ledger).usages()) == {
        Usage(digest, size_bytes, clock.now if digest in listed else 5.0)
        for digest, size_bytes in found.items()
    }
    assert BlobRecords(ledger).total_bytes() == sum(found.values())


def test_settings_of_others_in_the_file_change_nothing(ledger: Ledger, directory: Path, clock: Clock) -> None:
    """Such as of another release of diskcache: another mode of the journal would wait for a minute."""
    for setting in (
        "('sqlite_journal_mode', 'delete')",
        "('sqlite_synchronous', 0)",
        "('sqlite_of_later', 1)",
    ):
        tamper(directory, "records", f"INSERT OR REPLACE INTO Settings VALUES {setting}")
    ledger.write("key", "value")
    began_s = time.monotonic()
    with closing(Ledger(directory, clock)) as of_another_process:
        assert of_another_process.records_at("key") == {"key": "value"}
        connection = of_another_process._records._con
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (1,)
    assert time.monotonic() - began_s < 20


def test_the_library_drops_nothing_and_keeps_all_in_the_database(ledger: Ledger) -> None:
    ledger.write("key", "value")
    settings = dict(ledger._records._con.execute("SELECT key, value FROM Settings").fetchall())
    kept = {name: settings[name] for name in ("eviction_policy", "cull_limit", "sqlite_auto_vacuum")}
    assert kept == {"eviction_policy": "none", "cull_limit": 0, "sqlite_auto_vacuum": 0}
    assert settings["size_limit"] >= 2**62
    assert settings["disk_min_file_size"] >= 2**31 - 1


def test_a_lost_total_is_counted_anew(ledger: Ledger, directory: Path) -> None:
    BlobRecords(ledger).add(ONE, 10)
    assert tamper(directory, "blobs", "DELETE FROM Cache WHERE key = 'total'") == 1
    BlobRecords(ledger).reconcile([(ONE, 10, 5.0)], {ONE}.__contains__)
    assert BlobRecords(ledger).total_bytes() == 10


def test_what_comes_and_goes_while_the_disk_is_read_is_neither_lost_nor_doubled(
    ledger: Ledger, directory: Path, clock: Clock
) -> None:
    """Other workers go on meanwhile."""
    on_disk = {ONE: 10, TWO: 7}
    BlobRecords(ledger).add(ONE, 10)
    with closing(Ledger(directory, clock)) as of_another_worker:

        def scan() -> Iterator[tuple[Digest, int, float]]:
            yield TWO, 7, 5.0
            BlobRecords(of_another_worker).add(TWO, 7)
            BlobRecords(of_another_worker).add(THREE, 5)
            on_disk[THREE] = 5
            yield THREE, 5, 5.0

        assert BlobRecords(ledger).reconcile(scan(), on_disk.__contains__) == (0, 0)
    assert {usage.digest: usage.size_bytes for usage in BlobRecords(ledger).usages()} == on_disk
    assert {usage.used_at for usage in BlobRecords(ledger).usages()} == {clock.now}
    assert BlobRecords(ledger).total_bytes() == 22


ADD_AND_PIN = """
import sys
from pathlib import Path
from proxy.digest import digest_of
from proxy.store.blob_records import BlobRecords
from proxy.store.ledger import Ledger
from proxy.store.pins import Pins
ledger, worker = Ledger(Path(sys.argv[1])), sys.argv[2]
for number in range(30):
    BlobRecords(ledger).add(digest_of(b"own %s %d" % (worker.encode(), number)), 3)
    BlobRecords(ledger).add(digest_of(b"shared %d" % number), 100)
    Pins(ledger).pin_all(f"{worker} {number}", [digest_of(b"pinned")])
    if number % 2:
        BlobRecords(ledger).forget(digest_of(b"own %s %d" % (worker.encode(), number)))
"""


def test_processes_lose_nothing_of_each_others_changes(ledger: Ledger, directory: Path) -> None:
    workers = [
        subprocess.Popen([sys.executable, "-c", ADD_AND_PIN, str(directory), str(number)], cwd=ROOT)
        for number in range(3)
    ]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    assert BlobRecords(ledger).total_bytes() == 3 * 15 * 3 + 30 * 100
    assert (
        sum(usage.size_bytes for usage in BlobRecords(ledger).usages()) == BlobRecords(ledger).total_bytes()
    )
    assert len(recorded(ledger, f"pin/{digest_of(b'pinned')}")) == 3 * 30


# No pickles


def fill(ledger: Ledger) -> None:
    """Write one of each kind."""
    ledger.write("generation/maas", {"documents": {"a": [1, 2.5, None]}, "long": "x" * 100_000})
    ledger.write("failure/x", ["absent", "path"], expire_s=60)
    Pins(ledger).pin_all("release", [ONE])
    BlobRecords(ledger).add(ONE, 10)
    BlobRecords(ledger).touch({ONE: 5.0})


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


def test_a_ledger_that_somebody_removed_begins_anew(ledger: Ledger, directory: Path) -> None:
    fill(ledger)
    with closing(Ledger(directory)) as of_another_worker:
        assert BlobRecords(of_another_worker).total_bytes() == 10
        shutil.rmtree(directory)

        assert BlobRecords(of_another_worker).total_bytes() == 0
        BlobRecords(of_another_worker).add(TWO, 20)
        assert BlobRecords(ledger).total_bytes() == 20


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
