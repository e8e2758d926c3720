"""What tells one installation from another."""

import shutil
from pathlib import Path

import pytest

from proxy.system.instance import instance_token


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    (tmp_path / "machine-id").write_text("one")
    return tmp_path / "machine-id"


def test_all_processes_on_a_data_directory_have_one_token(tmp_path: Path, machine: Path) -> None:
    file = tmp_path / "instance"
    token = instance_token(file, machine)
    assert [instance_token(file, machine) for _ in range(3)] == [token] * 3
    assert (len(token), token.strip("0123456789abcdef")) == (16, "")
    assert [path.name for path in tmp_path.glob("instance*")] == ["instance"]


def test_a_copy_or_another_machine_has_another(tmp_path: Path, machine: Path) -> None:
    file, copy = tmp_path / "instance", tmp_path / "copy"
    token = instance_token(file, machine)
    shutil.copy2(file, copy)
    assert instance_token(copy, machine) != token
    machine.write_text("two")
    assert instance_token(file, machine) != token


def test_what_was_cut_short_is_made_anew(tmp_path: Path, machine: Path) -> None:
    file = tmp_path / "instance"
    file.write_bytes(b"x")
    token = instance_token(file, machine)
    assert instance_token(file, machine) == token


def test_where_nothing_can_be_written_a_process_has_a_token_all_the_same(
    tmp_path: Path, machine: Path
) -> None:
    nowhere = tmp_path / "no" / "such" / "folder"
    assert len(instance_token(nowhere, machine)) == 16
    assert instance_token(nowhere, machine) != instance_token(nowhere, machine)
