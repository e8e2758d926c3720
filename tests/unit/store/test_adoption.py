"""Files of somebody else as blobs: when they are linked, and when that would not be safe."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from support.layout import layout_of

from proxy.digest import digest_of
from proxy.store.local.adoption import LocalAdoption
from proxy.store.local.store import LocalStore
from proxy.system.same_bytes import Way, clone

DATA = os.urandom(3_000_000)
DIGEST = digest_of(DATA)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file as sstream-mirror leaves one; there are no clones, or nothing would be linked."""
    path = tmp_path / "squashfs"
    path.write_bytes(DATA)
    path.chmod(0o644)
    with path.open("rb") as source, (tmp_path / "probe").open("wb") as probe:
        if clone(source.fileno(), probe.fileno()):
            pytest.skip("this file system clones")
    return path


@contextmanager
def adopted(store: LocalStore, file: Path) -> Iterator[LocalAdoption]:
    with file.open("rb") as source, closing(store.adopt(source.fileno())) as adoption:
        yield adoption


def hash_all(adoption: LocalAdoption) -> None:
    while adoption.step():
        pass


def left_over(store: LocalStore) -> list[str]:
    return [path.name for path in layout_of(store).incoming.iterdir()]


def test_a_file_of_ours_becomes_a_blob_without_being_copied(store: LocalStore, file: Path) -> None:
    with adopted(store, file) as adoption:
        hash_all(adoption)
        adoption.commit()
        assert (adoption.way, adoption.digest) == (Way.LINKED, DIGEST)
    assert layout_of(store).path(DIGEST).samefile(file)
    assert file.stat().st_mode & 0o777 == 0o444
    assert left_over(store) == []


def test_what_is_not_wanted_stays_as_it_was(store: LocalStore, file: Path) -> None:
    with adopted(store, file) as adoption:
        hash_all(adoption)
    assert (file.stat().st_mode & 0o777, file.stat().st_nlink) == (0o644, 1)
    assert left_over(store) == []


def test_who_has_it_open_for_writing_could_change_the_blob_so_it_is_copied(
    store: LocalStore, file: Path
) -> None:
    with file.open("r+b"), adopted(store, file) as adoption:
        hash_all(adoption)
        adoption.commit()
        assert adoption.way is Way.COPIED
    assert not layout_of(store).path(DIGEST).samefile(file)
    assert (file.stat().st_mode & 0o777, file.stat().st_nlink) == (0o644, 1)
    assert store.problem(DIGEST, len(DATA), deep=True) is None


def test_what_is_written_while_it_is_read_becomes_no_blob(store: LocalStore, file: Path) -> None:
    with adopted(store, file) as adoption:
        adoption.step()
        os.utime(file, ns=(0, 0))
        hash_all(adoption)
        with pytest.raises(OSError, match="wrote to the file"):
            adoption.commit()
    assert not store.has(DIGEST)
    assert left_over(store) == []


def test_who_opens_it_for_writing_meanwhile_is_noticed_and_ends_nobody(store: LocalStore, file: Path) -> None:
    with adopted(store, file) as adoption:
        hash_all(adoption)
        file.chmod(0o644)  # Its owner can always do so.
        with pytest.raises(BlockingIOError):
            os.open(file, os.O_WRONLY | os.O_NONBLOCK)
        file.chmod(0o444)
        with pytest.raises(OSError, match="wrote to the file"):
            adoption.commit()
    assert not store.has(DIGEST)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
def test_a_file_of_another_user_is_copied(store: LocalStore, file: Path) -> None:
    os.chown(file, 12345, 12345)
    with adopted(store, file) as adoption:
        hash_all(adoption)
        adoption.commit()
        assert adoption.way is Way.COPIED
    assert (file.stat().st_mode & 0o777, file.stat().st_nlink) == (0o644, 1)
    assert store.problem(DIGEST, len(DATA), deep=True) is None


def test_an_adoption_in_progress_is_no_dead_draft(store: LocalStore, file: Path) -> None:
    with adopted(store, file) as adoption:
        hash_all(adoption)
        store.remove_dead_drafts()
        adoption.commit()
    assert store.has(DIGEST)


def test_what_a_killed_process_left_goes_with_the_drafts(store: LocalStore, file: Path) -> None:
    os.link(file, layout_of(store).incoming / "put-adopted-1-1")
    store.remove_dead_drafts()
    assert left_over(store) == []
    assert file.stat().st_nlink == 1


def test_where_files_can_be_cloned_the_original_stays_as_it_was(store: LocalStore, tmp_path: Path) -> None:
    path = tmp_path / "squashfs"
    path.write_bytes(DATA)
    path.chmod(0o644)
    with path.open("r+b") as writer, adopted(store, path) as adoption:
        if adoption.way is not Way.CLONED:
            pytest.skip("this file system does not clone")
        writer.write(b"written after the clone was made")
        writer.flush()
        hash_all(adoption)
        adoption.commit()
    assert store.problem(DIGEST, len(DATA), deep=True) is None
    assert (path.stat().st_mode & 0o777, path.stat().st_nlink) == (0o644, 1)
    assert left_over(store) == []
