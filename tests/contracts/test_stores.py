"""What every place for blobs must do: the contract of proxy/store/protocols.py.

A further kind adds a `Place` to `PLACES`.
"""

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest
from support.layout import Layout
from support.memory_store import MemoryStore
from support.stored import removed

from proxy.digest import Digest, DigestMismatch, SizeMismatch, digest_of
from proxy.store.local.store import LocalStore
from proxy.store.protocols import DAMAGED, Incoming, PruneStore

DATA = bytes(range(256)) * 40
DIGEST = digest_of(DATA)
SIZE = len(DATA)
OTHER = digest_of(b"another one")


@dataclass
class Place:
    """A place for blobs, and what the tests do to it behind its back."""

    store: PruneStore
    damage: Callable[[Digest], None]
    """Change a byte of a blob, and not its length."""


def local(folder: Path) -> Place:
    """Return files in a folder."""

    def damage(digest: Digest) -> None:
        path = Layout(folder).path(digest)
        path.chmod(0o644)
        path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])

    return Place(LocalStore(folder), damage)


def in_memory(_: Path) -> Place:
    """Return a place of another kind."""
    store = MemoryStore()
    return Place(store, store.damage)


PLACES = [local, in_memory]


@pytest.fixture(params=PLACES, ids=lambda make: make.__name__)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Return an empty place."""
    made = request.param(tmp_path)
    assert isinstance(made, Place)
    return made


@pytest.fixture
def store(place: Place) -> PruneStore:
    """Return an empty store."""
    return place.store


def acquired(store: PruneStore, size_bytes: int = SIZE) -> Incoming:
    incoming = store.acquire(DIGEST, size_bytes)
    assert incoming is not None
    return incoming


def fill(store: PruneStore) -> None:
    """Bring the blob in as a fill does."""
    with closing(acquired(store)) as incoming:
        incoming.append(DATA[incoming.length_bytes :])
        incoming.verify()
        incoming.commit()


def adopt(store: PruneStore, *, commits: bool = True) -> Digest:
    """Bring the blob in from a file of somebody else."""
    with NamedTemporaryFile() as file:
        file.write(DATA)
        file.flush()
        with closing(store.adopt(file.fileno())) as adoption:
            while adoption.step():
                pass
            if commits:
                adoption.commit()
            return adoption.digest


# Reading


def test_what_is_not_there_is_missing_everywhere(store: PruneStore) -> None:
    assert [store.open(DIGEST), store.read(DIGEST), store.size_bytes(DIGEST)] == [None] * 3
    assert not store.has(DIGEST)
    assert not store.is_whole(DIGEST, SIZE)
    assert not store.is_intact(DIGEST)
    assert store.stored_bytes(DIGEST, SIZE) == 0
    assert store.problem(DIGEST, SIZE, deep=False) == "is missing"
    assert [store.changed_ns(DIGEST), store.inspect(DIGEST)] == [None] * 2
    assert [store.partial_status(DIGEST), store.follow(DIGEST)] == [None] * 2
    assert not list(store.scan())
    assert not list(store.partial_digests())


@pytest.mark.parametrize(
    "bring", [lambda store: store.put(DATA), fill, adopt], ids=["put", "filled", "adopted"]
)
def test_what_was_stored_is_read_in_every_way(
    store: PruneStore, bring: Callable[[PruneStore], object]
) -> None:
    bring(store)
    assert store.read(DIGEST) == DATA
    assert (store.has(DIGEST), store.size_bytes(DIGEST)) == (True, SIZE)
    assert store.is_whole(DIGEST, SIZE)
    assert not store.is_whole(DIGEST, SIZE + 1)
    assert store.is_intact(DIGEST)
    assert store.stored_bytes(DIGEST, SIZE) == SIZE
    assert store.problem(DIGEST, SIZE, deep=True) is None
    assert store.shard_sizes(DIGEST[:2]) == {DIGEST: SIZE}
    assert [found[:2] for found in store.scan()] == [(DIGEST, SIZE)]


def test_who_sends_a_blob_gets_a_descriptor_of_all_its_bytes(store: PruneStore) -> None:
    store.put(DATA)
    for size_bytes in (None, SIZE):
        blob = store.open(DIGEST, size_bytes)
        assert blob is not None
        with blob:
            assert blob.size_bytes == SIZE
            assert os.pread(blob.fd, SIZE, 0) == DATA
            assert os.pread(blob.fd, 10, 100) == DATA[100:110]
            copy = os.dup(blob.fd)
        assert blob.fd < 0
        assert os.pread(copy, SIZE, 0) == DATA
        os.close(copy)


def test_a_blob_of_another_size_than_asked_for_is_not_opened(store: PruneStore) -> None:
    store.put(DATA)
    assert store.open(DIGEST, SIZE - 1) is None
    assert store.problem(DIGEST, SIZE - 1, deep=False) == f"has {SIZE} bytes instead of {SIZE - 1}"
    assert "wrong size" in str(store.audit(DIGEST, SIZE - 1))
    assert store.has(DIGEST)


def test_what_was_adopted_and_not_committed_leaves_nothing(store: PruneStore) -> None:
    assert adopt(store, commits=False) == DIGEST
    assert not store.has(DIGEST)
    assert not list(store.partial_digests())


def test_storing_again_changes_nothing(store: PruneStore) -> None:
    store.put(DATA)
    before = store.changed_ns(DIGEST)
    assert store.put(DATA) == DIGEST
    assert store.changed_ns(DIGEST) == before


# Writing


def test_a_partial_file_has_one_writer_and_many_readers(store: PruneStore) -> None:
    with closing(acquired(store)) as incoming:
        assert store.acquire(DIGEST, SIZE) is None
        incoming.append(DATA[:1000], DATA[1000:3000])
        reader = store.follow(DIGEST)
        assert reader is not None
        with closing(reader):
            assert (incoming.length_bytes, reader.progress().length_bytes) == (3000, 3000)
            assert os.pread(reader.fd, SIZE, 0) == os.pread(incoming.fd, SIZE, 0) == DATA[:3000]
            assert reader.is_same(incoming.fd)
            assert not reader.progress().is_verified
            assert store.stored_bytes(DIGEST, SIZE) == 3000
            assert not store.has(DIGEST)
            assert list(store.partial_digests()) == [DIGEST]
            incoming.append(DATA[3000:])
            incoming.verify()
            assert reader.progress().is_verified
            incoming.commit()
            assert os.pread(reader.fd, SIZE, 0) == DATA
            assert not reader.progress().is_discarded
    assert not list(store.partial_digests())


def test_a_writer_shows_that_it_lives_without_bytes_too(store: PruneStore) -> None:
    with closing(acquired(store)) as incoming:
        incoming.append(DATA[:1000])
        reader = store.follow(DIGEST)
        assert reader is not None
        with closing(reader):
            before = reader.progress()
            while reader.progress().last_sign == before.last_sign:  # The kernel's clock of files is coarse.
                incoming.touch()
            assert reader.progress() == replace(before, last_sign=reader.progress().last_sign)
    incoming.touch()  # Too late, and nobody minds.


def test_what_is_received_into_a_buffer_is_taken_up_to_the_bound(store: PruneStore) -> None:
    left = bytearray(DATA)

    def receive(buffer: memoryview) -> int:
        count = min(len(buffer), len(left))
        buffer[:count] = left[:count]
        del left[:count]
        return count

    with closing(acquired(store)) as incoming:
        incoming.draw(receive, 1500)
        assert incoming.length_bytes == 1500
        incoming.draw(receive, SIZE)
        incoming.verify()
        incoming.commit()
    assert store.read(DIGEST) == DATA


def test_an_interrupted_fill_goes_on_where_it_ended(store: PruneStore) -> None:
    with closing(acquired(store)) as incoming:
        incoming.append(DATA[:3000])
    assert store.partial_status(DIGEST) is not None
    with closing(acquired(store)) as incoming:
        assert (incoming.resumed_bytes, incoming.length_bytes) == (3000, 3000)
    fill(store)
    assert store.read(DIGEST) == DATA


def test_a_beginning_longer_than_the_blob_starts_anew(store: PruneStore) -> None:
    with closing(acquired(store)) as incoming:
        incoming.append(DATA[:3000])
    follower = store.follow(DIGEST)
    assert follower is not None
    with closing(follower), closing(acquired(store, 2000)) as incoming:
        assert incoming.length_bytes == 0
        assert follower.progress().is_discarded
        assert not follower.is_same(incoming.fd)


def test_a_writer_that_wrote_nothing_leaves_nothing(store: PruneStore) -> None:
    acquired(store).close()
    assert store.partial_status(DIGEST) is None


def test_what_is_discarded_is_gone_and_its_readers_see_that(store: PruneStore) -> None:
    with closing(acquired(store)) as incoming:
        incoming.append(DATA[:3000])
        reader = store.follow(DIGEST)
        assert reader is not None
        incoming.discard()
    with closing(reader):
        assert reader.progress().is_discarded
    assert store.partial_status(DIGEST) is None


def test_wrong_bytes_are_not_proved(store: PruneStore) -> None:
    with closing(acquired(store)) as incoming:
        incoming.append(DATA[::-1])
        with pytest.raises(DigestMismatch):
            incoming.verify()
        with pytest.raises(SizeMismatch):
            incoming.append(b"more")


def test_an_adopted_blob_reads_on_as_a_partial_file(store: PruneStore) -> None:
    store.put(DATA)
    blob = store.open(DIGEST)
    assert blob is not None
    with closing(blob.as_partial()) as partial:
        assert blob.fd < 0
        assert os.pread(partial.fd, SIZE, 0) == DATA
        assert partial.progress().length_bytes == SIZE
        assert not removed(store, DIGEST)
    assert removed(store, DIGEST)


def test_the_place_can_be_tried_out_and_nothing_of_it_stays(store: PruneStore) -> None:
    store.try_out()
    assert not list(store.scan())
    assert not list(store.partial_digests())


# Pruning


def test_what_is_removed_is_gone(store: PruneStore) -> None:
    store.put(DATA)
    kept = store.put(b"another one")
    assert removed(store, DIGEST)
    assert removed(store, DIGEST)  # And stays so.
    assert [found.digest for found in store.scan()] == [kept]


def test_what_is_read_is_not_removed_until_it_is_closed(store: PruneStore) -> None:
    store.put(DATA)
    blob = store.open(DIGEST, SIZE)
    assert blob is not None
    with blob:
        assert not removed(store, DIGEST)
        assert store.has(DIGEST)
    assert removed(store, DIGEST)


def test_a_follower_keeps_what_was_committed(store: PruneStore) -> None:
    incoming = acquired(store)
    incoming.append(DATA)
    reader = store.follow(DIGEST)
    assert reader is not None
    incoming.verify()
    incoming.commit()
    incoming.close()
    reader.keep()
    assert not removed(store, DIGEST)
    reader.close()
    assert removed(store, DIGEST)


@pytest.mark.parametrize(
    "find",
    [
        lambda store: store.read(DIGEST),
        lambda store: store.is_intact(DIGEST),
        lambda store: store.audit(DIGEST, SIZE),
        lambda store: store.set_aside(DIGEST),
    ],
    ids=["read", "is_intact", "audit", "set_aside"],
)
def test_what_is_found_damaged_is_set_aside(place: Place, find: Callable[[PruneStore], object]) -> None:
    place.store.put(DATA)
    place.damage(DIGEST)
    assert place.store.problem(DIGEST, SIZE, deep=False) is None
    assert place.store.problem(DIGEST, SIZE, deep=True) == DAMAGED
    assert not find(place.store)
    assert not place.store.has(DIGEST)
    assert place.store.set_aside_count() == 1
    assert place.store.put(DATA) == DIGEST
    assert place.store.read(DIGEST) == DATA


def test_a_change_shows(place: Place) -> None:
    place.store.put(DATA)
    before = place.store.changed_ns(DIGEST)
    place.damage(DIGEST)
    assert place.store.changed_ns(DIGEST) != before


@pytest.mark.parametrize("is_damaged", [False, True])
def test_a_blob_is_hashed_piece_by_piece_and_may_be_removed_meanwhile(place: Place, is_damaged: bool) -> None:
    place.store.put(DATA)
    if is_damaged:
        place.damage(DIGEST)
    for is_removed in (False, True):
        inspection = place.store.inspect(DIGEST)
        assert inspection is not None
        with closing(inspection):
            hashed_bytes = inspection.step()
            if is_removed:
                assert removed(place.store, DIGEST)
            while count := inspection.step():
                hashed_bytes += count
            assert hashed_bytes == SIZE
            assert inspection.is_damaged() == (is_damaged and not is_removed)


def test_a_partial_file_that_is_written_stays_and_another_goes(store: PruneStore) -> None:
    with closing(acquired(store)) as incoming:
        incoming.append(DATA[:3000])
        assert not store.drop_partial(DIGEST)
        store.remove_idle_partials(-1)
        assert list(store.partial_digests()) == [DIGEST]
    store.remove_idle_partials(3600)
    assert list(store.partial_digests()) == [DIGEST]
    store.remove_idle_partials(-1)
    assert not list(store.partial_digests())
    with closing(acquired(store)) as incoming:
        incoming.append(DATA[:3000])
    assert store.drop_partial(DIGEST)
    assert store.drop_partial(OTHER)  # Of which there is none.
    assert not list(store.partial_digests())


def test_looking_after_an_intact_place_changes_nothing(store: PruneStore) -> None:
    store.put(DATA)
    store.remove_dead_drafts()
    store.restore()
    assert store.read(DIGEST) == DATA
    assert store.free_bytes() > 0
