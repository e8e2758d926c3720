"""What a bundle or a lockfile holds: the documents and items of one generation of one mirror, by name.

It is written as JSON, so that people can read it and compare two. Whoever reads one has a
list of claims: documents are believed for their signatures, items for the signed list that
names them. Pure.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from proxy.digest import Digest, parse_digest
from proxy.errors import ProxyError
from proxy.simplestreams.model import Item
from proxy.simplestreams.paths import canonical_path
from proxy.store.schema import Count, Moment, Schema, Unreadable

MOST_FILES = 1_000_000
"""Of one mirror in one bundle; all the images of cloud-images.ubuntu.com are some 60,000."""
LARGEST_BYTES = 128 * 1024 * 1024
"""Of what is read as contents at all."""


class ContentsUnreadable(ProxyError):
    """What should say what a bundle holds does not."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"what says what it holds cannot be read: {problem}")
        self.problem = problem


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of a mirror."""

    path: str
    """Canonical, below the mirror's root."""
    sha256: Digest
    size: Count
    """Bytes."""
    is_carried: bool = True
    """Whether the bundle has its bytes; if not, the far side was known to have them, or it is missing."""
    is_missing: bool = False
    """Whether the site that wrote this had not got it: it is not carried, and nobody is known to have it."""
    part: Count = 0
    """The part of the bundle that carries it, from 1; 0 is every part."""

    def __post_init__(self) -> None:
        if canonical_path(self.path.replace("%", "%25")) != self.path:
            raise ValueError(f"{self.path!r:.200} is not a path in its one form")
        if parse_digest(self.sha256) != self.sha256:
            raise ValueError(f"{self.sha256!r:.80} is not a SHA-256 in its one form")
        if self.is_missing and self.is_carried:
            raise ValueError(f"{self.path!r:.200} is said to be missing, and to be carried")

    @classmethod
    def of(cls, item: Item) -> Self:
        """Return a document or an item as a file that is carried."""
        return cls(path=item.path, sha256=item.digest, size=item.size_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """The files of one generation of one mirror that were selected. Moments are Unix seconds."""

    mirror: str
    """Its name at the site that wrote this."""
    generation: Count
    """Its number there."""
    index_path: str
    updated: Moment | None = None
    """The date that its index states."""
    accepted_at: Moment
    """When the site that wrote this accepted it."""
    origins: tuple[str, ...] = ()
    """The URLs that it came from, without credentials."""
    written_at: Moment | None = None
    """Left out of bundles: the same selection makes the same bytes, so that a lost part can be made again."""
    written_by: str = ""
    """The program and its version."""
    selection: str = ""
    """What was selected, in words."""
    since: str = ""
    """What was known of the far side, in words: files that were there are not carried."""
    parts: Count = 1
    """How many parts the bundle has."""
    documents: tuple[File, ...]
    items: tuple[File, ...]

    def __post_init__(self) -> None:
        if len(self.documents) + len(self.items) > MOST_FILES:
            raise ValueError(f"it names more than {MOST_FILES:,} files")
        paths = [file.path for file in self.files()]
        if len(set(paths)) != len(paths):
            raise ValueError(f"it names {_first_double(paths)} twice")
        if self.index_path not in {document.path for document in self.documents}:
            raise ValueError(f"its index {self.index_path!r:.200} is not among its documents")

    def files(self) -> Iterator[File]:
        """Yield documents, then items."""
        yield from self.documents
        yield from self.items

    @property
    def carried_bytes(self) -> int:
        """How many bytes the bundle's files have, each digest once."""
        return sum({file.sha256: file.size for file in self.files() if file.is_carried}.values())


_SCHEMA: Schema[Contents] = Schema(Contents)
_OF_MOST = {"is_carried": True, "is_missing": False, "part": 0}


def write_contents(contents: Contents) -> bytes:
    """Return contents as JSON text, a line for each file, so that two can be compared line by line."""
    value = {"version": 1, **_SCHEMA.encode(contents)}
    files = {name: value.pop(name) for name in ("documents", "items")}
    lines = [f"  {json.dumps(name)}: {json.dumps(one, ensure_ascii=False)}" for name, one in value.items()]
    for name, listed in files.items():
        rows = ",\n".join(f"    {json.dumps(_row(one), ensure_ascii=False)}" for one in listed)
        lines.append(f"  {json.dumps(name)}: [\n{rows}\n  ]" if rows else f"  {json.dumps(name)}: []")
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def read_contents(data: bytes) -> Contents:
    """Return what JSON text says. Raises ContentsUnreadable."""
    if len(data) > LARGEST_BYTES:
        raise ContentsUnreadable(f"it has more than {LARGEST_BYTES} bytes")
    contents = _SCHEMA.decode_text(data)
    if isinstance(contents, Unreadable):
        raise ContentsUnreadable(contents.problem)
    return contents


def _row(file: dict[str, object]) -> dict[str, object]:
    """Return a file as it is written: what is true of most is left out."""
    return {name: one for name, one in file.items() if _OF_MOST.get(name) != one}


def _first_double(paths: list[str]) -> str:
    return repr(next(path for path, count in Counter(paths).items() if count > 1))[:200]
