"""Links, clones and copies of open files."""

import errno
import os
from pathlib import Path

import pytest

from proxy.system.exchange import exchange
from proxy.system.file_copies import place_durably
from proxy.system.same_bytes import Way, clone, link

DATA = os.urandom(100_000)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a file."""
    path = tmp_path / "source"
    path.write_bytes(DATA)
    return path


def test_a_link_is_the_very_file_whatever_its_name_is_by_then(source: Path, tmp_path: Path) -> None:
    with source.open("rb") as file:
        moved = source.rename(tmp_path / "moved")
        source.write_bytes(b"another one")
        assert link(file.fileno(), tmp_path / "linked")
    assert moved.samefile(tmp_path / "linked")


def test_no_link_takes_the_place_of_another_file(source: Path, tmp_path: Path) -> None:
    (tmp_path / "linked").write_bytes(b"a stranger's")
    with source.open("rb") as file, pytest.raises(FileExistsError):
        link(file.fileno(), tmp_path / "linked")


def test_there_is_no_link_on_another_file_system(source: Path) -> None:
    other = Path("/dev/shm")
    if not os.access(other, os.W_OK) or other.stat().st_dev == source.stat().st_dev:
        pytest.skip("there is no other file system")
    with source.open("rb") as file:
        assert not link(file.fileno(), other / f"sstream-proxy-{os.getpid()}")


def test_what_is_placed_is_whole_with_its_mode_and_date(source: Path, tmp_path: Path) -> None:
    noted: list[int] = []
    umask = os.umask(0o077)
    try:
        with source.open("rb") as file:
            way = place_durably(
                file.fileno(), tmp_path / "draft", 0o444, 1_500_000_000_000_000_000, noted.append
            )
    finally:
        os.umask(umask)
    status = (tmp_path / "draft").stat()
    assert (tmp_path / "draft").read_bytes() == DATA
    assert (status.st_mode & 0o777, status.st_mtime_ns) == (0o444, 1_500_000_000_000_000_000)
    assert status.st_ino != source.stat().st_ino
    assert sum(noted) == (len(DATA) if way is Way.COPIED else 0)


def test_who_is_interrupted_leaves_no_draft(source: Path, tmp_path: Path) -> None:
    def refuse(_: int) -> None:
        raise InterruptedError

    with source.open("rb") as file, (tmp_path / "probe").open("wb") as probe:
        if clone(file.fileno(), probe.fileno()):
            pytest.skip("nothing is copied on this file system")
        with pytest.raises(InterruptedError):
            place_durably(file.fileno(), tmp_path / "draft", 0o444, 0, refuse)
    assert not (tmp_path / "draft").exists()


def test_two_folders_change_places(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "name").write_text(name)
    if not exchange(tmp_path / "one", tmp_path / "other"):
        pytest.skip("this file system exchanges nothing")
    assert (tmp_path / "one" / "name").read_text() == "other"
    assert (tmp_path / "other" / "name").read_text() == "one"


def test_only_what_is_there_changes_places(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    with pytest.raises(OSError, match="No such file") as caught:
        exchange(tmp_path / "one", tmp_path / "other")
    assert caught.value.errno == errno.ENOENT
