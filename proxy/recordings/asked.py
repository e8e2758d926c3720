"""What was asked for: requests as processes note them, and the lines of a recording that tell of them.

A recording has a line for each file that was asked for, in one of three kinds, and one for each
generation of which something was. A line that cannot be read, such as one that a full
disk has cut off, is passed over.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from proxy.digest import Digest, is_digest
from proxy.documents.generation import Edition, Generation
from proxy.documents.records import GENERATION
from proxy.simplestreams.model import Item
from proxy.store.schema import Count, Moment, Schema, Unreadable, parse


class Kind(Enum):
    """How something was asked for."""

    GOT = "got"
    """By GET, whole or in part, fetched for it or not: it belongs to what the client needs."""
    LOOKED_AT = "looked at"
    """By HEAD: the client asked whether it is there, and did not take it."""
    ABSENT = "absent"
    """By either, and it was answered with 404."""


MOST_ABSENT = 1000
"""Of one recording: clients can make up any number of paths, which must not take the place of files."""

FileKey = tuple[Kind, str, str, str, int]
"""What makes two requests the same: how, mirror, path, SHA-256, and of a document the generation's number."""


class Request(NamedTuple):
    """A request, but for its client and its time."""

    kind: Kind
    mirror: str
    path: str
    """Canonical for what is there; as the client wrote it for what is not."""
    item: Item | None = None
    """What is there."""
    edition: Edition | None = None
    """The generation that a document belongs to."""

    @property
    def key(self) -> FileKey:
        """What makes two requests the same line."""
        digest = "" if self.item is None else self.item.digest
        number = 0 if self.edition is None else self.edition.generation.number
        return self.kind, self.mirror, self.path, digest, number


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A file that was asked for. Moments are Unix seconds."""

    kind: Kind
    mirror: str
    path: str
    sha256: str = ""
    size: Count = 0
    generation: Count = 0
    """The number of the newest generation that names it, 0 if none was known."""
    is_document: bool = False
    at: Moment
    """When it was asked for first."""
    client: str = ""
    """Who did."""

    def __post_init__(self) -> None:
        if self.kind is not Kind.ABSENT and not is_digest(self.sha256):
            raise ValueError("what should be a SHA-256 is none")

    @property
    def key(self) -> FileKey:
        """What makes two lines the same."""
        return self.kind, self.mirror, self.path, self.sha256, self.generation if self.is_document else 0

    @property
    def item(self) -> Item:
        """It as a file."""
        return Item(self.path, Digest(self.sha256), self.size)


_ASKED: Schema[Asked] = Schema(Asked)


@dataclass(slots=True)
class Taken:
    """What a recording has taken."""

    files: dict[FileKey, Asked] = field(default_factory=dict)
    """By what makes them the same; in the order in which they were asked for."""
    generations: dict[tuple[str, int], Generation] = field(default_factory=dict)
    """By mirror and number."""
    absent: int = 0
    """How many of the files were not there."""
    unnoted: int = 0
    """How many requests were for something more than is recorded, or could not be noted."""

    def of_kind(self, kind: Kind) -> list[Asked]:
        """Return the files that were asked for in one way, by mirror and path."""
        found = (one for one in self.files.values() if one.kind is kind)
        return sorted(found, key=lambda one: (one.mirror, one.path, one.generation))


def asked_line(asked: Asked) -> bytes:
    """Return the line of a file."""
    return _line({"asked": _ASKED.encode(asked)})


def generation_line(mirror: str, generation: Generation) -> bytes:
    """Return the line of a generation."""
    return _line({"mirror": mirror, "generation": GENERATION.encode(generation)})


def unnoted_line(count: int) -> bytes:
    """Return a line that says that so many requests were not noted."""
    return _line({"unnoted": count})


def read_lines(lines: Iterable[bytes], most_files: int) -> Taken:
    """Return what lines tell."""
    taken = Taken()
    for line in lines:
        value = parse(line)
        match value:
            case {"asked": asked}:
                one = _ASKED.decode(asked)
                if isinstance(one, Unreadable) or one.key in taken.files:
                    continue
                if len(taken.files) < most_files:
                    taken.files[one.key] = one
                    taken.absent += one.kind is Kind.ABSENT
                else:
                    taken.unnoted += 1
            case {"mirror": str(mirror), "generation": generation}:
                found = GENERATION.decode(generation)
                if not isinstance(found, Unreadable):
                    taken.generations[mirror, found.number] = found
            case {"unnoted": int(count)}:
                taken.unnoted += count
    return taken


def _line(value: Any) -> bytes:
    # Behind the line feed it is whole, whatever stands before.
    return b"\n" + json.dumps(value, ensure_ascii=False).encode(errors="replace")
