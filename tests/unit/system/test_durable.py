"""What is said to be written survives a power cut, at whichever call it comes."""

import os
from pathlib import Path

import pytest
from support.power import PowerCuts

from proxy.system.durable import make_folder, sync_directory, write_file

OLD, NEW = b"old" * 100, b"new" * 2000


def test_a_new_file_is_there_whole_or_not_at_all_until_it_is_written_for_good(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    with PowerCuts() as power:
        power.watch(folder)
        write_file(folder / "deeper" / "still" / "file", NEW)
        power.promise(lambda after: has(after / "deeper" / "still" / "file", NEW))
        write_file(folder / "another", OLD)
    power.check_all(tmp_path / "cuts", lambda after: has(after / "deeper" / "still" / "file", NEW, None))


@pytest.mark.parametrize("new", [NEW, b"short"])
def test_a_file_that_is_replaced_is_the_old_one_or_the_new_one(tmp_path: Path, new: bytes) -> None:
    """What is short waits in a buffer until it is told to go."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "file").write_bytes(OLD)
    with PowerCuts() as power:
        power.watch(folder)
        write_file(folder / "file", new)
        power.promise(lambda after: has(after / "file", new))
    assert len(power.images) > 4
    power.check_all(tmp_path / "cuts", lambda after: has(after / "file", new, OLD))


def test_what_a_killed_writer_left_goes_when_the_file_is_written_again_and_no_draft_of_now(
    tmp_path: Path,
) -> None:
    left, of_now, other = (
        tmp_path / f".{name}" for name in ("file.k3x9_ab1", "file.a8b7cdef", "other.c6d5efgh")
    )
    of_editor = tmp_path / ".file.swp"
    for file in (left, of_now, other, of_editor):
        file.write_bytes(OLD)
    for file in (left, other, of_editor):
        os.utime(file, (1_000_000_000, 1_000_000_000))
    write_file(tmp_path / "file", NEW)
    assert sorted(tmp_path.iterdir()) == sorted([of_now, other, of_editor, tmp_path / "file"])


def has(path: Path, *allowed: bytes | None) -> None:
    """Assert that a file has one of these contents; None is for none."""
    assert (path.read_bytes() if path.exists() else None) in allowed


def test_a_folder_stays_with_all_above_it(tmp_path: Path) -> None:
    with PowerCuts() as power:
        power.watch(tmp_path)
        make_folder(tmp_path / "one" / "two" / "three", 0o700)
        power.promise(lambda after: (after / "one" / "two" / "three").rmdir())
        make_folder(tmp_path / "one" / "two" / "three")
        make_folder(tmp_path / "one")
    made = [
        (tmp_path / "one" / "two" / "three").stat().st_mode & 0o777,
        (tmp_path / "one").stat().st_mode & 0o777,
    ]
    assert made[0] == 0o700
    assert made[1] & 0o700 == 0o700
    power.check_all(tmp_path / "cuts")


def test_what_was_removed_stays_away_once_its_folder_is_synced(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "file").write_bytes(OLD)
    with PowerCuts() as power:
        power.watch(folder)
        (folder / "file").unlink()
        power.cut(folder, tmp_path / "before")
        sync_directory(folder)
        power.promise(lambda after: has(after / "file", None))
    assert (tmp_path / "before" / "file").read_bytes() == OLD
    power.check_all(tmp_path / "cuts")


def test_a_draft_that_cannot_be_written_does_not_stay(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(OLD)
    with PowerCuts() as power:
        power.is_failing = True
        with pytest.raises(OSError, match="Input/output error"):
            write_file(tmp_path / "file", NEW)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == OLD
