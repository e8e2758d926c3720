"""Bytes of open files that are put elsewhere."""

import errno
import os
from pathlib import Path

import pytest

from proxy.system.file_copies import Placer, copy_bytes, sync_file_system
from proxy.system.same_bytes import Way

_DATA = os.urandom(3 * 1024**2 + 17)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a file."""
    file = tmp_path / "source"
    file.write_bytes(_DATA)
    return file


def test_a_file_is_shared_or_linked_or_copied_and_each_piece_is_told(source: Path, tmp_path: Path) -> None:
    with source.open("rb") as file:
        for may_link, ways in ((True, {Way.CLONED, Way.LINKED}), (False, {Way.CLONED, Way.COPIED})):
            placer = Placer(may_link=may_link)
            for number in range(2):
                target, told = tmp_path / f"{may_link}-{number}", list[int]()
                way = placer.place(file.fileno(), len(_DATA), target, told.append)
                assert way in ways
                assert target.read_bytes() == _DATA
                assert sum(told) == len(_DATA)
                assert source.samefile(target) == (way is Way.LINKED)
    sync_file_system(tmp_path)


def test_what_fails_halfway_leaves_nothing(source: Path, tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    def stop(_: int) -> None:
        raise Enough

    placer = Placer(may_link=False)
    placer._may_clone = False
    target = tmp_path / "target"
    with source.open("rb") as file:
        with pytest.raises(Enough):
            placer.place(file.fileno(), len(_DATA), target, stop)
        assert not target.exists()
        with pytest.raises(OSError, match="shorter") as error:
            placer.place(file.fileno(), len(_DATA) + 1, target, lambda _: None)
        assert error.value.errno == errno.EIO
        assert not target.exists()
        target.write_bytes(b"theirs")
        with pytest.raises(FileExistsError):
            placer.place(file.fileno(), len(_DATA), target, lambda _: None)
        assert target.read_bytes() == b"theirs"


def test_bytes_go_through_a_pipe_and_to_the_end_of_a_file(source: Path, tmp_path: Path) -> None:
    end = tmp_path / "end"
    end.write_bytes(b"begun ")
    target = os.open(end, os.O_WRONLY | os.O_APPEND)
    reader, writer = os.pipe()
    count = 5000
    with source.open("rb") as file:
        copy_bytes(file.fileno(), len(_DATA), target, lambda _: None)
        copy_bytes(file.fileno(), count, writer, lambda _: None)
    os.close(target)
    os.close(writer)
    with os.fdopen(reader, "rb") as piped:
        assert piped.read() == _DATA[:count]
    assert end.read_bytes() == b"begun " + _DATA
