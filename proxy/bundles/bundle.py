"""A bundle as a value: which files each of its parts has, before any of them is written. Pure.

Every part has the same index, manifests, contents, signatures and importer, and all documents
that are carried; items are divided between the parts.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from proxy.bundles.contents import Contents, File, write_contents
from proxy.bundles.oci import (
    IMPORTER_TITLE,
    INDEX_PATH,
    LAYOUT,
    LAYOUT_PATH,
    SIGNATURE_TITLE,
    Descriptor,
    blob_path,
    write_index,
    write_manifest,
)
from proxy.bundles.packing import pack, room_for
from proxy.bundles.texts import README_PATH, SUMS_PATH, readme, sums
from proxy.digest import Digest, digest_of

IMPORTER_PATH = "import-bundle.py"
_MOST_SIGNED_BYTES = 16 * 1024
"""Room for a signature, which is made after the files are divided."""
_TAR_END_BYTES = 10 * 1024

Sign = Callable[[Contents, bytes], bytes]
"""Returns an armored signature over contents as they are written."""


@dataclass(frozen=True, slots=True)
class Text:
    """A small file, written from memory."""

    path: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Blob:
    """A file of a mirror in a part."""

    digest: Digest
    size_bytes: int
    name: str
    """One of its paths, for messages."""
    mirror: str

    @property
    def path(self) -> str:
        """Where it lies in the part."""
        return blob_path(self.digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part, which is a layout of its own."""

    number: int
    of: int
    layout: Text
    index: Text
    texts: tuple[Text, ...]
    """All other small files."""
    blobs: tuple[Blob, ...]
    """Documents first."""
    moment: float
    """Unix seconds: what is in a tar is dated so, and no later run dates it otherwise."""

    @property
    def small_files(self) -> tuple[Text, ...]:
        """Every file that is written from memory, in the order in which a pipe needs them."""
        return (self.layout, self.index, *self.texts)

    @property
    def blob_bytes(self) -> int:
        """How large its blobs are together."""
        return sum(one.size_bytes for one in self.blobs)

    def name(self, name: str, suffix: str = "") -> str:
        """Return what this part of a bundle of that name is called."""
        return f"{name}{suffix}" if self.of == 1 else f"{name}-{self.number}of{self.of}{suffix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """All parts together."""

    contents: tuple[Contents, ...]
    """With the part of each file."""
    index: bytes
    head: tuple[Text, ...]
    """Manifests, contents, signatures and the importer: what `index` leads to, besides the mirrors' files."""
    importer: bytes = b""

    @property
    def parts(self) -> int:
        """How many there are."""
        return self.contents[0].parts

    @property
    def carried_bytes(self) -> int:
        """How large all files of mirrors together are, each once."""
        return sum(one.size_bytes for one in self._blobs(None))

    @classmethod
    def of(cls, contents: Sequence[Contents], importer: bytes = b"", sign: Sign | None = None) -> Self:
        """Return the bundle with these contents, as `divided` returns them."""
        texts: dict[str, Text] = {}
        manifests = []
        for one in contents:
            written = write_contents(one)
            signature = b"" if sign is None else sign(one, written)
            extras = [(SIGNATURE_TITLE, signature), (IMPORTER_TITLE, importer)]
            added = [(_descriptor(data, title), data) for title, data in extras if data]
            configuration = _descriptor(written)
            manifest = write_manifest(one, configuration, [descriptor for descriptor, _ in added])
            manifests.append(_descriptor(manifest, one.mirror))
            for data in (manifest, written, *(data for _, data in added)):
                text = _blob_text(data)
                texts.setdefault(text.path, text)
        index = write_index(manifests)
        return cls(contents=tuple(contents), index=index, head=tuple(texts.values()), importer=importer)

    def part(self, number: int) -> Part:
        """Return one part, from 1."""
        blobs = tuple(self._blobs(number))
        texts = [Text(README_PATH, readme(self.contents, self.parts, IMPORTER_PATH if self.importer else ""))]
        if self.importer:
            texts.append(Text(IMPORTER_PATH, self.importer))
        layout, index = Text(LAYOUT_PATH, LAYOUT), Text(INDEX_PATH, self.index)
        summed = [
            *((one.path, digest_of(one.data)) for one in (layout, index, *self.head, *texts)),
            *((one.path, one.digest) for one in blobs),
        ]
        return Part(
            number=number,
            of=self.parts,
            layout=layout,
            index=index,
            texts=(*self.head, *texts, Text(SUMS_PATH, sums(summed))),
            blobs=blobs,
            moment=max(one.accepted_at for one in self.contents),
        )

    def all_parts(self) -> Iterator[Part]:
        """Yield every part."""
        for number in range(1, self.parts + 1):
            yield self.part(number)

    def _blobs(self, part: int | None) -> Iterator[Blob]:
        """Yield the files of mirrors that a part carries, or any part; each digest once, documents first."""
        seen = {text.path for text in self.head}
        files = [
            *((one.mirror, file) for one in self.contents for file in one.documents),
            *((one.mirror, file) for one in self.contents for file in one.items),
        ]
        for mirror, file in files:
            if not file.is_carried or (part is not None and file.part not in {0, part}):
                continue
            blob = Blob(file.sha256, file.size, file.path, mirror)
            if blob.path not in seen:
                seen.add(blob.path)
                yield blob


def divided(
    contents: Sequence[Contents], part_bytes: int | None, importer: bytes = b"", *, is_signed: bool = False
) -> tuple[Contents, ...]:
    """Return contents with the part of each item that is carried: one part if `part_bytes` is None.

    Raises DoesNotFit.
    """
    if part_bytes is None:
        return tuple(replace(one, parts=1) for one in contents)
    documents = {file.sha256 for one in contents for file in one.documents if file.is_carried}
    items = [
        (file.path, file.sha256, file.size)
        for one in contents
        for file in one.items
        if file.is_carried and file.sha256 not in documents
    ]
    # How long the contents are depends on how many digits the numbers of parts have.
    most = 9
    while True:
        widest = dict.fromkeys((digest for _, digest, _ in items), most)
        drafted = [_numbered(one, widest, most) for one in contents]
        in_each_bytes = _in_each_bytes(Bundle.of(drafted, importer), len(drafted) if is_signed else 0)
        parts = pack(items, part_bytes, in_each_bytes)
        count = max(parts.values(), default=1)
        if count <= most:
            return tuple(_numbered(one, parts, count) for one in contents)
        most = most * 10 + 9


def _numbered(contents: Contents, parts: Mapping[Digest, int], count: int) -> Contents:
    def with_part(file: File) -> File:
        return replace(file, part=parts.get(file.sha256, 0) if file.is_carried else 0)

    return replace(contents, parts=count, items=tuple(map(with_part, contents.items)))


def _in_each_bytes(drafted: Bundle, signatures: int) -> int:
    """Return how much room what every part has takes."""
    documents = [file.size for one in drafted.contents for file in one.documents if file.is_carried]
    small = [len(text.data) for text in drafted.part(drafted.parts + 1).small_files]
    return _TAR_END_BYTES + sum(map(room_for, [*documents, *small, *[_MOST_SIGNED_BYTES] * signatures]))


def _descriptor(data: bytes, name: str = "") -> Descriptor:
    return Descriptor(digest=digest_of(data), size_bytes=len(data), name=name)


def _blob_text(data: bytes) -> Text:
    return Text(blob_path(digest_of(data)), data)
