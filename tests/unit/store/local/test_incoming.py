"""Blobs on their way in: from the first byte to the commit."""

import io
import itertools
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.blobs_coming_in import DATA, DIGEST, SIZE, acquired, mode, partial
from support.layout import layout_of
from support.stored import removed

from proxy.digest import DigestMismatch, SizeMismatch, digest_of
from proxy.store.local.store import LocalStore


def test_a_blob_arrives_piece_by_piece(store: LocalStore) -> None:
    incoming = acquired(store)
    assert (incoming.resumed_bytes, incoming.length_bytes) == (0, 0)
    for start in range(0, SIZE, 100_000):
        incoming.append(DATA[start : start + 100_000])
    assert incoming.length_bytes == SIZE
    assert not store.has(DIGEST)
    incoming.verify()
    incoming.commit()
    incoming.close()
    incoming.close()
    assert store.read(DIGEST) == DATA
    assert mode(layout_of(store).path(DIGEST)) == 0o444
    assert list(layout_of(store).incoming.iterdir()) == []


@pytest.mark.parametrize("chunk_bytes", [61, 4096, 256_000, 1_048_576, 1_400_000, SIZE])
def test_chunks_of_any_size_arrive_in_order_together_or_one_by_one(
    store: LocalStore, chunk_bytes: int
) -> None:
    """Many small ones are more than one call may write, large ones end amid a piece."""
    incoming = acquired(store)
    chunks = [DATA[start : start + chunk_bytes] for start in range(0, SIZE, chunk_bytes)]
    incoming.append(chunks[0])
    incoming.append(*chunks[1:])
    incoming.append()
    incoming.verify()
    incoming.commit()
    incoming.close()
    assert store.read(DIGEST) == DATA


@pytest.mark.parametrize("begun_bytes", [0, 1, 1_048_576, 1_400_000])
@pytest.mark.parametrize("at_once_bytes", [200_000, 1_048_576, SIZE])
def test_what_is_drawn_arrives_in_order_whatever_comes_at_once(
    store: LocalStore, begun_bytes: int, at_once_bytes: int
) -> None:
    """From any offset on, with times between at which there is nothing."""
    incoming = acquired(store)
    incoming.append(DATA[:begun_bytes])
    source = io.BytesIO(DATA[begun_bytes:])
    pauses = itertools.cycle([False, True, True])

    def receive(buffer: memoryview) -> int:
        return 0 if next(pauses) else source.readinto(buffer[:at_once_bytes])

    while incoming.length_bytes < SIZE:
        before_bytes = incoming.length_bytes
        incoming.draw(receive, SIZE)
        assert 0 <= incoming.length_bytes - before_bytes <= at_once_bytes
    incoming.verify()
    incoming.commit()
    incoming.close()
    assert store.read(DIGEST) == DATA


def test_what_is_appended_is_written_on_the_boundaries_of_its_pieces(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From wherever it begins: each is in the file before the next one is hashed."""
    lengths = []
    writev = os.writev

    def write(fd: int, parts: list[memoryview]) -> int:
        written = writev(fd, parts)
        lengths.append(os.fstat(fd).st_size)
        return written

    monkeypatch.setattr(os, "writev", write)
    incoming = acquired(store)
    incoming.append(DATA[:100_000])
    incoming.append(DATA[100_000:])
    assert lengths == [100_000, 1_048_576, 2_097_152, SIZE]
    incoming.close()


def test_nothing_is_asked_for_when_a_piece_is_full(store: LocalStore) -> None:
    """A socket would take that for the end of what comes."""
    incoming = acquired(store)
    source = io.BytesIO(DATA)
    asked_bytes = []

    def receive(buffer: memoryview) -> int:
        asked_bytes.append(len(buffer))
        return source.readinto(buffer)

    incoming.draw(receive, SIZE)
    assert asked_bytes == [1_048_576, 1_048_576]
    incoming.close()


def test_no_more_is_drawn_than_was_asked_for(store: LocalStore) -> None:
    """Up to where a piece of the file ends, if that is farther on: others have their turn."""
    incoming = acquired(store)
    source = io.BytesIO(DATA)
    lengths = []
    for most_bytes in (1_200_000, 200_000, 1_200_000):
        incoming.draw(source.readinto, most_bytes)
        lengths.append(incoming.length_bytes)
    assert lengths == [1_048_576, 1_248_576, 2_097_152]
    assert source.tell() == 2_097_152
    incoming.close()


def test_more_bytes_than_promised_are_not_drawn_into_the_file(store: LocalStore) -> None:
    incoming = acquired(store)
    source = io.BytesIO(DATA + b"!")
    with pytest.raises(SizeMismatch):
        incoming.draw(source.readinto, 2 * SIZE)
    assert (layout_of(store).incoming / DIGEST).stat().st_size <= SIZE
    incoming.close()


def test_a_reader_sees_it_grow_and_be_proved_and_keeps_it(store: LocalStore) -> None:
    """One descriptor from the first byte to long after the commit."""
    assert store.follow(DIGEST) is None
    incoming = acquired(store)
    reader = partial(store)
    seen = [reader.progress()]
    incoming.append(DATA[:1000])
    seen.append(reader.progress())
    incoming.append(DATA[1000:])
    seen.append(reader.progress())
    incoming.verify()
    seen.append(reader.progress())
    incoming.commit()
    incoming.close()
    seen.append(reader.progress())
    assert [(one.length_bytes, one.is_verified, one.is_discarded) for one in seen] == [
        (0, False, False),
        (1000, False, False),
        (SIZE, False, False),
        (SIZE, True, False),
        (SIZE, False, False),
    ]
    assert os.pread(reader.fd, SIZE, 0) == DATA
    removed(store, DIGEST)
    assert reader.progress().is_discarded
    assert os.pread(reader.fd, SIZE, 0) == DATA
    reader.close()
    reader.close()


def test_nothing_is_called_verified_before_all_of_it_is_right(store: LocalStore) -> None:
    incoming = acquired(store)
    incoming.append(DATA[:-1])
    with pytest.raises(SizeMismatch):
        incoming.verify()
    incoming.append(b"x")
    with pytest.raises(DigestMismatch):
        incoming.verify()
    reader = partial(store)
    assert not reader.progress().is_verified
    reader.close()
    incoming.close()


def test_more_bytes_than_promised_are_not_written(store: LocalStore) -> None:
    incoming = acquired(store)
    incoming.append(DATA)
    with pytest.raises(SizeMismatch):
        incoming.append(b"x")
    incoming.close()
    assert (layout_of(store).incoming / DIGEST).stat().st_size == SIZE


def test_an_empty_blob_arrives_too(store: LocalStore) -> None:
    incoming = store.acquire(digest_of(b""), 0)
    assert incoming is not None
    incoming.verify()
    incoming.commit()
    incoming.close()
    assert store.read(digest_of(b"")) == b""


def test_a_sign_of_life_waits_for_nobody_who_is_at_work(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As while the disk takes its time for a commit."""
    incoming = acquired(store)
    incoming.append(DATA)
    incoming.verify()
    is_syncing, is_released = threading.Event(), threading.Event()

    def fsync_slowly(fd: int) -> None:  # noqa: ARG001
        is_syncing.set()
        is_released.wait(60)

    monkeypatch.setattr(os, "fsync", fsync_slowly)
    with ThreadPoolExecutor(2) as pool:
        committing = pool.submit(incoming.commit)
        assert is_syncing.wait(60)
        try:
            pool.submit(incoming.touch).result(timeout=30)
        finally:
            is_released.set()
        committing.result()
    incoming.touch()
    incoming.close()
    incoming.touch()
