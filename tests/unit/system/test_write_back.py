"""The kernel begins to write a file; where it cannot be told to, nothing happens."""

from pathlib import Path

import pytest

from proxy.system import write_back
from proxy.system.write_back import begin_write_back

PART = 64 * 1024


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file of two parts."""
    path = tmp_path / "file"
    path.write_bytes(bytes(2 * PART))
    return path


def test_a_part_of_a_file_is_begun_with(file: Path) -> None:
    assert begin_write_back(file, PART, 2 * PART)


def test_the_kernel_refuses_a_part_that_cannot_be(file: Path) -> None:
    assert not begin_write_back(file, -PART, 0)


def test_a_file_that_is_gone_is_passed_over(file: Path) -> None:
    file.unlink()
    assert not begin_write_back(file, 0, PART)


def test_a_c_library_without_it_does_without(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_back, "_begin", None)
    assert not begin_write_back(file, 0, PART)
