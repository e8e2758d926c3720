"""A lockfile: exactly which files of which generations, by digest, with the documents themselves. Pure.

    {"version": 1, "recording": …, "mirrors": […], "documents": {…}}

`mirrors` has the contents of each generation, sorted, a line for each file, so that two
lockfiles can be compared line by line. `documents` has, by SHA-256, the bytes of all
documents, as upstream overwrites them with each generation: compressed by zlib, in base64.
Items are fetched from upstream, which keeps them for longer.

A stranger may have written one. Whoever reads it has a list of claims: documents are
believed for their signatures, items for the signed list that names them.
"""

import base64
import binascii
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from textwrap import indent

from proxy.bundles.contents import LARGEST_BYTES, Contents, File, write_contents
from proxy.digest import Digest, digest_of
from proxy.errors import ProxyError
from proxy.store.schema import Schema, Unreadable

_MOST_GENERATIONS = 1000
_MOST_DOCUMENT_BYTES = 512 * 1024 * 1024
"""Of all documents of a lockfile together, unpacked."""
_LINE_LETTERS = 100
_LEVEL = 9
_MARKERS = (b"<<<<<<<", b"=======", b">>>>>>>")
"""What git writes where it cannot merge."""


class LockfileUnreadable(ProxyError):
    """What should be a lockfile is none, or is damaged."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"it is no lockfile that can be used: {problem}")
        self.problem = problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """What is locked of one generation of one mirror."""

    contents: Contents
    unasked: tuple[str, ...] = ()
    """Documents that nobody asked for: they prove the others, and are not served."""

    def __post_init__(self) -> None:
        if strays := {*self.unasked} - {one.path for one in self.contents.documents}:
            raise ValueError(f"its unasked {min(strays)!r:.200} is not among its documents")

    @property
    def served_documents(self) -> tuple[File, ...]:
        """The documents that clients get."""
        return tuple(one for one in self.contents.documents if one.path not in self.unasked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lockfile:
    """What is locked, and the bytes of its documents."""

    recording: str = ""
    """The name of the recording that it was made of."""
    locked: tuple[Locked, ...]
    """By mirror; of several generations of one mirror the newest is the last."""
    data: Mapping[Digest, bytes]

    @property
    def mirrors(self) -> tuple[str, ...]:
        """The names of its mirrors."""
        return tuple(dict.fromkeys(one.contents.mirror for one in self.locked))

    def of_mirror(self, mirror: str) -> tuple[Locked, ...]:
        """Return what is locked of a mirror, the newest generation last."""
        return tuple(one for one in self.locked if one.contents.mirror == mirror)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    """A lockfile as it is written."""

    mirrors: tuple[Locked, ...]
    documents: dict[str, tuple[str, ...]]
    recording: str = ""

    def __post_init__(self) -> None:
        if len(self.mirrors) > _MOST_GENERATIONS:
            raise ValueError(f"it names more than {_MOST_GENERATIONS} generations")
        if not self.mirrors:
            raise ValueError("it names no mirror")


_SCHEMA: Schema[_Written] = Schema(_Written)


def write_lockfile(lockfile: Lockfile) -> bytes:
    """Return a lockfile as JSON text: the same values make the same text."""
    mirrors = ",\n".join(_entry(_sorted(one)) for one in lockfile.locked)
    documents = ",\n".join(
        f"    {json.dumps(digest)}: [\n{_lines(lockfile.data[digest])}\n    ]"
        for digest in sorted(_documents(lockfile.locked))
    )
    recording = json.dumps(lockfile.recording, ensure_ascii=False)
    return (
        f'{{\n  "version": 1,\n  "recording": {recording},\n  "mirrors": [\n{mirrors}\n  ],\n'
        f'  "documents": {{\n{documents}\n  }}\n}}\n'
    ).encode()


def read_lockfile(data: bytes) -> Lockfile:
    """Return what JSON text says. Raises LockfileUnreadable."""
    if len(data) > LARGEST_BYTES:
        raise LockfileUnreadable(f"it has more than {LARGEST_BYTES} bytes")
    written = _SCHEMA.decode_text(data)
    if isinstance(written, Unreadable):
        raise LockfileUnreadable(_known_damage(data) or written.problem)
    wanted = _documents(written.mirrors)
    if sum(file.size for file in wanted.values()) > _MOST_DOCUMENT_BYTES:
        raise LockfileUnreadable(f"its documents have more than {_MOST_DOCUMENT_BYTES} bytes")
    return Lockfile(
        recording=written.recording,
        locked=written.mirrors,
        data={digest: _unpacked(file, written.documents.get(digest)) for digest, file in wanted.items()},
    )


def not_here(mirror: str, known: Iterable[str]) -> str:
    """Say of a lockfile that it is of a mirror that is not among those known here, and what to do."""
    return (
        f"is of a mirror {mirror!r}; here are: {', '.join(known)}. If one of these is the same by another "
        'name, write that name at "mirror" in the lockfile: the mirror\'s keys prove the rest'
    )


def _known_damage(data: bytes) -> str:
    """Say what has become of a text that is no JSON, as far as that shows; else nothing."""
    if not data.strip():
        return "it is empty"
    for number, line in enumerate(data.splitlines(), 1):
        if line.startswith(_MARKERS):
            return (
                f"git has left a conflict in it, in line {number}: take one of the two lockfiles, "
                "or record both runs as one"
            )
    return ""


def _documents(locked: tuple[Locked, ...]) -> dict[Digest, File]:
    """Return the documents of all generations, each digest once."""
    return {file.sha256: file for one in locked for file in one.contents.documents}


def _sorted(one: Locked) -> Locked:
    contents = one.contents
    documents, items = (
        tuple(sorted(files, key=lambda file: file.path)) for files in (contents.documents, contents.items)
    )
    return Locked(
        contents=replace(contents, documents=documents, items=items), unasked=tuple(sorted(one.unasked))
    )


def _entry(one: Locked) -> str:
    contents = indent(write_contents(one.contents).decode().rstrip("\n"), "      ").lstrip()
    unasked = json.dumps(one.unasked, ensure_ascii=False)
    return f'    {{\n      "unasked": {unasked},\n      "contents": {contents}\n    }}'


def _lines(data: bytes) -> str:
    text = base64.b64encode(zlib.compress(data, _LEVEL)).decode()
    lines = (text[at : at + _LINE_LETTERS] for at in range(0, len(text), _LINE_LETTERS))
    return ",\n".join(f'      "{line}"' for line in lines)


def _unpacked(file: File, lines: tuple[str, ...] | None) -> bytes:
    """Return a document's bytes. Raises LockfileUnreadable unless they are whole and its own."""
    if lines is None:
        raise LockfileUnreadable(f"the bytes of {file.path} are not in it")
    try:
        unpacking = zlib.decompressobj()
        # No more than was promised is ever unpacked, whatever was packed.
        data = unpacking.decompress(base64.b64decode("".join(lines), validate=True), file.size + 1)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise LockfileUnreadable(f"the bytes of {file.path} cannot be unpacked: {error}") from error
    if len(data) != file.size or digest_of(data) != file.sha256:
        raise LockfileUnreadable(f"the bytes of {file.path} are damaged: they have not its size and sha256")
    return data
