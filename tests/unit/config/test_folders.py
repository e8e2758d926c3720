"""What check-config says of folders that are origins."""

from dataclasses import replace
from pathlib import Path

import pytest
from support.running import make_config
from support.unprivileged import as_ordinary_user

from proxy.config.config import Config
from proxy.config.folders import folder_doubts, folder_faults
from proxy.mirror import Mirror


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a tree, and a space in its name."""
    folder = tmp_path / "my tree"
    (folder / "streams/v1").mkdir(parents=True)
    return folder


def config_of(tmp_path: Path, folder: Path) -> Config:
    url = folder.as_uri() + "/"
    mirror = Mirror(name="disk", mount="/disk/", origins=("https://x.example/", url))
    return make_config(tmp_path / "data", mirror)


def test_a_folder_with_a_tree_is_good(tmp_path: Path, folder: Path) -> None:
    config = config_of(tmp_path, folder)
    assert [*folder_faults(config), *folder_doubts(config)] == []


def test_a_disk_that_is_not_mounted_is_doubtful_and_no_fault(tmp_path: Path, folder: Path) -> None:
    """Whether the folder is missing, is empty or is a file."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "disk.iso").touch()
    for name in ("missing", "empty", "disk.iso"):
        config = config_of(tmp_path, tmp_path / name)
        assert list(folder_faults(config)) == []
        (doubt,) = folder_doubts(config)
        assert doubt == (
            f'mirror "disk": file://{tmp_path}/{name}/ has no streams/v1/ now: '
            "is it the right folder, and is its disk mounted?"
        )
    assert folder.exists()


def test_a_folder_that_may_not_be_read_is_told(tmp_path: Path, folder: Path) -> None:
    folder.chmod(0)
    (doubt,) = as_ordinary_user(lambda: list(folder_doubts(config_of(tmp_path, folder))))
    assert "cannot be read by this user: Permission denied" in doubt


def test_links_do_not_hide_that_the_tree_lies_where_the_proxys_own_files_do(
    tmp_path: Path, folder: Path
) -> None:
    (tmp_path / "data").symlink_to(folder)
    (fault,) = folder_faults(config_of(tmp_path, folder))
    assert fault.startswith('mirror "disk": file://')
    assert "is the data_dir" in fault
    (tmp_path / "up").symlink_to(tmp_path.parent)
    (fault,) = folder_faults(config_of(tmp_path, tmp_path / "up"))
    assert "holds data_dir" in fault


def test_offline_reads_no_folder_and_that_is_said(tmp_path: Path, folder: Path) -> None:
    (doubt,) = folder_doubts(replace(config_of(tmp_path, folder), offline=True))
    assert "folders are not read either" in doubt
