"""Small files in the memory of all processes that share them, and without a disk that takes them."""

import errno
import os
from contextlib import closing
from pathlib import Path

import pytest

from proxy.system.mapped_files import map_file


def test_all_who_map_a_file_see_what_one_of_them_writes(tmp_path: Path) -> None:
    with closing(map_file(tmp_path / "file", 8)) as one, closing(map_file(tmp_path / "file", 8)) as other:
        one[:3] = b"abc"
        assert other[:] == b"abc" + bytes(5)


@pytest.mark.parametrize("call", ["open", "posix_fallocate"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_process_that_finds_the_disk_full_has_memory_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    """Also where there is no room for the file's name, as after an upgrade that needs one more."""

    def full(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        memory = map_file(tmp_path / "file", 8)
    with closing(memory):
        memory[:3] = b"abc"
        assert memory[:] == b"abc" + bytes(5)
    assert not (tmp_path / "file").exists() or not (tmp_path / "file").stat().st_size


def test_a_file_that_may_not_be_made_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        map_file(tmp_path / "missing" / "file", 8)
