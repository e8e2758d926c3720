"""Reservations of other releases: what cannot be read stops nothing, and counts as what has arrived."""

import logging
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Thread

import pytest
from support.keeping import Keeping
from support.layout import layout_of
from support.running import Clock
from support.stored import recorded

from proxy.digest import Digest, digest_of
from proxy.store.ledger import Ledger
from proxy.store.limits import StoreLimits
from proxy.store.local.store import LocalStore
from proxy.store.protocols import Incoming, PartialStatus

NEW, OTHER = digest_of(b"new"), digest_of(b"other")
OF_A_NEWER_RELEASE = {"version": 2, "bytes": 60}


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


@pytest.fixture
def ledger(tmp_path: Path, store: LocalStore, clock: Clock) -> Iterator[Ledger]:  # noqa: ARG001 - made first
    with closing(Ledger(tmp_path / "ledger", clock)) as ledger:
        yield ledger


@pytest.fixture
def keeping(store: LocalStore, ledger: Ledger) -> Keeping:
    return Keeping(store, ledger, StoreLimits(limit_bytes=100, min_free_bytes=0))


@pytest.mark.parametrize("value", [OF_A_NEWER_RELEASE, "60", -60, 2**70, True, None, [60]], ids=repr)
def test_a_reservation_that_cannot_be_read_counts_what_has_arrived(
    store: LocalStore, ledger: Ledger, keeping: Keeping, value: object
) -> None:
    ledger.write(f"reserved/{NEW}", value)
    assert keeping.reservations.total_bytes() == 0
    layout_of(store).partial(NEW).write_bytes(bytes(30))
    assert keeping.reservations.total_bytes() == 30
    assert keeping.may_fit(OTHER, 70)
    assert keeping.reservations.missing_bytes(OTHER, 80) == 10
    assert keeping.foresee(70, ())[2] == 0
    assert keeping.reserve(OTHER, 70)
    assert recorded(ledger, f"reserved/{NEW}") == value


@pytest.mark.parametrize(
    "value", [OF_A_NEWER_RELEASE, ["label", 60], ["label", 60, 0, 1.0, "me"], "half", None], ids=repr
)
def test_what_cannot_be_read_of_a_transfer_stops_no_upkeep_and_is_told_once(
    store: LocalStore, ledger: Ledger, keeping: Keeping, caplog: pytest.LogCaptureFixture, value: object
) -> None:
    caplog.set_level(logging.WARNING)
    ledger.write(f"filling/{NEW}", value)
    ledger.write(f"reserved/{NEW}", 60)
    layout_of(store).partial(NEW).write_bytes(bytes(30))
    for _ in range(2):
        assert keeping.reservations.arriving() == []
        keeping.make_headroom(0)
        keeping.reconcile()
    assert recorded(ledger, f"filling/{NEW}") == value
    assert [record.getMessage().split(" problem=")[0] for record in caplog.records] == [
        f"record.unreadable key=filling/{NEW}"
    ]


def test_further_fields_of_a_newer_release_are_passed_over(ledger: Ledger, keeping: Keeping) -> None:
    assert keeping.reserve(NEW, 60, "a label", 5)
    record = recorded(ledger, f"filling/{NEW}")
    assert record[:3] == ["a label", 60, 5]
    assert record[4][0] == os.getpid()
    ledger.write(f"filling/{NEW}", [*record, {"from": "another node"}])
    (arriving,) = keeping.reservations.arriving()
    assert (arriving.digest, arriving.label, arriving.size_bytes) == (NEW, "a label", 60)


def test_a_transfer_that_begins_while_reservations_are_looked_through_keeps_its_own(
    store: LocalStore, keeping: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has made its file, and waits to reserve until the one at hand is judged."""
    partial_digests, partial_status = LocalStore.partial_digests, LocalStore.partial_status
    began = Thread(target=lambda: keeping.reserve(NEW, 60))
    incoming: list[Incoming | None] = []

    def begin() -> None:
        if not incoming:
            incoming.append(store.acquire(NEW, 60))
            began.start()

    def list_and_begin(self: LocalStore) -> Iterator[Digest]:
        found = list(partial_digests(self))
        begin()
        began.join()
        return iter(found)

    def look_and_begin(self: LocalStore, digest: Digest) -> PartialStatus | None:
        found = partial_status(self, digest)
        if digest == OTHER:
            begin()
        return found

    assert keeping.reserve(OTHER, 10)
    monkeypatch.setattr(LocalStore, "partial_digests", list_and_begin)
    monkeypatch.setattr(LocalStore, "partial_status", look_and_begin)
    keeping.reservations.give_back_all_without_file()
    began.join()

    assert keeping.reservations.total_bytes() == 60
    for one in incoming:
        assert one is not None
        one.close()


def test_what_somebody_has_begun_anew_stays_reserved(store: LocalStore, keeping: Keeping) -> None:
    """Whoever removed the file before gives back what was reserved for that one alone."""
    incoming = store.acquire(NEW, 60)
    assert incoming is not None
    assert keeping.reserve(NEW, 60)
    keeping.reservations.give_back_without_file(NEW)
    assert keeping.reservations.total_bytes() == 60
    incoming.discard()
    keeping.reservations.give_back_without_file(NEW)
    assert keeping.reservations.total_bytes() == 0
    incoming.close()


def test_what_arrives_is_told_with_how_fast(store: LocalStore, keeping: Keeping, clock: Clock) -> None:
    assert keeping.reservations.filled_by(NEW) is None
    assert keeping.reserve(NEW, 60, "a name", 10)
    assert keeping.reservations.filled_by(NEW) == os.getpid()
    [arriving] = keeping.reservations.arriving()
    assert arriving == (NEW, "a name", 60, 0, 0.0)
    assert arriving.remaining_s is None
    layout_of(store).partial(NEW).write_bytes(bytes(30))
    clock.advance(4)
    [arriving] = keeping.reservations.arriving()
    assert arriving == (NEW, "a name", 60, 30, 5.0)
    assert arriving.remaining_s == 6.0
    # What has just begun is not told as infinitely fast, nor with a clock that was put back.
    for back_s in (4, 100):
        clock.advance(-back_s)
        [arriving] = keeping.reservations.arriving()
        assert arriving.rate_bytes_s == pytest.approx(200.0)
    keeping.shrink(NEW, 30)
    assert keeping.reservations.arriving() == []
    assert keeping.reservations.filled_by(NEW) is None


def test_a_part_that_nobody_goes_on_with_is_idle(store: LocalStore, keeping: Keeping, clock: Clock) -> None:
    assert keeping.reserve(NEW, 60)
    partial = layout_of(store).partial(NEW)
    partial.write_bytes(bytes(30))
    assert keeping.reservations.idle_partials() == []
    keeping.shrink(NEW, 30)
    os.utime(partial, (clock() - 50, clock() - 50))
    [idle] = keeping.reservations.idle_partials()
    assert (idle.digest, idle.size_bytes) == (NEW, 30)
    assert idle.used_at == pytest.approx(clock() - 50, abs=0.001)
    os.utime(partial, (clock() + 50, clock() + 50))
    assert [one.used_at for one in keeping.reservations.idle_partials()] == [clock()]
    partial.unlink()
    assert keeping.reservations.idle_partials() == []


def test_what_is_set_aside_lasts_as_long_as_its_file(store: LocalStore, keeping: Keeping) -> None:
    for digest in (NEW, OTHER):
        assert keeping.reserve(digest, 20)
    layout_of(store).partial(NEW).write_bytes(bytes(5))
    keeping.reservations.give_back_all_without_file()
    assert keeping.reservations.total_bytes() == 20
    assert keeping.reservations.filled_by(OTHER) is None
    keeping.reservations.give_back_without_file(NEW)
    assert keeping.reservations.total_bytes() == 20
    layout_of(store).partial(NEW).unlink()
    keeping.reservations.give_back_without_file(NEW)
    assert keeping.reservations.total_bytes() == 0


def test_what_has_become_a_blob_gets_its_row_whoever_gives_back_what_was_set_aside_for_it(
    store: LocalStore, keeping: Keeping
) -> None:
    """Whoever committed it may have died just then, and others find it there."""
    for digest, data in ((NEW, b"new"), (OTHER, b"other")):
        assert keeping.reserve(digest, len(data))
        store.put(data)
    keeping.give_back(NEW)
    keeping.reservations.give_back_without_file(OTHER)
    assert keeping.blobs.sizes([NEW, OTHER]) == {NEW: 3, OTHER: 5}
    assert (keeping.blobs.total_bytes(), keeping.reservations.total_bytes()) == (8, 0)
    assert keeping.blobs.proof(NEW) is None
    keeping.settle(NEW, 3)
    assert keeping.blobs.total_bytes() == 8
    assert keeping.blobs.proof(NEW) is not None


def test_a_process_that_lives_keeps_all_that_it_has_set_aside(store: LocalStore, keeping: Keeping) -> None:
    assert keeping.reserve(NEW, 60)
    layout_of(store).partial(NEW).write_bytes(bytes(30))
    assert keeping.reservations.release_dead() == 0
    assert keeping.reservations.total_bytes() == 60
