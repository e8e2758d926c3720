"""The ledger: what is known of names and blobs, shared by processes."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.holding import ROOT
from support.ledger_rows import ONE, THREE, TWO
from support.power import PowerCuts
from support.running import Clock
from support.stored import recorded
from support.tampering import tamper

from proxy.digest import Digest, digest_of
from proxy.store.blob_records import BlobRecords
from proxy.store.eviction_order import Usage
from proxy.store.ledger import Ledger, LedgerUnavailable
from proxy.store.pins import Pins

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
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


def test_many_records_are_written_and_forgotten_together(ledger: Ledger) -> None:
    """However many: more than one statement of SQLite takes."""
    ledger.write("many/7", "old", expire_s=0)
    many = {f"many/{number}": number for number in range(1234)}
    ledger.write_all(many)
    ledger.write("other", "stays")
    assert ledger.records("many/") == many
    ledger.forget(*many, "never there")
    assert ledger.records("many/") == {}
    assert recorded(ledger, "other") == "stays"
    ledger.write_all({})
    ledger.forget()


def test_of_many_records_none_is_written_when_one_cannot_be(ledger: Ledger) -> None:
    with pytest.raises(TypeError):
        ledger.write_all({"good": 1, "bad": object()})
    assert ledger.keys("") == []


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
    assert settings["size"] == 0, "it counts the files that it made"


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
