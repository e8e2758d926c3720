"""Disk and ledger agree again after a crash, a lost ledger, and downloads that nobody went on with."""

import os
import time
from contextlib import closing

import pytest
from support.keeping import fill, here, room
from support.layout import layout_of
from support.running import Clock

from proxy.digest import digest_of
from proxy.store.blob_records import BlobRecords
from proxy.store.eviction_order import Usage
from proxy.store.ledger import Ledger
from proxy.store.local.store import LocalStore

NEW, OTHER = digest_of(b"new"), digest_of(b"other")


def test_disk_and_ledger_agree_again_after_a_crash(store: LocalStore, ledger: Ledger, clock: Clock) -> None:
    kept, removed = fill(store, ledger, clock, 10, 20)
    unsettled = store.put(bytes(30))
    layout_of(store).path(removed).unlink()
    making = room(store, ledger)
    making.reserve(NEW, 40)
    making.reserve(OTHER, 20)
    assert len(ledger.keys("reserved/")) == 2
    (layout_of(store).incoming / NEW).write_bytes(b"the beginning")
    (layout_of(store).incoming / "put-abcdef").write_bytes(b"half a document")

    making.reconcile()

    assert here(store, ledger) == {kept, unsettled}
    assert list(ledger.keys("reserved/")) == [f"reserved/{NEW}"]
    assert [path.name for path in layout_of(store).incoming.iterdir()] == [NEW]
    making.reconcile()
    assert here(store, ledger) == {kept, unsettled}


def test_a_download_that_nobody_went_on_with_for_a_week_gives_its_room_back(
    store: LocalStore, ledger: Ledger
) -> None:
    making = room(store, ledger)
    week_s = 7 * 24 * 3600
    for digest, age_s in ((NEW, week_s + 60), (OTHER, week_s - 60)):
        assert making.reserve(digest, 40)
        path = layout_of(store).incoming / digest
        path.write_bytes(b"the beginning")
        os.utime(path, (time.time() - age_s, time.time() - age_s))
    making.reconcile()
    assert list(store.partial_digests()) == [OTHER]
    assert ledger.keys("reserved/") == [f"reserved/{OTHER}"]


def test_a_blob_found_on_disk_is_as_old_as_its_file(store: LocalStore, ledger: Ledger, clock: Clock) -> None:
    """So that eviction after a lost ledger still takes the oldest first."""
    old, new = fill(store, ledger, clock, 50, 50)
    with closing(Ledger(layout_of(store).root / "another ledger", clock)) as empty:
        for digest, age_s in ((old, 1000), (new, 10)):
            os.utime(layout_of(store).path(digest), (clock.now - age_s, clock.now - age_s))
        room(store, empty).reconcile()
        assert [clock.now - usage.used_at for usage in _oldest_first(empty)] == pytest.approx([1000, 10])
        assert room(store, empty).reserve(NEW, 50)
        assert here(store, empty) == {new}


def _oldest_first(ledger: Ledger) -> list[Usage]:
    return sorted(BlobRecords(ledger).usages(), key=lambda usage: usage.used_at)
