"""What a bundle says of itself: for which mirrors it has something, and what.

All of it is a claim. Only what hashes as it is named is returned.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from proxy.bundles.contents import LARGEST_BYTES, Contents, File, read_contents
from proxy.bundles.oci import (
    EXTRAS,
    INDEX_PATH,
    LAYOUT_PATH,
    SIGNATURE_TITLE,
    Descriptor,
    LayoutUnreadable,
    check_layers,
    read_index,
    read_layout,
    read_manifest,
)
from proxy.bundles.reading.errors import ArchiveCut
from proxy.bundles.reading.layouts import Layout
from proxy.digest import Digest, digest_of
from proxy.simplestreams.shape import TooComplex, check_shape

_MANIFEST, _CONTENTS = "a manifest", "what says what it holds"
_LARGEST_LAYOUT = 4096
LARGEST_INDEX = 1024 * 1024
_LARGEST_SIGNATURE = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What one layout says of one mirror."""

    layout: Layout
    manifest: bytes
    """As it is written."""
    contents: Contents
    text: bytes
    """The contents as they are written, over which an operator's signature is made."""
    digest: Digest
    """Of that text: the same in all parts of a bundle."""
    signature: bytes | None
    """An operator's, that nobody has checked."""
    extras: Mapping[str, Descriptor]
    """What belongs to the bundle and is no file of the mirror, by title."""
    named: frozenset[Digest]
    """All blobs that the bundle has of this mirror, what says so included."""


def read_heads(layout: Layout, index_path: str = INDEX_PATH) -> list[Head]:
    """Return what a layout says. Raises LayoutUnreadable, ContentsUnreadable, MediumFault and ArchiveCut."""
    read_layout(_checked(layout.small(LAYOUT_PATH, _LARGEST_LAYOUT), LAYOUT_PATH))
    left_bytes = LARGEST_BYTES
    heads = []
    for named in read_index(_checked(layout.small(index_path, LARGEST_INDEX), index_path)):
        written = _checked(read_blob(layout, named, _MANIFEST, left_bytes), _MANIFEST)
        manifest = read_manifest(written)
        left_bytes -= named.size_bytes
        text = _checked(read_blob(layout, manifest.contents, _CONTENTS, left_bytes), _CONTENTS)
        left_bytes -= len(text)
        contents = read_contents(text)
        check_layers(contents, manifest)
        # Of two with the same title the first one counts.
        extras = {one.name: one for one in reversed(manifest.layers) if one.name.startswith(EXTRAS)}
        signed = extras.get(SIGNATURE_TITLE)
        digest = manifest.contents.digest
        heads.append(
            Head(
                layout=layout,
                manifest=written,
                contents=contents,
                text=text,
                digest=digest,
                signature=None
                if signed is None
                else read_blob(layout, signed, "its signature", _LARGEST_SIGNATURE),
                extras=extras,
                named=frozenset((named.digest, digest, *(one.digest for one in manifest.layers))),
            )
        )
    return heads


def read_blob(layout: Layout, named: Descriptor, what: str, most_bytes: int) -> bytes:
    """Return a small blob that hashes as it is named. Raises LayoutUnreadable, MediumFault and ArchiveCut."""
    if named.size_bytes > most_bytes:
        raise LayoutUnreadable(f"{what} is too large: {named.size_bytes} bytes")
    found = layout.size_bytes(named.digest)
    if found is None:
        raise ArchiveCut(f"it lacks {what} ({named.digest}){layout.damage and f': {layout.damage}'}")
    if found == named.size_bytes:
        with layout.open(named.digest) as blob:
            data = blob.read()
        if digest_of(data) == named.digest:
            return data
    raise LayoutUnreadable(f"{what} is damaged: it is not what it is named by ({named.digest})")


def read_file(layout: Layout, file: File) -> bytes | None:
    """Return a document that a layout has, None if it has not. Raises as `read_blob` does."""
    if layout.size_bytes(file.sha256) is None:
        return None
    return read_blob(layout, Descriptor(digest=file.sha256, size_bytes=file.size), file.path, LARGEST_BYTES)


def _checked(data: bytes, what: str) -> bytes:
    """Return JSON that takes no more memory to read than its size tells. Raises LayoutUnreadable."""
    try:
        check_shape(data)
    except TooComplex as error:
        raise LayoutUnreadable(f"{what} is not read: {error}") from error
    return data
