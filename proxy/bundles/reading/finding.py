"""Finding bundles at a path: in a folder, in the folders and archives in it, or in an archive."""

import contextlib
import os
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from proxy.bundles.oci import LayoutUnreadable
from proxy.bundles.reading.errors import ArchiveCut, ArchiveRefused, MediumFault, NoBundle
from proxy.bundles.reading.layouts import (
    MOST_ENTRIES,
    ArchiveLayout,
    FolderLayout,
    Layout,
    Place,
    has_layout,
    open_folder,
)
from proxy.bundles.reading.streams import FileStream
from proxy.bundles.reading.tar import End, walk
from proxy.errors import ProxyError

_DEEPEST = 4
_MOST_LOOKED_AT = 20_000
"""Files and folders of a stick, in search for bundles."""
_MOST_LAYOUTS = 1000
_AS_ROOT = "; root may read it, and goes on as the owner of the data directory: run it by sudo"
_ARCHIVE_SUFFIXES = (".tar", ".oci")


class Findings:
    """The bundles at some paths, which stay open until this is closed. Its methods block."""

    def __init__(self) -> None:
        self.layouts: list[Layout] = []
        self.problems: list[tuple[str, ProxyError]] = []
        """What could not be read, by the path, and why."""
        self._files = contextlib.ExitStack()

    def add(self, path: Path) -> None:
        """Find what is at a path. Raises FileNotFoundError, NoBundle, and the errors of reading."""
        before = len(self.layouts) + len(self.problems)
        try:
            if stat.S_ISDIR(path.stat().st_mode):
                self._add_folder(path, str(path))
            else:
                self._add_archive(path)
        except FileNotFoundError:
            raise
        except OSError as error:
            advice = _AS_ROOT if isinstance(error, PermissionError) else ""
            raise MediumFault(f"it cannot be read: {error.strerror}{advice}") from error
        if before == len(self.layouts) + len(self.problems):
            is_tree = (path / "streams").is_dir()
            advice = "; it is a tree that a web server can serve: take it with --tree" if is_tree else ""
            raise NoBundle(f"it is no bundle, and there is none in it{advice}")

    def close(self) -> None:
        """Let go of all files."""
        for layout in self.layouts:
            layout.close()
        self._files.close()

    def _add_folder(self, path: Path, name: str) -> None:
        root = open_folder(path)
        if has_layout(root):
            self._take_folder(root, name)
            return
        try:
            for looked_at, found in enumerate(_search(path), 1):
                if looked_at > _MOST_LOOKED_AT:
                    raise NoBundle(f"{path} has more than {_MOST_LOOKED_AT} files: name the bundles in it")
                self._try_to_add(found)
        finally:
            os.close(root)

    def _try_to_add(self, found: os.DirEntry[str]) -> None:
        """Add what was found in a folder, if it is a bundle; what is wrong with it stops no other."""
        try:
            if found.is_dir(follow_symlinks=False):
                fd = os.open(found.path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY | os.O_NOFOLLOW)
                if has_layout(fd):
                    self._take_folder(fd, found.path)
                else:
                    os.close(fd)
            elif found.is_file(follow_symlinks=False) and found.name.endswith(_ARCHIVE_SUFFIXES):
                self._add_archive(Path(found.path), is_named=False)
        except NoBundle:
            pass  # Somebody's archive of something else.
        except OSError as error:
            self.problems.append((found.path, MediumFault(f"it cannot be read: {error.strerror}")))
        except (ArchiveRefused, MediumFault, LayoutUnreadable) as error:
            self.problems.append((found.path, error))

    def _take_folder(self, root: int, name: str) -> None:
        try:
            self._add_layout(FolderLayout(name, root))
        except BaseException:
            os.close(root)
            raise

    def _add_archive(self, path: Path, *, is_named: bool = True) -> None:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if is_named else os.O_NOFOLLOW)
        fd = os.open(path, flags)
        self._files.callback(os.close, fd)
        status = os.fstat(fd)
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISBLK(status.st_mode)):
            raise ArchiveRefused("it is neither a file nor a folder")
        for layout in read_archive(str(path), fd, os.lseek(fd, 0, os.SEEK_END)):
            self._add_layout(layout)

    def _add_layout(self, layout: Layout) -> None:
        if len(self.layouts) >= _MOST_LAYOUTS:
            raise NoBundle(f"there are more than {_MOST_LAYOUTS} bundles: name some of them")
        self.layouts.append(layout)


def read_archive(name: str, fd: int, size_bytes: int) -> list[ArchiveLayout]:
    """Return the bundles in a file of archives, in their order.

    Of one that is cut off, what is there counts. Raises ArchiveRefused, and NoBundle where there is none.
    """
    found: list[ArchiveLayout] = []
    here: dict[str, ArchiveLayout] = {}
    stream = FileStream(fd, size_bytes)
    entries = 0
    try:
        for entry in walk(stream):
            entries += 1
            if entries > MOST_ENTRIES:
                raise ArchiveRefused(f"it has more than {MOST_ENTRIES:,} entries")
            if isinstance(entry, End):
                found += here.values()
                here = {}
                continue
            place = Place(entry.name)
            if place.prefix is None or entry.is_folder or stream.position + entry.size_bytes > size_bytes:
                continue
            if place.prefix not in here and len(here) >= _MOST_LAYOUTS:
                raise ArchiveRefused(f"it has more than {_MOST_LAYOUTS} bundles")
            shown = f"{name}:{place.prefix.rstrip('/')}" if place.prefix else name
            here.setdefault(place.prefix, ArchiveLayout(shown, fd)).add(
                place, stream.position, entry.size_bytes
            )
    except ArchiveCut as error:
        for layout in here.values():
            layout.damage = str(error)
        found += here.values()
    layouts = [one for one in found if one.is_layout]
    if not layouts:
        raise NoBundle("there is no bundle in it: it has no oci-layout")
    return layouts


def _search(folder: Path, depth: int = 1) -> Iterator["os.DirEntry[str]"]:
    """Yield what is in a folder and in those below it; nothing of what is in a bundle."""
    try:
        with os.scandir(folder) as scanned:
            entries = sorted(islice(scanned, _MOST_LOOKED_AT + 1), key=lambda entry: entry.name)
    except OSError:
        return  # Such as the folder of a file system for what it has found: nobody else may read it.
    for entry in entries:
        yield entry
        is_folder = entry.is_dir(follow_symlinks=False)
        if is_folder and depth < _DEEPEST and not Path(entry.path, "oci-layout").is_file():
            yield from _search(Path(entry.path), depth + 1)
