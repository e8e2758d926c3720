"""Whether the store can be written: one process finds out, all others only read what it found."""

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic

import pytest
from support.failing_disk import in_the_way, locked
from support.holding import Holding
from support.layout import Layout
from support.running import Clock

from proxy.store import health as store_health
from proxy.store.health import StoreHealth
from proxy.store.ledger import Ledger
from proxy.store.local.store import LocalStore


@contextmanager
def process(folder: Path, clock: Clock) -> Iterator[StoreHealth]:
    """View the health of a store as a process of its own does."""
    store = LocalStore(folder)
    with (
        closing(Ledger(folder / "ledger")) as ledger,
        closing(StoreHealth(folder / "boards" / ".health", store, ledger, clock)) as health,
    ):
        yield health


def files(folder: Path) -> dict[str, tuple[int, int]]:
    """Return what is below a folder, and when each was written last."""
    found = ((path, path.stat()) for path in folder.rglob("*") if path.suffix != ".db-shm")
    return {str(path): (status.st_mtime_ns, status.st_size) for path, status in found}


def test_what_one_finds_all_know_until_it_is_over(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "proxy.store.health")
    with process(tmp_path, clock) as keeper, process(tmp_path, clock) as worker:
        assert keeper.try_out() == ()
        assert worker.faults() == []
        with locked(tmp_path / "ledger" / "records" / "cache.db"):
            (fault,) = keeper.try_out()
            keeper.try_out()
            assert worker.faults() == [fault]
            assert "ledger cannot be used" in fault
        keeper.try_out()
        assert worker.faults() == []
    said = [record.getMessage().partition(" ")[0] for record in caplog.records]
    assert said == ["store.not_writable", "store.writable"]


def test_asking_writes_nothing(tmp_path: Path, clock: Clock) -> None:
    with process(tmp_path, clock) as keeper, process(tmp_path, clock) as worker:
        keeper.try_out()
        before = files(tmp_path)
        assert worker.faults() == []
        assert files(tmp_path) == before


def test_a_keeper_that_finds_nothing_out_any_more_is_told_of(tmp_path: Path, clock: Clock) -> None:
    """The disk that it tries out may hang, and it with that."""
    with process(tmp_path, clock) as keeper, process(tmp_path, clock) as worker:
        keeper.try_out()
        clock.now += 29
        assert worker.faults() == []
        clock.now += 2
        (fault,) = worker.faults()
        assert "31 s ago" in fault


def test_what_a_keeper_found_that_is_gone_counts_no_more(tmp_path: Path, clock: Clock) -> None:
    with process(tmp_path, clock) as worker:
        with process(tmp_path, clock) as keeper, locked(tmp_path / "ledger" / "records" / "cache.db"):
            keeper.try_out()
            assert worker.faults()
        assert worker.faults() == []


TRY_OUT = """
from pathlib import Path
from time import monotonic
from proxy.store.health import StoreHealth
from proxy.store.ledger import Ledger
from proxy.store.local.store import LocalStore
root = Path(sys.argv[1])
health = StoreHealth(root / "boards" / ".health", LocalStore(root), Ledger(root / "ledger"))
health.try_out()
"""


def test_a_keeper_that_dies_leaves_nothing_to_be_believed(tmp_path: Path, clock: Clock) -> None:
    with process(tmp_path, clock) as worker, Holding(TRY_OUT, tmp_path) as keeper:
        clock.now = monotonic() + 60
        assert worker.faults()  # It has not been heard of for a minute.
        keeper.kill()
        assert worker.faults() == []


def test_without_a_keeper_what_shows_without_writing_is_told(tmp_path: Path, clock: Clock) -> None:
    with process(tmp_path, clock) as command:
        assert command.faults() == []
        with in_the_way(Layout(tmp_path).incoming):
            (fault,) = command.faults()
        assert "blobs cannot be stored" in fault


def test_half_a_result_is_none(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    with process(tmp_path, clock) as keeper, process(tmp_path, clock) as worker:
        monkeypatch.setattr(store_health, "crc32", lambda _: 7)
        keeper.try_out()
        monkeypatch.undo()
        assert worker.faults() == []
