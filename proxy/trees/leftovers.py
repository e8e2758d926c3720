"""What of a tree is no file that the lists want, by kind, for people to read. Pure."""

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_RSYNC_DRAFT = re.compile(r"\.(.+)\.[A-Za-z0-9]{6}")
_PARTS = (".part", ".filepart", ".partial", ".!ut", ".tmp", ".lftp-pget-status")


class Kind(enum.Enum):
    """A kind of leftover, and what it means."""

    WRONG_HASH = "have other bytes than the lists say, and were not taken"
    WRONG_SIZE = "have another size than the lists say, and were not taken"
    PART = "are downloads that were broken off, and were not taken"
    CHANGED = "were written while they were read, and were not taken: run it again"
    UNREADABLE = "could not be read"
    OTHER_GENERATION = "are of other versions than the lists name, of older lists or newer ones"
    UNLISTED = "are named by no list"
    UNSELECTED = "are listed, and not selected"
    UNPROVABLE = "are listed without a sha256 and a size to prove them with"
    DOCUMENT = "are documents that the index does not name, or that nothing proves"
    HINT = "are sstream-mirror's notes (.data/), which prove nothing"
    LINK = "are symbolic links, which are not followed"
    OTHER = "are devices, FIFOs or sockets, which are not opened"

    @property
    def is_damage(self) -> bool:
        """Whether something of a file that the lists name is missing because of it."""
        return self in {Kind.WRONG_HASH, Kind.WRONG_SIZE, Kind.PART, Kind.CHANGED, Kind.UNREADABLE}


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
