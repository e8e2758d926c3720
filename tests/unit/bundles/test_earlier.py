"""An earlier bundle is read as a stranger's: whole or begun, with no link followed and no memory taken."""

import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.bundles.bundle import Bundle, Part
from proxy.bundles.contents import Contents, File
from proxy.bundles.earlier import Earlier
from proxy.bundles.oci import BLOBS, INDEX_PATH, LayoutUnreadable
from proxy.bundles.reading.errors import ArchiveRefused, NoBundle
from proxy.digest import digest_of

INDEX = File(path="streams/v1/index.sjson", sha256=digest_of(b"an index"), size=8)
CONTENTS = Contents(
    mirror="maas", generation=3, index_path=INDEX.path, accepted_at=5.0, documents=(INDEX,), items=()
)
BUNDLE = Bundle.of((CONTENTS,), b"an importer", lambda *_: b"a signature")


def written(folder: Path, part: Part) -> Path:
    """Write what an export writes first, before any blob of a mirror."""
    (folder / BLOBS).mkdir(parents=True)
    for text in part.small_files:
        (folder / text.path).write_bytes(text.data)
    return folder


@pytest.mark.parametrize("is_whole", [True, False])
def test_what_an_export_wrote_is_the_same_bundle_again(tmp_path: Path, *, is_whole: bool) -> None:
    folder = written(tmp_path / "b", BUNDLE.part(1))
    if not is_whole:
        (folder / INDEX_PATH).rename(folder / f"{INDEX_PATH}.part")
    earlier = Earlier.read(folder)
    assert earlier.bundle == BUNDLE
    assert list(earlier.signatures.values()) == [b"a signature"]


def test_a_tar_that_was_begun_is_found_by_the_name_that_it_would_have(tmp_path: Path) -> None:
    part = BUNDLE.part(1)
    folder = written(tmp_path / "b", part)
    with tarfile.open(tmp_path / "b.tar.part", "w", format=tarfile.USTAR_FORMAT) as tar:
        for text in part.small_files:
            tar.add(folder / text.path, text.path)
        within_the_last = tar.offset - tarfile.BLOCKSIZE
    os.truncate(tmp_path / "b.tar.part", within_the_last)
    assert Earlier.read(tmp_path / "b.tar").bundle.contents == (CONTENTS,)


def _index_is_a_link(folder: Path) -> None:
    (folder / INDEX_PATH).rename(folder.parent / "elsewhere")
    (folder / INDEX_PATH).symlink_to(folder.parent / "elsewhere")


def _a_blob_is_another(folder: Path) -> None:
    path = folder / BUNDLE.head[0].path
    path.write_bytes(path.read_bytes().replace(b"2", b"3", 1))


def _a_pipe_is_in_its_place(folder: Path) -> None:
    (folder / INDEX_PATH).unlink()
    os.mkfifo(folder / INDEX_PATH)


@pytest.mark.parametrize("spoil", [_index_is_a_link, _a_blob_is_another, _a_pipe_is_in_its_place])
def test_what_is_no_plain_file_or_another_one_is_refused(
    spoil: Callable[[Path], None], tmp_path: Path
) -> None:
    spoil(written(tmp_path / "b", BUNDLE.part(1)))
    with pytest.raises(LayoutUnreadable):
        Earlier.read(tmp_path / "b")


def test_a_header_that_would_take_all_memory_is_refused(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("long")
    entry.type, entry.size = tarfile.XHDTYPE, 2**32
    (tmp_path / "b.tar").write_bytes(entry.tobuf(tarfile.USTAR_FORMAT) + bytes(4096))
    with pytest.raises(ArchiveRefused, match="extended header"):
        Earlier.read(tmp_path / "b.tar")


def test_of_several_bundles_one_has_to_be_named(tmp_path: Path) -> None:
    for name in ("one", "other"):
        written(tmp_path / name, BUNDLE.part(1))
    with pytest.raises(LayoutUnreadable, match="name one of them"):
        Earlier.read(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoBundle):
        Earlier.read(tmp_path / "empty")
