"""An earlier bundle, whole or begun, as an export looks at it: what it holds, and how it says so.

`--since` asks what it names, `--like` makes another part of it, and an export that was
interrupted takes its signatures over. Only the small files are read, and each is hashed.
"""

import contextlib
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from proxy.bundles.bundle import Bundle, Text
from proxy.bundles.contents import Contents, read_contents
from proxy.bundles.destination import PART_SUFFIX
from proxy.bundles.oci import (
    IMPORTER_TITLE,
    INDEX_PATH,
    SIGNATURE_TITLE,
    Descriptor,
    LayoutUnreadable,
    Manifest,
    blob_path,
    read_index,
    read_manifest,
)
from proxy.digest import Digest, digest_of

_Read = Callable[[str], bytes | None]
"""Returns a file of a bundle, None if it has none of that path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """What an earlier bundle says of itself."""

    bundle: Bundle
    signatures: dict[Digest, bytes]
    """By the digest of the contents that are signed."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a folder or a tar, or what an interrupted export has left of it.

        Raises LayoutUnreadable, ContentsUnreadable and OSError.
        """
        if path.is_dir():
            return cls._of(lambda name: _from_folder(path, name))
        if not path.exists():
            path = path.with_name(path.name + PART_SUFFIX)
        try:
            with tarfile.open(path, "r:") as tar:
                entries = _entries(tar)

                def read(name: str) -> bytes | None:
                    file = tar.extractfile(entries[name]) if name in entries else None
                    return None if file is None else file.read()

                return cls._of(read)
        except tarfile.TarError as error:
            raise LayoutUnreadable(f"it is neither a tar nor a folder: {error}") from error

    @classmethod
    def _of(cls, read: _Read) -> Self:
        index = read(INDEX_PATH) or read(INDEX_PATH + PART_SUFFIX)
        if index is None:
            raise LayoutUnreadable("there is no bundle: it has no index.json")
        texts: dict[str, Text] = {}

        def blob(named: Descriptor) -> bytes:
            data = read(blob_path(named.digest))
            if data is None or digest_of(data) != named.digest:
                raise LayoutUnreadable(f"{blob_path(named.digest)} in it is missing or damaged")
            texts[blob_path(named.digest)] = Text(blob_path(named.digest), data)
            return data

        contents: list[Contents] = []
        signatures: dict[Digest, bytes] = {}
        importer = b""
        for named in read_index(index):
            manifest = read_manifest(blob(named))
            contents.append(read_contents(blob(manifest.contents)))
            signature = _extra(manifest, SIGNATURE_TITLE)
            if signature is not None:
                signatures[manifest.contents.digest] = blob(signature)
            of_importer = _extra(manifest, IMPORTER_TITLE)
            if of_importer is not None:
                importer = blob(of_importer)
        bundle = Bundle(contents=tuple(contents), index=index, head=tuple(texts.values()), importer=importer)
        return cls(bundle=bundle, signatures=signatures)


def _extra(manifest: Manifest, title: str) -> Descriptor | None:
    return next((one for one in manifest.layers if one.name == title), None)


def _from_folder(folder: Path, name: str) -> bytes | None:
    try:
        return (folder / name).read_bytes()
    except FileNotFoundError:
        return None


def _entries(tar: tarfile.TarFile) -> dict[str, tarfile.TarInfo]:
    """Return the files of a tar by their paths, up to where it is cut off."""
    found: dict[str, tarfile.TarInfo] = {}
    with contextlib.suppress(tarfile.TarError):
        for entry in tar:
            found.setdefault(entry.name.removeprefix("./"), entry)
    return found
