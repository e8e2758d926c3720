"""What generations that wait lack: looked at now and then, for each look costs one for each item."""

from pathlib import Path

import pytest
from support.waiting import waits_for

from proxy.jobs.importing.lacking import Lacks, LacksOfNow
from proxy.store.local.store import LocalStore

LATER_S = 3600.0


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def test_it_is_counted_by_what_is_in_the_store_each_item_once(store: LocalStore) -> None:
    store.put(b"here")
    one = waits_for(store, b"here", b"missing", b"missing", b"vague", unprovable=("3",))
    assert LacksOfNow(store).of(one) == Lacks(1, 7)


def test_it_is_counted_again_after_a_while(store: LocalStore) -> None:
    now = [0.0]
    lacks, one = LacksOfNow(store, lambda: now[0]), waits_for(store, b"missing")
    assert lacks.of(one) == Lacks(1, 7)
    store.put(b"missing")
    assert lacks.of(one) == Lacks(1, 7)
    now[0] += LATER_S
    assert lacks.of(one) == Lacks(0, 0)


def test_what_was_recorded_is_told_if_the_store_has_lost_what_it_needs(store: LocalStore) -> None:
    one = waits_for(store, b"missing")
    removal = store.withdraw(one.contents)
    assert removal is not None
    removal.finish()
    assert LacksOfNow(store).of(one) == Lacks(9, 99)
