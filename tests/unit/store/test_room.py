"""Room for what is about to arrive: reserved before, evicted for, and counted alike by all processes."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.failing_disk import locked
from support.holding import Holding
from support.keeping import Keeping
from support.layout import layout_of
from support.running import Clock
from support.stored import recorded

from proxy.digest import Digest, digest_of
from proxy.store.blob_records import BlobRecords
from proxy.store.eviction_order import Usage
from proxy.store.ledger import Ledger, LedgerUnavailable
from proxy.store.limits import StoreLimits
from proxy.store.local.removal import LocalRemoval
from proxy.store.local.store import LocalStore
from proxy.store.pins import Pins
from proxy.store.proofs import Proofs

NEW, OTHER = digest_of(b"new"), digest_of(b"other")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """Return an empty store."""
    return LocalStore(tmp_path / "data")


@pytest.fixture
def ledger(store: LocalStore, clock: Clock) -> Iterator[Ledger]:
    """Return its ledger."""
    with closing(Ledger(layout_of(store).root / "ledger", clock)) as ledger:
        yield ledger


def room(store: LocalStore, ledger: Ledger, limit_bytes: int | None = 100, *in_use: Digest) -> Keeping:
    """Make room within `limit_bytes`."""
    limits = StoreLimits(limit_bytes=limit_bytes, min_free_bytes=0)
    return Keeping(store, ledger, limits, lambda: set(in_use))


def fill(store: LocalStore, ledger: Ledger, clock: Clock, *sizes: int) -> list[Digest]:
    """Put blobs of these sizes into the store, each used later than the one before."""
    digests = []
    for number, size in enumerate(sizes):
        digests.append(store.put(bytes([number]) * size))
        BlobRecords(ledger).add(digests[-1], size)
        clock.advance(1)
    return digests


def here(store: LocalStore, ledger: Ledger) -> set[Digest]:
    """Return the blobs that are here, of which disk and ledger must agree."""
    found = {one.digest: one.size_bytes for one in store.scan()}
    assert found == {usage.digest: usage.size_bytes for usage in BlobRecords(ledger).usages()}
    assert BlobRecords(ledger).total_bytes() == sum(found.values())
    return set(found)


def test_there_is_room_up_to_the_limit(store: LocalStore, ledger: Ledger) -> None:
    making = room(store, ledger)
    assert making.reserve(NEW, 60)
    assert not making.reserve(OTHER, 41)
    assert making.reserve(OTHER, 40)


def test_without_a_limit_only_the_disk_counts(store: LocalStore, ledger: Ledger) -> None:
    assert room(store, ledger, None).reserve(NEW, 1000)
    assert not room(store, ledger, None).reserve(OTHER, 2**60)


def test_reserving_again_for_the_same_blob_is_free(store: LocalStore, ledger: Ledger) -> None:
    making = room(store, ledger)
    assert all(making.reserve(NEW, 100) for _ in range(3))
    assert not making.reserve(OTHER, 1)


def test_a_reservation_can_grow_if_there_is_room(store: LocalStore, ledger: Ledger) -> None:
    """Lists may disagree on a size."""
    making = room(store, ledger)
    assert making.reserve(NEW, 60)
    assert making.reserve(NEW, 100)
    assert not making.reserve(NEW, 101)
    assert not making.reserve(OTHER, 1)


def test_what_nobody_fetches_now_reserves_no_more_than_it_has(store: LocalStore, ledger: Ledger) -> None:
    making = room(store, ledger)
    assert making.reserve(NEW, 90)
    making.shrink(NEW, 30)
    assert making.reserve(OTHER, 70)
    assert not making.reserve(NEW, 90)
    making.give_back(OTHER)
    assert making.reserve(NEW, 90)


SIZES = st.integers(0, 60)


@given(
    blobs=st.lists(SIZES, max_size=3),
    partials=st.lists(st.tuples(SIZES, SIZES), max_size=3),
    settled=st.lists(SIZES, max_size=2),
    margin=st.none() | st.integers(-3, 3) | SIZES,
    size=st.integers(1, 60),
)
def test_a_blob_fits_if_all_that_is_here_or_set_aside_leaves_room_for_it(
    blobs: list[int], partials: list[tuple[int, int]], settled: list[int], margin: int | None, size: int
) -> None:
    """Whatever has arrived of what is set aside; what has become a blob counts once."""
    with tempfile.TemporaryDirectory() as folder:
        store = LocalStore(Path(folder))
        with closing(Ledger(Path(folder) / "ledger", lambda: 0.0)) as ledger:
            making = room(store, ledger, None)
            for number, blob_bytes in enumerate(blobs):
                BlobRecords(ledger).add(digest_of(f"blob {number}".encode()), blob_bytes)
            for number, (reserved, arrived) in enumerate(partials):
                digest = digest_of(f"partial {number}".encode())
                assert making.reserve(digest, reserved)
                layout_of(store).partial(digest).write_bytes(bytes(min(reserved, arrived)))
            for number, blob_bytes in enumerate(settled):
                digest = digest_of(f"settled {number}".encode())
                assert making.reserve(digest, blob_bytes)
                BlobRecords(ledger).add(digest, blob_bytes)
            used = sum(blobs) + sum(reserved for reserved, _ in partials) + sum(settled)
            limit = None if margin is None else max(0, used + size + margin)
            fits = limit is None or used + size <= limit
            assert (room(store, ledger, limit).reservations.missing_bytes(NEW, size) <= 0) == fits


FILLS = """
from pathlib import Path
from threading import Event, Thread
from proxy.store.local.incoming import LocalIncoming
from proxy.store.ledger import Ledger
from proxy.store.limits import StoreLimits
from proxy.store.local.store import LocalStore
from proxy.store.blob_records import BlobRecords
from proxy.store.proofs import Proofs
from proxy.store.reservations import Reservations
digest, size_bytes, data = sys.argv[2], int(sys.argv[3]), sys.argv[4].encode()
store = LocalStore(Path(sys.argv[1]))
ledger = Ledger(Path(sys.argv[1]) / "ledger")
blobs = BlobRecords(ledger)
limits = StoreLimits(limit_bytes=100, min_free_bytes=0)
assert Reservations(store, ledger, blobs, Proofs(store, blobs), limits).take(digest, size_bytes) <= 0
incoming = store.acquire(digest, size_bytes)
incoming.append(data)
if len(data) == size_bytes:
    incoming.verify()
    incoming.commit()
"""


def test_what_a_killed_process_began_keeps_no_more_room_than_it_has(
    store: LocalStore, ledger: Ledger
) -> None:
    """Nobody may ever ask for it again."""
    with Holding(FILLS, layout_of(store).root, NEW, "60", "begun"):
        assert not room(store, ledger).reserve(OTHER, 95)

    assert room(store, ledger).may_fit(OTHER, 95)
    assert room(store, ledger).reserve(OTHER, 95)
    assert recorded(ledger, f"reserved/{NEW}") == len("begun")


def test_a_download_that_nobody_goes_on_with_goes_before_what_was_used_later(
    store: LocalStore, ledger: Ledger, clock: Clock
) -> None:
    with Holding(FILLS, layout_of(store).root, NEW, "60", "begun"):
        pass
    clock.advance(3600)
    (blob,) = fill(store, ledger, clock, 50)

    assert room(store, ledger).reserve(OTHER, 50)

    assert here(store, ledger) == {blob}
    assert not (layout_of(store).incoming / NEW).exists()
    assert ledger.keys("reserved/") == [f"reserved/{OTHER}"]


def test_a_pinned_download_stays(store: LocalStore, ledger: Ledger) -> None:
    with Holding(FILLS, layout_of(store).root, NEW, "60", "begun"):
        pass
    Pins(ledger).pin_all("test", [NEW])

    assert not room(store, ledger).reserve(OTHER, 100)
    assert (layout_of(store).incoming / NEW).read_bytes() == b"begun"


def test_what_a_killed_process_committed_and_did_not_note_is_noted(store: LocalStore, ledger: Ledger) -> None:
    """The keeper does it, without a restart of its own."""
    with Holding(FILLS, layout_of(store).root, NEW, "3", "new"):
        pass
    assert not BlobRecords(ledger).usages()

    room(store, ledger).make_headroom(0)

    assert here(store, ledger) == {NEW}
    assert not ledger.keys("reserved/")


def test_a_blob_that_could_not_be_noted_is_noted_later(
    store: LocalStore, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process lives, and has gone on to other things."""
    monkeypatch.setattr("proxy.store.table.PATIENCE_S", 0.05)
    making = room(store, ledger)
    assert making.reserve(NEW, 3)
    store.put(b"new")
    with locked(ledger.directory / "blobs" / "cache.db"), pytest.raises(LedgerUnavailable):
        making.settle(NEW, 3)

    making.make_headroom(0)

    assert here(store, ledger) == {NEW}
    assert not ledger.keys("reserved/")


def test_reservations_count_for_every_process(store: LocalStore, ledger: Ledger) -> None:
    assert room(store, ledger).reserve(NEW, 60)
    with closing(Ledger(layout_of(store).root / "ledger")) as of_another_worker:
        assert not room(store, of_another_worker).reserve(OTHER, 60)
        room(store, ledger).give_back(NEW)
        assert room(store, of_another_worker).reserve(OTHER, 60)


def test_a_reservation_becomes_a_blob(store: LocalStore, ledger: Ledger) -> None:
    making = room(store, ledger)
    digest = digest_of(bytes(60))
    assert making.reserve(digest, 60)
    store.put(bytes(60))
    making.settle(digest, 60)
    assert here(store, ledger) == {digest}
    assert making.reserve(NEW, 40)
    assert here(store, ledger) == {digest}


# Eviction


def test_a_blob_that_was_just_proved_and_committed_counts_as_proved(
    store: LocalStore, ledger: Ledger
) -> None:
    """Or it would be hashed again at once."""
    proofs = Proofs(store, BlobRecords(ledger))
    making = room(store, ledger)
    assert making.reserve(NEW, 3)
    store.put(b"new")
    assert not proofs.is_recent(NEW)
    making.settle(NEW, 3)
    assert proofs.is_recent(NEW)


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


# After a crash


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


def test_what_needs_no_room_fits_however_full_the_disk_is(
    store: LocalStore, ledger: Ledger, clock: Clock
) -> None:
    fill(store, ledger, clock, 60, 60)
    full = Keeping(store, ledger, StoreLimits(limit_bytes=100, min_free_bytes=2**60), set)

    assert full.foresee(1, ())[2] > 0
    assert full.foresee(0, ())[1:] == ([], 0)
