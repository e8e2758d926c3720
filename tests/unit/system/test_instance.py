"""What tells one installation from another."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.system.instance import instance_token


@pytest.fixture
def boot(tmp_path: Path) -> Path:
    (tmp_path / "boot_id").write_text("one")
    return tmp_path / "boot_id"


def test_all_processes_on_a_data_directory_have_one_token(tmp_path: Path, boot: Path) -> None:
    file = tmp_path / "instance"
    token = instance_token(file, boot)
    assert [instance_token(file, boot) for _ in range(3)] == [token] * 3
    assert (len(token), token.strip("0123456789abcdef")) == (16, "")
    assert [path.name for path in tmp_path.glob("instance*")] == ["instance"]


@pytest.mark.parametrize("copy", [shutil.copy2, os.link])
def test_a_copy_has_another(tmp_path: Path, boot: Path, copy: Callable[[Path, Path], object]) -> None:
    """Whether `cp -a` or `cp -al` made it."""
    (tmp_path / "data").mkdir()
    (tmp_path / "copy").mkdir()
    file, copied = tmp_path / "data" / "instance", tmp_path / "copy" / "instance"
    token = instance_token(file, boot)
    copy(file, copied)
    assert instance_token(copied, boot) != token
    assert instance_token(file, boot) == token


def test_a_clone_on_another_machine_has_another(tmp_path: Path, boot: Path) -> None:
    """A snapshot of a disk has the same files with the same numbers; only the system that runs is another."""
    file = tmp_path / "instance"
    token = instance_token(file, boot)
    boot.write_text("two")
    assert instance_token(file, boot) != token


def test_a_clone_on_another_device_has_another(
    tmp_path: Path, boot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot that is mounted beside it."""
    file = tmp_path / "instance"
    token = instance_token(file, boot)
    found = list(tmp_path.stat())
    found[2] += 1
    monkeypatch.setattr(Path, "stat", lambda _: os.stat_result(found))
    assert instance_token(file, boot) != token


def test_what_was_cut_short_is_made_anew(tmp_path: Path, boot: Path) -> None:
    file = tmp_path / "instance"
    file.write_bytes(b"x")
    token = instance_token(file, boot)
    assert instance_token(file, boot) == token


def test_where_nothing_can_be_written_a_process_has_a_token_all_the_same(tmp_path: Path, boot: Path) -> None:
    nowhere = tmp_path / "no" / "such" / "folder"
    assert len(instance_token(nowhere, boot)) == 16
    assert instance_token(nowhere, boot) != instance_token(nowhere, boot)
