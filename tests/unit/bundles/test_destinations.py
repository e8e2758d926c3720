"""Where bundles are written may belong to somebody else, who puts links there while we write."""

import os
from pathlib import Path

import pytest

from proxy.bundles.bundle import Blob, Part, Text
from proxy.bundles.destination import DestinationFault
from proxy.bundles.folder import FolderDestination
from proxy.bundles.oci import INDEX_PATH, LAYOUT, LAYOUT_PATH, blob_path
from proxy.bundles.tar import TarDestination
from proxy.digest import digest_of

DATA = b"kernel"
BLOB = Blob(digest_of(DATA), len(DATA), "a/kernel", "maas")
PART = Part(
    number=1,
    of=1,
    moment=0.0,
    layout=Text(LAYOUT_PATH, LAYOUT),
    index=Text(INDEX_PATH, b"{}"),
    texts=(Text("README.txt", b"read me"),),
    blobs=(BLOB,),
)


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """Return a file that nobody wants written."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    return victim


def begun_before(folder: Path) -> None:
    """Leave what an export that was interrupted at its beginning does."""
    folder.mkdir()
    (folder / f"{INDEX_PATH}.part").write_bytes(PART.index.data)


def write(place: FolderDestination | TarDestination, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(DATA)
    opened = os.open(source, os.O_RDONLY)
    try:
        place.check()
        place.begin()
        place.put(BLOB, opened, lambda _: None)
        place.finish()
    finally:
        os.close(opened)
        place.close()


def to_folder(folder: Path, tmp_path: Path) -> FolderDestination:
    return FolderDestination(folder, PART, may_link=False, source=tmp_path)


@pytest.mark.parametrize(
    "name",
    [f"{LAYOUT_PATH}.part", LAYOUT_PATH, "README.txt.part", "README.txt", f"{blob_path(BLOB.digest)}.part"],
)
def test_a_link_in_a_folder_leads_no_bytes_elsewhere(tmp_path: Path, victim: Path, name: str) -> None:
    folder = tmp_path / "bundle"
    begun_before(folder)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).symlink_to(victim)
    write(to_folder(folder, tmp_path), tmp_path)
    assert victim.read_bytes() == b"precious"
    assert {one.read_bytes() for one in folder.rglob("*") if one.is_file()} == {
        PART.layout.data, PART.index.data, b"read me", DATA,
    }  # fmt: skip
    assert not any(one.is_symlink() for one in folder.rglob("*"))


def test_a_link_to_the_right_bytes_is_no_file_of_a_bundle(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "bundle", tmp_path / "elsewhere"
    begun_before(folder)
    elsewhere.write_bytes(DATA)
    blob = folder / blob_path(BLOB.digest)
    blob.parent.mkdir(parents=True)
    blob.symlink_to(elsewhere)
    write(to_folder(folder, tmp_path), tmp_path)
    assert not blob.is_symlink()
    assert blob.read_bytes() == DATA


@pytest.mark.parametrize("name", ["blobs", "blobs/sha256"])
def test_nothing_is_written_below_a_folder_that_is_a_link(tmp_path: Path, name: str) -> None:
    folder, elsewhere = tmp_path / "bundle", tmp_path / "elsewhere"
    begun_before(folder)
    (elsewhere / "sha256").mkdir(parents=True)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).symlink_to(elsewhere)
    with pytest.raises(DestinationFault):
        write(to_folder(folder, tmp_path), tmp_path)
    assert not [one for one in elsewhere.rglob("*") if one.is_file()]


@pytest.mark.parametrize("name", ["x.tar.SHA256SUMS", "x.tar.SHA256SUMS.part"])
def test_the_sums_beside_a_tar_are_written_through_no_link(tmp_path: Path, victim: Path, name: str) -> None:
    (tmp_path / name).symlink_to(victim)
    write(TarDestination(tmp_path / "x.tar", PART), tmp_path)
    assert victim.read_bytes() == b"precious"
    assert (tmp_path / "x.tar.SHA256SUMS").read_text().endswith("  x.tar\n")
