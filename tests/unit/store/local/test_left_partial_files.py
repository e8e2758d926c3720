"""What an earlier run has left of a blob is used or removed, and nothing is lost."""

import fcntl
import os
import shutil
from pathlib import Path

import pytest
from support.blobs_coming_in import DATA, DIGEST, HOLD_THE_PARTIAL, SIZE, acquired, finish, mode, partial
from support.holding import Holding
from support.layout import layout_of
from support.stored import removed
from support.unprivileged import as_ordinary_user

from proxy.digest import DigestMismatch
from proxy.store.local.partial import LocalPartial
from proxy.store.local.store import LocalStore

PROVE_THE_PARTIAL = f"""{HOLD_THE_PARTIAL}
incoming.append((bytes(range(256)) * 9000)[incoming.length_bytes:])
incoming.verify()
"""


def leave(store: LocalStore, data: bytes) -> Path:
    """Leave a partial file as an earlier run would."""
    path = layout_of(store).incoming / DIGEST
    path.write_bytes(data)
    return path


# What an earlier run left


def test_bytes_that_are_here_are_not_asked_for_again(store: LocalStore) -> None:
    leave(store, DATA[:700_000])
    incoming = acquired(store)
    assert (incoming.resumed_bytes, incoming.length_bytes) == (700_000, 700_000)
    finish(incoming)
    assert store.read(DIGEST) == DATA


def test_bytes_that_are_here_are_hashed_again(store: LocalStore) -> None:
    """A power cut may have left anything in the file."""
    leave(store, bytes(700_000))
    incoming = acquired(store)
    incoming.append(DATA[700_000:])
    with pytest.raises(DigestMismatch):
        incoming.verify()
    incoming.discard()
    incoming.close()
    finish(acquired(store))
    assert store.read(DIGEST) == DATA


def test_a_partial_file_that_is_whole_needs_nothing_more(store: LocalStore) -> None:
    leave(store, DATA)
    incoming = acquired(store)
    assert incoming.length_bytes == SIZE
    finish(incoming)
    assert store.read(DIGEST) == DATA


def test_a_partial_file_longer_than_the_blob_starts_anew(store: LocalStore) -> None:
    """As another file: who has read part of this one must not be given the rest of what is right."""
    leave(store, b"wrong" + DATA)
    follower = partial(store)
    incoming = acquired(store)
    assert (incoming.resumed_bytes, (layout_of(store).incoming / DIGEST).stat().st_size) == (0, 0)
    assert (follower.progress().is_discarded, follower.is_same(incoming.fd)) == (True, False)
    finish(incoming)
    assert not follower.progress().is_verified
    assert store.read(DIGEST) == DATA
    follower.close()


@pytest.mark.parametrize("mode_bits", [0o444, 0o644, 0o400])
def test_a_file_that_looks_proved_is_not_while_its_writer_has_proved_nothing(
    store: LocalStore, mode_bits: int
) -> None:
    """It holds the lock and is about to hash what a power cut has left."""
    path = leave(store, bytes(SIZE))
    with path.open("rb+") as file:
        path.chmod(mode_bits)
        fcntl.flock(file, fcntl.LOCK_EX)
        reader = partial(store)
        assert reader.progress().length_bytes == SIZE
        assert not reader.progress().is_verified
        reader.close()


def test_a_proof_ends_with_its_process(store: LocalStore) -> None:
    with Holding(PROVE_THE_PARTIAL, layout_of(store).root, DIGEST, SIZE) as prover:
        reader = partial(store)
        assert reader.progress().is_verified
        copy = layout_of(store).incoming / "copy"
        shutil.copy2(layout_of(store).incoming / DIGEST, copy)
        of_copy = LocalPartial(os.open(copy, os.O_RDONLY))
        assert not of_copy.progress().is_verified
        of_copy.close()
        prover.kill()
        assert not reader.progress().is_verified
        reader.close()
    finish(acquired(store))
    assert store.read(DIGEST) == DATA


@pytest.mark.parametrize("data", [DATA, DATA[:-1], bytes(SIZE)], ids=["right", "short", "wrong"])
@pytest.mark.parametrize("is_ordinary", [True, False], ids=["ordinary", "privileged"])
def test_a_partial_file_marked_as_proved_is_not_believed(
    store: LocalStore, data: bytes, *, is_ordinary: bool
) -> None:
    """Its writer died between proof and commit, and nobody knows what came after."""
    leave(store, data).chmod(0o444)

    def resume() -> None:
        incoming = acquired(store)
        assert incoming.resumed_bytes == len(data)
        reader = partial(store)
        assert not reader.progress().is_verified
        reader.close()
        if data == bytes(SIZE):
            with pytest.raises(DigestMismatch):
                incoming.verify()
            incoming.discard()
            incoming.close()
            incoming = acquired(store)
        finish(incoming)

    if is_ordinary:
        as_ordinary_user(resume)
    else:
        resume()
    assert store.read(DIGEST) == DATA
    assert mode(layout_of(store).path(DIGEST)) == 0o444


def test_who_comes_between_proof_and_commit_takes_nothing_back(store: LocalStore) -> None:
    """Followers in other processes have seen that the file is proved, and go by that."""

    def meet() -> None:
        writer = acquired(store)
        writer.append(DATA)
        writer.verify()
        reader = partial(store)
        assert store.acquire(DIGEST, SIZE) is None
        assert reader.progress().is_verified
        writer.commit()
        writer.close()
        reader.close()

    as_ordinary_user(meet)
    assert mode(layout_of(store).path(DIGEST)) == 0o444


def test_a_folder_that_cannot_be_written_is_an_error_and_not_a_wait(store: LocalStore) -> None:
    layout_of(store).incoming.chmod(0o555)
    try:
        with pytest.raises(PermissionError):
            as_ordinary_user(lambda: store.acquire(DIGEST, SIZE))
    finally:
        layout_of(store).incoming.chmod(0o755)


# Discarding and removing


def test_followers_see_when_it_is_discarded(store: LocalStore) -> None:
    incoming = acquired(store)
    incoming.append(bytes(1000))
    reader = partial(store)
    incoming.discard()
    assert reader.progress().is_discarded
    reader.close()
    successor = acquired(store)
    assert successor.resumed_bytes == 0
    incoming.close()
    finish(successor)
    assert store.read(DIGEST) == DATA


def test_a_blob_is_not_removed_while_its_writer_is_at_it(store: LocalStore) -> None:
    incoming = acquired(store)
    incoming.append(DATA)
    incoming.verify()
    incoming.commit()
    assert not removed(store, DIGEST)
    incoming.close()
    assert removed(store, DIGEST)


def test_a_follower_keeps_a_committed_blob_from_removal(store: LocalStore) -> None:
    incoming = acquired(store)
    reader = partial(store)
    reader.keep()
    finish(incoming)
    reader.keep()
    assert not removed(store, DIGEST)
    reader.close()
    assert removed(store, DIGEST)


def test_who_opens_a_blob_before_its_writer_has_closed_it_keeps_it_from_removal(store: LocalStore) -> None:
    incoming = acquired(store)
    reader = partial(store)
    assert not reader.keep()
    incoming.append(DATA)
    incoming.verify()
    incoming.commit()
    assert reader.keep()
    blob = store.open(DIGEST, SIZE)
    assert blob is not None
    incoming.close()
    reader.close()
    assert not removed(store, DIGEST)
    blob.close()
    assert removed(store, DIGEST)


def test_opening_while_the_writer_holds_on_works(store: LocalStore) -> None:
    incoming = acquired(store)
    incoming.append(DATA)
    incoming.verify()
    incoming.commit()
    blob = store.open(DIGEST, SIZE)
    assert blob is not None
    with blob:
        assert os.pread(blob.fd, SIZE, 0) == DATA
    incoming.close()
