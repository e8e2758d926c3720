"""What users are told when the disk does not do what it should."""

import errno
import os
from pathlib import Path

import pytest

from proxy.store.files import StoreFault


def told(number: int, path: Path | None = None) -> str:
    error = OSError(number, os.strerror(number), None if path is None else str(path))
    return str(StoreFault.of("an item cannot be stored", error))


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "free disk space, or set [cache] limit"),
        (errno.EDQUOT, "free disk space, or raise the quota"),
        (errno.EROFS, "mount it for writing"),
        (errno.EIO, "see dmesg"),
        (errno.EMFILE, "raise the limit of open files"),
    ],
)
def test_what_to_do_about_a_disk_is_told_whatever_file_it_was(
    number: int, advice: str, tmp_path: Path
) -> None:
    for path in (None, tmp_path):
        assert advice in told(number, path)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_whose_file_it_is_is_told_where_the_system_names_it(number: int, tmp_path: Path) -> None:
    assert "look at the modes of it and of the folders above" in told(number, tmp_path / "there" / "is none")
    assert told(number) == f"an item cannot be stored: {os.strerror(number)}"


def test_what_to_make_is_told_only_of_a_folder_that_is_not_there_and_may_not_be_made(tmp_path: Path) -> None:
    """Not of one that is there, nor where a disk is full, nor of what has no path."""
    new, there = tmp_path / "new", tmp_path

    def told_of(what: str | Path, number: int) -> str:
        return str(StoreFault.of(what, OSError(number, os.strerror(number), str(what))))

    assert f"cannot make it in {tmp_path}: sudo install -d" in told_of(new, errno.EACCES)
    assert f"cannot make it in {tmp_path}: sudo install -d" in told_of(new, errno.EPERM)
    for what, number in ((there, errno.EACCES), (new, errno.ENOSPC), (str(new), errno.EACCES)):
        assert "sudo install" not in told_of(what, number)


def test_a_link_that_leads_nowhere_is_told_of_where_a_folder_cannot_be_made(tmp_path: Path) -> None:
    """The folder itself, one above it, and one that leads to itself; not where something else is wrong."""
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    (tmp_path / "file").touch()
    for name, link, there in (
        ("link", "link", "disk"),
        ("link/deep/er", "link", "disk"),
        ("round", "round", "round"),
    ):
        folder = tmp_path / name
        with pytest.raises(OSError) as caught:  # noqa: PT011 - of several kinds
            folder.mkdir(parents=True, exist_ok=True)

        problem = f"{tmp_path / link} is a link to {tmp_path / there}, where nothing is: mount its disk"
        assert problem in str(StoreFault.of(folder, caught.value)), name
    for name, number in (("link", errno.ENOSPC), ("file", errno.EEXIST), ("none", errno.ENOENT)):
        told = str(StoreFault.of(tmp_path / name, OSError(number, os.strerror(number))))
        assert "is a link" not in told, name
