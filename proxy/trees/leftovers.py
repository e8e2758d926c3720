"""What of a tree is no file that the lists want, by kind, for people to read. Pure."""

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_RSYNC_DRAFT = re.compile(r"\.(.+)\.[A-Za-z0-9]{6}")
_PARTS = (".part", ".filepart", ".partial", ".!ut", ".tmp", ".lftp-pget-status")


class Kind(enum.Enum):
    """A kind of leftover, and what it means."""

    WRONG_HASH = "other bytes than the lists say, not taken"
    WRONG_SIZE = "another size than the lists say, not taken"
    PART = "broken off in the middle, not taken"
    CHANGED = "written or removed while it was read, not taken: run it again"
    UNREADABLE = "unreadable"
    OTHER_GENERATION = "of other versions than the lists name, of older lists or newer ones"
    UNLISTED = "named by no list"
    UNSELECTED = "listed, and not selected"
    UNPROVABLE = "listed without a sha256 and a size to prove it with"
    DOCUMENT = "a document that the index does not name, or that nothing proves"
    HINT = "a note of sstream-mirror (.data/), which proves nothing"
    LINK = "a symbolic link, which is not followed"
    OTHER = "a device, FIFO or socket, which is not opened"

    @property
    def is_damage(self) -> bool:
        """Whether somebody should look at it."""
        return self in {Kind.WRONG_HASH, Kind.WRONG_SIZE, Kind.PART} or self.is_unknown

    @property
    def is_unknown(self) -> bool:
        """Whether another run may find that it is wanted."""
        return self in {Kind.CHANGED, Kind.UNREADABLE}


@dataclass(slots=True)
class Leftovers:
    """The leftovers of one tree."""

    found: dict[Kind, list[tuple[str, str]]] = field(default_factory=dict)
    """The path of each, as the disk has it, and more about it in words."""

    def add(self, kind: Kind, path: str, why: str = "") -> None:
        """Note one."""
        self.found.setdefault(kind, []).append((path, why))

    def kinds(self) -> Iterator[tuple[Kind, list[tuple[str, str]]]]:
        """Yield what there is of each kind, the worst first."""
        for kind in Kind:
            if kind in self.found:
                yield kind, self.found[kind]


def whole_name(path: str) -> str | None:
    """Return the name that a file will have once it is whole, None unless it looks like a part of one."""
    folder, slash, name = path.rpartition("/")
    for suffix in _PARTS:
        if name.endswith(suffix) and name != suffix:
            return f"{folder}{slash}{name.removesuffix(suffix)}"
    found = _RSYNC_DRAFT.fullmatch(name)
    return None if found is None else f"{folder}{slash}{found[1]}"
