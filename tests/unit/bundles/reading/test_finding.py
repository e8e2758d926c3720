"""Bundles on a medium: found wherever they lie, and never by way of a link."""

import contextlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random

import pytest
from support.bundles import put, write_bundle, write_tar
from support.tree import SignedTree

from proxy.bundles.contents import Contents, ContentsUnreadable, File
from proxy.bundles.oci import BLOBS, INDEX_PATH, LAYOUT_PATH, LayoutUnreadable, blob_path
from proxy.bundles.reading.errors import ArchiveCut, ArchiveRefused, MediumFault, NoBundle
from proxy.bundles.reading.finding import Findings
from proxy.bundles.reading.heads import Head, read_heads
from proxy.bundles.reading.pipe import Pipe
from proxy.digest import digest_of

INDEX = "streams/v1/index.json"
ITEM = "noble/kernel"
_SAID = (ArchiveCut, ArchiveRefused, ContentsUnreadable, LayoutUnreadable, MediumFault, NoBundle)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Return a bundle in a folder."""
    tree = SignedTree(tmp_path / "tree", None)
    files = []
    for path, data in ((INDEX, b"{}"), (ITEM, b"kernel" * 1000)):
        tree.write(path, data)
        files.append(File(path=path, sha256=digest_of(data), size=len(data)))
    contents = Contents(
        mirror="maas",
        generation=1,
        index_path=INDEX,
        accepted_at=1.0,
        documents=(files[0],),
        items=(files[1],),
    )
    return write_bundle(tmp_path / "stick/bundle", tree, contents)


@contextmanager
def found_at(*paths: Path) -> Iterator[Findings]:
    with closing(Findings()) as findings:
        for path in paths:
            findings.add(path)
        yield findings


def heads_at(path: Path) -> list[Head]:
    with found_at(path) as findings:
        return [head for layout in findings.layouts for head in read_heads(layout)]


def blobs_at(path: Path) -> set[bytes]:
    with found_at(path) as findings:
        return {blob.read() for layout in findings.layouts for blob in layout.blobs()}


def test_bundles_are_found_in_folders_and_archives(bundle: Path) -> None:
    stick = bundle.parent
    (stick / "deep/er").mkdir(parents=True)
    archive = write_tar(stick / "deep/er/bundle.tar", bundle)
    (stick / "photos.tar").write_bytes(b"")
    with tarfile.open(stick / "letters.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("letter"), io.BytesIO())
    (stick / "System Volume Information").mkdir()
    (stick / "loop").symlink_to("/")
    with found_at(stick) as findings:
        assert sorted(Path(one.name).name for one in findings.layouts) == ["bundle", "bundle.tar"]
        assert [Path(where).name for where, _ in findings.problems] == ["photos.tar"]
        assert {head.contents.mirror for one in findings.layouts for head in read_heads(one)} == {"maas"}
    assert blobs_at(bundle) == blobs_at(archive)
    assert b"kernel" * 1000 in blobs_at(bundle)


def test_several_bundles_in_one_archive_are_found(bundle: Path, tmp_path: Path) -> None:
    archive = tmp_path / "all.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(bundle, "one")
        tar.add(bundle, "./two")
    with found_at(archive) as findings:
        assert [one.name for one in findings.layouts] == [f"{archive}:one", f"{archive}:two"]
        assert all(read_heads(one) for one in findings.layouts)


def test_a_path_without_a_bundle_says_so(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with closing(Findings()) as findings:
        with pytest.raises(NoBundle):
            findings.add(tmp_path / "a")
        with pytest.raises(FileNotFoundError):
            findings.add(tmp_path / "b")
        with pytest.raises(ArchiveRefused):
            findings.add(Path("/dev/null"))


def test_links_and_special_files_are_not_followed(bundle: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    name = bundle / blob_path(digest_of(b"secret"))
    name.symlink_to(secret)
    with found_at(bundle) as findings, pytest.raises(LayoutUnreadable, match="is a link or no plain file"):
        list(findings.layouts[0].blobs())
    name.unlink()
    os.mkfifo(name)
    with found_at(bundle) as findings, pytest.raises(LayoutUnreadable, match="is a link or no plain file"):
        list(findings.layouts[0].blobs())
    name.unlink()
    (bundle / INDEX_PATH).rename(tmp_path / "index")
    (bundle / INDEX_PATH).symlink_to(tmp_path / "index")
    with pytest.raises(LayoutUnreadable, match="is a link or no plain file"):
        heads_at(bundle)
    (bundle / INDEX_PATH).unlink()
    with pytest.raises(ArchiveCut, match="not written to its end"):
        heads_at(bundle)


def test_a_folder_of_blobs_that_is_a_link_is_not_followed(bundle: Path, tmp_path: Path) -> None:
    (bundle / BLOBS).rename(tmp_path / "elsewhere")
    (bundle / "blobs/sha256").symlink_to(tmp_path / "elsewhere")
    with found_at(bundle.parent) as findings:
        assert not findings.layouts
        assert "is no folder" in str(findings.problems[0][1])


def test_a_name_twice_in_an_archive_is_refused(bundle: Path, tmp_path: Path) -> None:
    names = [LAYOUT_PATH, INDEX_PATH, f"./{INDEX_PATH}"]
    with pytest.raises(ArchiveRefused, match=r"it has index\.json twice"):
        heads_at(write_tar(tmp_path / "twice.tar", bundle, names))


@pytest.mark.parametrize("size", [600, 5000, 9000])
def test_what_is_there_of_an_archive_that_is_cut_off_counts(bundle: Path, tmp_path: Path, size: int) -> None:
    archive = write_tar(tmp_path / "cut.tar", bundle)
    os.truncate(archive, size)
    with found_at(archive) as findings:
        [layout] = findings.layouts
        assert layout.damage.startswith("it ends after")
        for blob in layout.blobs():
            assert digest_of(blob.read()) == blob.digest


def test_what_is_damaged_is_not_taken_for_what_it_is_named(bundle: Path) -> None:
    for blob in (bundle / BLOBS).iterdir():
        whole = blob.read_bytes()
        if not whole.startswith(b"{\n"):
            continue
        blob.write_bytes(whole.replace(b"maas", b"evil"))
        if blob.read_bytes() != whole:
            with pytest.raises(LayoutUnreadable, match="is damaged: it is not what it is named by"):
                heads_at(bundle)
        blob.write_bytes(whole)
    assert heads_at(bundle)


def test_an_index_that_costs_more_memory_than_it_has_bytes_is_not_read(bundle: Path) -> None:
    (bundle / INDEX_PATH).write_text(json.dumps({"manifests": [[]] * 300_000}, separators=(",", ":")))
    with pytest.raises(LayoutUnreadable, match="it holds more than"):
        heads_at(bundle)
    (bundle / INDEX_PATH).write_bytes(b" " * 2 * 1024 * 1024)
    with pytest.raises(LayoutUnreadable, match="more than 1048576 bytes"):
        heads_at(bundle)


def test_what_comes_before_documents_through_a_pipe_is_kept_only_so_far(bundle: Path, tmp_path: Path) -> None:
    item = blob_path(digest_of(b"kernel" * 1000))
    rest = [path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()]
    rest.remove(item)
    archive = write_tar(tmp_path / "late.tar", bundle, [item, *rest])
    for most, is_read in ((100_000, True), (6000, False)):
        with archive.open("rb") as file, closing(Pipe("pipe", file.fileno(), tmp_path, most)) as pipe:
            if is_read:
                [layout] = [
                    (read_heads(one), [blob.read() for blob in one.blobs()]) for one in pipe.layouts()
                ]
                assert b"kernel" * 1000 in layout[1]
            else:
                with pytest.raises(ArchiveRefused, match="give it as a file, or unpack it"):
                    next(pipe.layouts())


def test_items_pass_by_without_being_kept(bundle: Path, tmp_path: Path) -> None:
    put(bundle, blob_path(digest_of(b"x" * 99_999)), b"x" * 99_999)
    archive = write_tar(tmp_path / "b.tar", bundle)
    with archive.open("rb") as file, closing(Pipe("pipe", file.fileno(), tmp_path, 5000)) as pipe:
        layouts = pipe.layouts()
        layout = next(layouts)
        assert {len(blob.read()) for blob in layout.blobs()} >= {6000, 99_999}


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_changed_in_a_bundle_only_what_says_so_is_raised(
    bundle: Path, tmp_path: Path, seed: int
) -> None:
    chance = Random(seed)
    whole = write_tar(tmp_path / "whole.tar", bundle).read_bytes()
    heads = whole.index(b"kernelkernel")
    for number in range(40):
        raw = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            raw[chance.randrange(heads)] = chance.choice(b'\0 /.0179"{}[]x\xff')
        path = tmp_path / f"{number}.tar"
        path.write_bytes(raw[: chance.choice([len(raw), chance.randrange(len(raw))])])
        with contextlib.suppress(*_SAID):
            blobs_at(path)
        with contextlib.suppress(*_SAID):
            for head in heads_at(path):
                assert digest_of(head.text) == head.digest
        with (
            path.open("rb") as file,
            closing(Pipe("pipe", file.fileno(), tmp_path)) as pipe,
            contextlib.suppress(*_SAID),
        ):
            for layout in pipe.layouts():
                assert all(digest_of(head.text) == head.digest for head in read_heads(layout))
                assert all(len(blob.read()) <= blob.size_bytes for blob in layout.blobs())
