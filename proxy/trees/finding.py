"""What lies in a folder that somebody else has filled: where the tree begins, and each file in it.

No link is followed into a folder, so no loop has no end; and nothing is opened here. All of it
blocks, for as long as the disk or a file server does.
"""

import enum
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from proxy.readable import first_few
from proxy.simplestreams.paths import PathError, canonical_path
from proxy.trees.errors import TreeRefused
from proxy.trees.record import OURS

STREAMS = "streams/v1"
_DEEPEST = 6
"""Folders below the one named in which a tree is looked for."""
_MOST_LOOKED_INTO = 10_000
_MOST_ESCAPED = 3
"""Times over that a name may be escaped."""
PART_SUFFIX = ".part"
HINTS = ".data/"


class Sort(enum.Enum):
    """What kind of directory entry something is."""

    FILE = "file"
    LINK = "link"
    """A symbolic link; the size is that of the file in the tree to which it leads, else 0."""
    OTHER = "other"
    """A device, a FIFO or a socket."""
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a folder."""

    path: str
    """Relative to the tree's root, as the disk has it."""
    sort: Sort
    size_bytes: int = 0
    problem: str = ""
    """Why it cannot be read."""


def find_root(folder: Path) -> Path | None:
    """Return where the tree in a folder begins: there, below, or above; None when there is none.

    Raises TreeRefused when there are several, OSError when the folder cannot be read.
    """
    with os.scandir(folder):
        pass
    for root in (folder, *folder.resolve().parents):
        if (root / STREAMS).is_dir() and _is_in_streams(folder.resolve(), root.resolve()):
            return root
    found, folders, looked_into = [], [folder], 0
    for _ in range(_DEEPEST):
        below = []
        for one in folders:
            looked_into += 1
            if looked_into > _MOST_LOOKED_INTO:
                break
            if (one / STREAMS).is_dir():
                found.append(one)
            else:
                below += _folders_in(one)
        folders = below
    if len(found) > 1:
        names = first_few([str(one) for one in sorted(found)])
        raise TreeRefused(f"there are {len(found)} trees in {folder}, name one of them: {names}")
    return found[0] if found else None


def _is_in_streams(folder: Path, root: Path) -> bool:
    """Whether a folder is the root, or the folder of its documents, or one between."""
    return folder == root or folder in ((root / STREAMS).resolve(), (root / STREAMS).resolve().parent)


def _folders_in(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(
                Path(one.path) for one in entries if one.is_dir(follow_symlinks=False) and one.name != OURS
            )
    except OSError:
        return []


def walk(root: Path) -> Iterator[list[Entry]]:
    """Yield the entries of one folder after the other, in order, but for folders and an export's record."""
    folders = [""]
    while folders:
        folder = folders.pop()
        found: list[Entry] = []
        try:
            with os.scandir(root / folder) as entries:
                for one in sorted(entries, key=lambda one: one.name):
                    path = f"{folder}{one.name}"
                    if path == OURS:
                        continue
                    if one.is_dir(follow_symlinks=False):
                        folders.append(f"{path}/")
                    else:
                        found.append(_entry(root, path, one))
        except OSError as error:
            found.append(Entry(folder or ".", Sort.UNREADABLE, problem=error.strerror or str(error)))
        yield found


def _entry(root: Path, path: str, one: os.DirEntry[str]) -> Entry:
    try:
        status = one.stat(follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            return Entry(path, Sort.FILE, status.st_size)
        if not stat.S_ISLNK(status.st_mode):
            return Entry(path, Sort.OTHER)
        target = Path(os.path.realpath(one.path))
        is_inside = root.resolve() in target.parents and target.is_file()
        return Entry(path, Sort.LINK, target.stat().st_size if is_inside else 0)
    except OSError as error:
        return Entry(path, Sort.UNREADABLE, problem=error.strerror or str(error))


def names_of(path: str) -> list[str]:
    """Return the canonical paths that a file's name may stand for, likeliest first.

    Web servers and FAT made others of them: `a%3Ab` for `a:b`, escaped once or several times over.
    """
    found = []
    for _ in range(1 + _MOST_ESCAPED):
        try:
            name = canonical_path(path.replace("%", "%25"))
        except PathError:
            break
        if name in found:
            break
        found.append(name)
        path = unquote(name)
    return found
