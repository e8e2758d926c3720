"""For how long it counts that a client waits, for which item, and in whichever process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.digest import Digest, digest_of
from proxy.fills.demand import Demand
from proxy.fills.interest import Interest

OURS, THEIRS = digest_of(b"ours"), digest_of(b"theirs")
NOW = 1000.0


@pytest.fixture
def demand(tmp_path: Path) -> Iterator[Demand]:
    demand = Demand(tmp_path / "folder" / "demand")
    yield demand
    demand.close()


@pytest.mark.parametrize(
    ("later_s", "counts"), [(0.0, True), (0.99, True), (1.0, False), (5.0, False), (-0.01, False)]
)
def test_a_note_counts_for_a_second(demand: Demand, later_s: float, *, counts: bool) -> None:
    assert not demand.must_yield(OURS, NOW)
    demand.note(THEIRS, NOW)
    assert demand.is_wanted(THEIRS, NOW + later_s) is counts
    assert demand.must_yield(OURS, NOW + later_s) is counts
    assert not demand.must_yield(THEIRS, NOW + later_s)
    assert not demand.is_wanted(OURS, NOW + later_s)


def test_only_what_was_noted_later_is_wanted_since_and_for_no_longer_than_a_note_counts(
    demand: Demand,
) -> None:
    demand.note(THEIRS, NOW)
    assert demand.is_wanted_since(THEIRS, NOW - 0.1, NOW)
    assert demand.is_wanted_since(THEIRS, NOW - 0.1, NOW + 0.99)
    assert not demand.is_wanted_since(THEIRS, NOW - 0.1, NOW + 1)
    assert not demand.is_wanted_since(THEIRS, NOW, NOW)
    assert not demand.is_wanted_since(OURS, 0.0, NOW)


def test_other_processes_see_it_and_each_item_has_its_slot(demand: Demand, tmp_path: Path) -> None:
    other = Demand(tmp_path / "folder" / "demand")
    same_slot = Digest(f"{512:016x}{THEIRS[16:]}")
    last, first = Digest(f"{511:016x}{THEIRS[16:]}"), Digest(f"{0:016x}{THEIRS[16:]}")
    for digest in (first, last, OURS, THEIRS):
        demand.note(digest, NOW)
    assert all(other.is_wanted(one, NOW) for one in (first, last, OURS, THEIRS))
    demand.note(same_slot, NOW)
    assert other.is_wanted(same_slot, NOW)
    assert not other.is_wanted(first, NOW)
    other.close()
    assert (tmp_path / "folder" / "demand").stat().st_size == 8 + 512 * 16


def test_who_wants_a_fill_is_counted(demand: Demand) -> None:
    interest = Interest(OURS, demand, lambda: NOW)
    assert not interest
    interest.add(None)
    assert interest
    assert not interest.had_clients
    assert not interest.has_clients_anywhere()
    interest.add("one")
    interest.add("one")
    assert interest.has_clients_anywhere()
    assert demand.is_wanted(OURS, NOW)
    interest.remove("one")
    assert interest.clients == {"one": 1}
    interest.remove("one")
    interest.remove(None)
    assert not interest
    assert interest.had_clients
    assert "one" not in interest.clients


def test_clients_of_another_process_are_told_from_ones_own_until_they_too_have_left(demand: Demand) -> None:
    now = NOW
    interest = Interest(OURS, demand, lambda: now)
    interest.add("one")
    assert not interest.has_clients_elsewhere()
    interest.remove("one")
    now = NOW + 0.3
    interest.note()  # Nobody waits here any more: nothing is told.
    assert not interest.has_clients_elsewhere()
    now = NOW + 0.4
    demand.note(OURS, now)
    now = NOW + 0.5
    assert interest.has_clients_elsewhere()
    assert interest.has_clients_anywhere()
    now = NOW + 5
    assert not interest.has_clients_elsewhere()
    assert not interest.has_clients_anywhere()
