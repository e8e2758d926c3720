"""A mark is seen by others who have the file open, and ends with who made it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy.system.file_marks import is_marked, mark

Opener = Callable[[int], int]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opener]:
    """Return how to open one file with some flags, as often as need be."""
    path = tmp_path / "file"
    path.write_bytes(b"bytes")
    fds = []

    def open_it(flags: int) -> int:
        fds.append(os.open(path, flags))
        return fds[-1]

    yield open_it
    for fd in fds:
        os.close(fd)


def test_others_see_a_mark_and_its_maker_does_not(opened: Opener) -> None:
    maker, other = opened(os.O_RDWR), opened(os.O_RDONLY)
    assert not is_marked(other)
    mark(maker)
    assert is_marked(other)
    assert not is_marked(maker)


def test_a_mark_ends_with_its_maker(tmp_path: Path) -> None:
    path = tmp_path / "file"
    maker = os.open(path, os.O_RDWR | os.O_CREAT)
    with path.open("rb") as other:
        mark(maker)
        os.close(maker)
        assert not is_marked(other.fileno())


def test_where_no_mark_can_be_made_there_is_none(opened: Opener) -> None:
    """A descriptor that knows no locks is as a file system that knows none."""
    no_locks, other = opened(os.O_PATH), opened(os.O_RDONLY)
    mark(no_locks)
    assert not is_marked(no_locks)
    assert not is_marked(other)
