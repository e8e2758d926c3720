"""What goes when room is wanted, what stays, and how much of the disk is left alone."""

import os
from threading import Event, Thread

import pytest
from support.keeping import Keeping, fill, here, room
from support.layout import layout_of
from support.running import Clock

from proxy.digest import Digest, digest_of
from proxy.store.blob_records import BlobRecords
from proxy.store.ledger import Ledger
from proxy.store.limits import StoreLimits
from proxy.store.local.removal import LocalRemoval
from proxy.store.local.store import LocalStore
from proxy.store.pins import Pins

NEW, OTHER = digest_of(b"new"), digest_of(b"other")


def test_the_least_recently_used_make_room(store: LocalStore, ledger: Ledger, clock: Clock) -> None:
    first, second, third = fill(store, ledger, clock, 30, 30, 30)
    BlobRecords(ledger).touch({first: clock.now})
    assert room(store, ledger).reserve(NEW, 50)
    assert here(store, ledger) == {first}
    assert not store.has(second)
    assert not store.has(third)


def test_no_more_goes_than_needed(store: LocalStore, ledger: Ledger, clock: Clock) -> None:
    _, *kept = fill(store, ledger, clock, 30, 30, 30)
    assert room(store, ledger).reserve(NEW, 40)
    assert here(store, ledger) == set(kept)


def test_pinned_blobs_and_those_in_use_stay(store: LocalStore, ledger: Ledger, clock: Clock) -> None:
    pinned, used, free = fill(store, ledger, clock, 30, 30, 30)
    Pins(ledger).pin_all("release", [pinned])
    assert room(store, ledger, 100, used).reserve(NEW, 40)
    assert here(store, ledger) == {pinned, used}
    assert not store.has(free)


def test_nothing_goes_in_vain(store: LocalStore, ledger: Ledger, clock: Clock) -> None:
    """What could never fit costs no other blob its place."""
    digests = fill(store, ledger, clock, 30, 30, 30)
    Pins(ledger).pin_all("release", [digests[0]])
    assert not room(store, ledger).reserve(NEW, 71)
    assert not room(store, ledger).reserve(NEW, 2**60)
    limits = StoreLimits(limit_bytes=None, min_free_bytes=2**62)
    assert not Keeping(store, ledger, limits).reserve(NEW, 1)
    assert here(store, ledger) == set(digests)


@pytest.mark.parametrize(("limit", "left"), [(95, 3), (75, 2), (60, 2), (45, 1), (30, 1), (20, 1)])
def test_what_a_lowered_limit_does_not_allow_goes_as_far_as_pins_let_it(
    store: LocalStore, ledger: Ledger, clock: Clock, limit: int, left: int
) -> None:
    """Also where it makes no room ahead of need, for which the pinned ones would have to go too."""
    pinned, *others = fill(store, ledger, clock, 30, 30, 30)
    Pins(ledger).pin_all("release", [pinned])
    room(store, ledger, limit).make_headroom(70)
    assert here(store, ledger) == {pinned, *others[3 - left :]}


def test_a_disk_that_others_fill_costs_no_blob_its_place_in_vain(
    store: LocalStore, ledger: Ledger, clock: Clock
) -> None:
    digests = fill(store, ledger, clock, 30, 30)
    Keeping(store, ledger, StoreLimits(limit_bytes=100, min_free_bytes=2**62)).make_headroom(5)
    assert here(store, ledger) == set(digests)


def test_a_blob_that_is_pinned_while_others_go_stays(
    store: LocalStore, ledger: Ledger, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, second, _ = fill(store, ledger, clock, 30, 30, 30)
    withdraw = LocalStore.withdraw

    def withdraw_and_pin(self: LocalStore, digest: Digest) -> LocalRemoval | None:
        Pins(ledger).pin_all("just now", [second])
        return withdraw(self, digest)

    monkeypatch.setattr(LocalStore, "withdraw", withdraw_and_pin)
    room(store, ledger).evict(BlobRecords(ledger).usages())

    assert here(store, ledger) == {second}


def test_what_is_here_when_a_pin_is_told_stays(
    store: LocalStore, ledger: Ledger, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever pins a blob whose removal has begun is told after it has gone, not before."""
    (digest,) = fill(store, ledger, clock, 30)
    withdraw = LocalStore.withdraw
    told = Event()
    was_here: list[bool] = []

    def pin() -> None:
        Pins(ledger).pin_all("just now", [digest])
        was_here.append(store.has(digest))
        told.set()

    pinning = Thread(target=pin)

    def withdraw_while_somebody_pins(self: LocalStore, digest: Digest) -> LocalRemoval | None:
        pinning.start()
        told.wait(0.3)
        return withdraw(self, digest)

    monkeypatch.setattr(LocalStore, "withdraw", withdraw_while_somebody_pins)
    room(store, ledger).evict(BlobRecords(ledger).usages())
    pinning.join()

    assert was_here == [False]


def test_reservations_are_not_evicted(store: LocalStore, ledger: Ledger, clock: Clock) -> None:
    assert room(store, ledger).reserve(NEW, 60)
    digests = fill(store, ledger, clock, 40)
    assert not room(store, ledger).reserve(OTHER, 41)
    assert here(store, ledger) == set(digests)
    assert room(store, ledger).reserve(OTHER, 40)
    assert here(store, ledger) == set()


def test_what_is_being_read_stays_and_another_goes(store: LocalStore, ledger: Ledger, clock: Clock) -> None:
    """A slow client does not make the store useless for everybody else."""
    oldest, middle, newest = fill(store, ledger, clock, 30, 30, 30)
    blob = store.open(oldest, 30)
    assert blob is not None
    with blob:
        assert room(store, ledger).reserve(NEW, 40)
        assert here(store, ledger) == {oldest, newest}
        assert not store.has(middle)
    assert room(store, ledger).reserve(OTHER, 30)
    assert here(store, ledger) == {newest}


def test_a_blob_that_somebody_deleted_by_hand_makes_room_all_the_same(
    store: LocalStore, ledger: Ledger, clock: Clock
) -> None:
    gone, kept = fill(store, ledger, clock, 50, 50)
    layout_of(store).path(gone).unlink()
    assert room(store, ledger).reserve(NEW, 50)
    assert here(store, ledger) == {kept}


# Foreseeing


def test_what_would_happen_is_said_without_doing_it(store: LocalStore, ledger: Ledger, clock: Clock) -> None:
    first, second, third = fill(store, ledger, clock, 30, 30, 30)
    making = room(store, ledger)
    for needed_bytes, wanted, going, lacking_bytes in (
        (10, (), [], 0),
        (11, (), [first], 0),
        (60, (), [first, second], 0),
        (60, (first,), [second, third], 0),
        (100, (), [first, second, third], 0),
        (101, (), [], 1),
        (90, (first,), [], 20),
    ):
        _, chosen, lacking = making.foresee(needed_bytes, wanted)
        assert [usage.digest for usage in chosen] == going
        assert lacking == lacking_bytes
    assert [usage.digest for usage in room(store, ledger, 100, first).foresee(60, ())[1]] == [second, third]
    Pins(ledger).pin_all("release", [second])
    assert [usage.digest for usage in making.foresee(60, ())[1]] == [first, third]
    assert here(store, ledger) == {first, second, third}
    assert list(ledger.keys("reserved/")) == []


def test_whether_a_blob_would_fit_is_said_without_making_room(
    store: LocalStore, ledger: Ledger, clock: Clock
) -> None:
    pinned, used, free = fill(store, ledger, clock, 20, 20, 40)
    Pins(ledger).pin_all("release", [pinned])
    making = room(store, ledger, 100, used)
    assert making.may_fit(NEW, 20)
    assert making.may_fit(NEW, 60)
    assert not making.may_fit(NEW, 61)
    assert here(store, ledger) == {pinned, used, free}
    assert making.reserve(NEW, 20)
    assert making.may_fit(NEW, 20)
    assert making.may_fit(NEW, 60)
    assert not making.may_fit(OTHER, 41)
    assert here(store, ledger) == {pinned, used, free}


# The disk's own limit


def test_some_of_the_disk_is_kept_free(
    store: LocalStore, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what of a download has arrived is not expected to arrive again."""
    monkeypatch.setattr(store, "free_bytes", lambda: 5000)
    making = Keeping(store, ledger, StoreLimits(min_free_bytes=1000))
    assert not making.reserve(NEW, 4001)
    assert making.reserve(NEW, 3000)
    assert not making.reserve(OTHER, 1001)
    with (layout_of(store).incoming / NEW).open("wb") as partial:
        partial.truncate(3000)
    assert making.reserve(OTHER, 4000)


def test_how_much_is_free_is_what_the_disk_says(store: LocalStore) -> None:
    """To others than root, within what is written meanwhile."""
    status = os.statvfs(layout_of(store).root)
    assert store.free_bytes() == pytest.approx(status.f_bavail * status.f_frsize, rel=0.5)
