"""Bundles written by hand from a tree of upstream's: as folders, and as tar archives."""

import tarfile
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from proxy.bundles.contents import Contents, File, write_contents
from proxy.bundles.oci import (
    INDEX_PATH,
    LAYOUT,
    LAYOUT_PATH,
    SIGNATURE_TITLE,
    Descriptor,
    blob_path,
    write_index,
    write_manifest,
)
from proxy.digest import digest_of
from support.tree import SignedTree, TreeItem

DOCUMENTS = "streams/v1/*.sjson"


def contents_of(
    tree: SignedTree,
    items: Iterable[TreeItem] | None = None,
    *,
    known: Collection[TreeItem] = (),
    mirror: str = "maas",
    generation: int = 1,
    documents: str = DOCUMENTS,
) -> Contents:
    """Return what a bundle of a tree as it is now says; `known` are items that the far side has."""
    paths = sorted(path.relative_to(tree.root).as_posix() for path in tree.root.glob(documents))
    chosen = tree.items if items is None else list(items)
    return Contents(
        mirror=mirror,
        generation=generation,
        index_path=next(path for path in paths if "index." in path),
        updated=float(tree.updated_s),
        accepted_at=float(tree.updated_s) + 1,
        selection="everything",
        documents=tuple(_file(path, (tree.root / path).read_bytes()) for path in paths),
        items=tuple(
            File(path=one.path, sha256=one.digest, size=one.size, is_carried=one not in known)
            for one in chosen
        ),
    )


def write_bundle(
    folder: Path,
    tree: SignedTree,
    *several: Contents,
    sign: Callable[[bytes], bytes] | None = None,
    without: Collection[str] = (),
    instead: Mapping[str, bytes] | None = None,
) -> Path:
    """Write a bundle as a folder; `without` some paths, and with other bytes `instead` of some."""
    manifests = []
    for contents in several:
        text = write_contents(contents)
        extras = []
        if sign is not None:
            signature = sign(text)
            extras.append(_blob(folder, signature, SIGNATURE_TITLE))
        configuration = _blob(folder, text, "")
        for file in contents.files():
            if file.is_carried and file.path not in without:
                data = (tree.root / file.path).read_bytes()
                put(folder, blob_path(file.sha256), (instead or {}).get(file.path, data))
        manifests.append(_blob(folder, write_manifest(contents, configuration, extras), contents.mirror))
    put(folder, INDEX_PATH, write_index(manifests))
    put(folder, LAYOUT_PATH, LAYOUT)
    return folder


def write_tar(archive: Path, folder: Path, names: Iterable[str] | None = None) -> Path:
    """Write a bundle's folder as an archive, in the order that `export` has unless another is given."""
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    ordered = sorted(found, key=lambda name: (name != LAYOUT_PATH, name != INDEX_PATH, _rank(folder, name)))
    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name in ordered if names is None else names:
            tar.add(folder / name, name)
    return archive


def put(folder: Path, name: str, data: bytes) -> Path:
    """Write a file of a bundle."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def with_items(contents: Contents, *files: File) -> Contents:
    """Return contents that name other items."""
    return replace(contents, items=files)


def _rank(folder: Path, name: str) -> tuple[int, int]:
    """Return where a blob lies: what is JSON or signed before what is not, and what is small first."""
    size = (folder / name).stat().st_size
    beginning = (folder / name).read_bytes()[:40]
    for rank, mark in enumerate((b'{\n "schemaVersion"', b'{\n  "version"', b"-----BEGIN PGP")):
        if beginning.startswith(mark):
            return rank, size
    return 9, size


def _file(path: str, data: bytes) -> File:
    return File(path=path, sha256=digest_of(data), size=len(data))


def _blob(folder: Path, data: bytes, name: str) -> Descriptor:
    one = Descriptor(digest=digest_of(data), size_bytes=len(data), name=name)
    put(folder, blob_path(one.digest), data)
    return one
