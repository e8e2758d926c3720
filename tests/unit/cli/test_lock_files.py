"""A lockfile is written whole or not at all, as whoever typed the command."""

import os
from pathlib import Path

import pytest

from proxy.cli.lock_files import LockOutput, OutputFault


def test_what_was_there_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path, other = tmp_path / "lab.lock", tmp_path / "other"
    path.write_bytes(b"old")
    path.chmod(0o640)
    os.link(path, other)
    output = LockOutput(path)
    assert path.read_bytes() == b"old"
    output.write(b"new")
    output.close()
    assert path.read_bytes() == b"new"
    assert other.read_bytes() == b"old"  # Another file took the name.
    assert path.stat().st_mode & 0o777 == 0o640
    assert {one.name for one in tmp_path.iterdir()} == {"lab.lock", "other"}


@pytest.mark.parametrize("is_there", [True, False])
def test_nothing_is_left_where_nothing_was_written(tmp_path: Path, is_there: bool) -> None:
    path = tmp_path / "lab.lock"
    if is_there:
        path.write_bytes(b"old")
    LockOutput(path).close()
    assert [one.read_bytes() for one in tmp_path.iterdir()] == [b"old"] * is_there


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_leaves_the_file_to_whom_it_belongs(tmp_path: Path) -> None:
    path = tmp_path / "lab.lock"
    path.write_bytes(b"old")
    os.chown(path, 1234, 5678)
    output = LockOutput(path)
    output.write(b"new")
    output.close()
    found = path.stat()
    assert (found.st_uid, found.st_gid) == (1234, 5678)


def test_the_file_that_a_link_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "repository").mkdir()
    (tmp_path / "lab.lock").symlink_to("repository/lab.lock")
    output = LockOutput(tmp_path / "lab.lock")
    output.write(b"new")
    output.close()
    assert (tmp_path / "lab.lock").is_symlink()
    assert (tmp_path / "repository/lab.lock").read_bytes() == b"new"


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    output = LockOutput(Path("/dev/full"))
    with pytest.raises(OutputFault, match="/dev/full cannot be written: No space left"):
        output.write(b"new")
    output.close()
    for path in (tmp_path, tmp_path / "none/lab.lock"):
        with pytest.raises(OSError, match="directory"):
            LockOutput(path)
