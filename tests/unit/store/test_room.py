"""Room for what is about to arrive: reserved before, and counted alike by all processes."""

import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.failing_disk import locked
from support.holding import Holding
from support.keeping import Keeping, fill, here, room
from support.layout import layout_of
from support.running import Clock
from support.stored import recorded

from proxy.digest import digest_of
from proxy.store.blob_records import BlobRecords
from proxy.store.ledger import Ledger, LedgerUnavailable
from proxy.store.limits import StoreLimits
from proxy.store.local.store import LocalStore
from proxy.store.pins import Pins
from proxy.store.proofs import Proofs

NEW, OTHER = digest_of(b"new"), digest_of(b"other")


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
ledger = Ledger(Path(sys.argv[1]).parent / "ledger")
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


def test_reservations_count_for_every_process(store: LocalStore, ledger: Ledger, directory: Path) -> None:
    assert room(store, ledger).reserve(NEW, 60)
    with closing(Ledger(directory)) as of_another_worker:
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


def test_what_needs_no_room_fits_however_full_the_disk_is(
    store: LocalStore, ledger: Ledger, clock: Clock
) -> None:
    fill(store, ledger, clock, 60, 60)
    full = Keeping(store, ledger, StoreLimits(limit_bytes=100, min_free_bytes=2**60), set)

    assert full.foresee(1, ())[2] > 0
    assert full.foresee(0, ())[1:] == ([], 0)
