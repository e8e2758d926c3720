"""On which file system something will lie that is not there yet."""

import os
from pathlib import Path

import pytest
from support.unprivileged import as_ordinary_user

from proxy.system.file_systems import device, free_bytes, total_bytes

PROC = Path("/proc")


@pytest.mark.parametrize(
    "name", [".", "missing", "missing/below", "file/below", "dangling", "dangling/below"]
)
def test_what_is_not_there_will_lie_where_the_nearest_folder_above_it_lies(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(PROC / "missing")
    status = os.statvfs(tmp_path)
    assert device(tmp_path / name) == tmp_path.stat().st_dev != device(PROC / name)
    assert total_bytes(tmp_path / name) == status.f_blocks * status.f_frsize
    assert 0 < free_bytes(tmp_path / name) <= total_bytes(tmp_path / name)


def test_a_relative_path_is_below_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (tmp_path, PROC):
        monkeypatch.chdir(folder)
        assert device(Path("missing/below")) == folder.stat().st_dev


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(PROC)
    assert device(tmp_path / "link" / "missing") == PROC.stat().st_dev
    assert free_bytes(tmp_path / "link" / "missing") == 0


def test_what_one_may_not_look_into_is_not_taken_for_what_is_above_it(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    for ask in (device, free_bytes, total_bytes):
        with pytest.raises(PermissionError):
            as_ordinary_user(lambda ask=ask: ask(tmp_path / "closed" / "missing"))  # type: ignore[misc]
