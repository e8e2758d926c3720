"""What is in memory is read at once; what a disk has to give is not waited for."""

import errno
import os
from pathlib import Path

import pytest

from proxy.system import page_cache
from proxy.system.page_cache import read_cached, recognise_filesystem

MEMORY = Path("/dev/shm")
needs_memory = pytest.mark.skipif(
    not os.access(MEMORY, os.W_OK) or not os.path.ismount(MEMORY), reason="no filesystem in memory here"
)


@pytest.fixture
def in_memory() -> Path:
    """Return a file of a filesystem in memory."""
    fd = os.open(MEMORY, os.O_TMPFILE | os.O_RDWR)
    os.write(fd, b"abcdef")
    return Path(f"/proc/self/fd/{fd}")


@needs_memory
def test_a_filesystem_in_memory_is_read_once_it_is_recognised(
    in_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_cache, "_devices", set())
    recognise_filesystem(MEMORY)
    buffer = bytearray(3)
    with in_memory.open("rb") as file:
        assert read_cached(file.fileno(), buffer, 2) == 3
    assert buffer == b"cde"


def test_what_cannot_tell_and_is_not_known_to_be_memory_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"abcdef")
    monkeypatch.setattr(page_cache, "_devices", set())

    def cannot_tell(_fd: int, _buffers: object, _offset: int, flags: int = 0) -> int:
        assert flags == os.RWF_NOWAIT, "the disk was waited for"
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr("proxy.system.page_cache.os.preadv", cannot_tell)
    with (tmp_path / "file").open("rb") as file, pytest.raises(OSError, match="not supported"):
        read_cached(file.fileno(), bytearray(3), 0)


def test_a_file_that_left_the_cache_is_not_waited_for_on_any_filesystem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"abcdef")
    monkeypatch.setattr(page_cache, "_devices", {tmp_path.stat().st_dev})

    def left(_fd: int, _buffers: object, _offset: int, _flags: int = 0) -> int:
        raise BlockingIOError(errno.EAGAIN, "not in the cache")

    monkeypatch.setattr("proxy.system.page_cache.os.preadv", left)
    with (tmp_path / "file").open("rb") as file, pytest.raises(BlockingIOError):
        read_cached(file.fileno(), bytearray(3), 0)


def test_mounts_are_told_apart_by_their_device() -> None:
    mounts = [
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw",
        "35 22 0:31 / /run/user - with dash rw - tmpfs tmpfs rw,size=1k",
        "damaged",
    ]
    assert page_cache._kind_of(os.makedev(8, 1), mounts) == "ext4"
    assert page_cache._kind_of(os.makedev(0, 99), mounts) is None


def test_nothing_is_learnt_of_a_folder_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_cache, "_devices", set())
    recognise_filesystem(tmp_path / "missing")
    assert not page_cache._devices
