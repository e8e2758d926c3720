"""Where the blobs of one bundle lie, and reading them: in a folder, in an archive, or in a pipe.

A layout says nothing of what it is for: `heads.py` reads that. Whatever a name says, only blobs are read,
and the few small files at their places. All methods block.
"""

import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, Self

from proxy.bundles.oci import BLOBS, INDEX_PATH, LAYOUT_PATH, LayoutUnreadable
from proxy.bundles.reading.errors import ArchiveCut, ArchiveRefused, MediumFault
from proxy.bundles.reading.streams import FileStream, Stream
from proxy.digest import Digest, is_digest

MOST_ENTRIES = 500_000
"""In one archive or folder; all the images of cloud-images.ubuntu.com are some 60,000."""
_PLACE = re.compile(
    rf"(?P<prefix>(?:.*/)?)(?:(?P<small>{LAYOUT_PATH}|{re.escape(INDEX_PATH)})|{BLOBS}(?P<blob>[0-9a-f]{{64}}))"
)
_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_OPEN_FOLDER = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_DIRECTORY
_NO_FILE = {errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.ENODEV}
"""What opening says of links, pipes and devices."""


class Place:
    """Where an archive has a file, by the name that it gives it."""

    __slots__ = ("blob", "prefix", "small")

    def __init__(self, name: str) -> None:
        found = _PLACE.fullmatch(name)
        self.prefix: str | None = found["prefix"] if found else None
        """The folder of the layout; None for what is no part of one."""
        self.small: str = (found["small"] or "") if found else ""
        self.blob: Digest | None = Digest(found["blob"]) if found and found["blob"] else None


class Blob:
    """The bytes of one blob, in order. Raises MediumFault."""

    def __init__(self, digest: Digest, size_bytes: int, stream: Stream, fd: int | None = None) -> None:
        self.digest = digest
        self.size_bytes = size_bytes
        self._stream = stream
        self._stop = stream.position + size_bytes
        self._fd = fd
        """What is closed with it."""

    def read_into(self, buffer: memoryview) -> int:
        """Put the next bytes into a buffer, and return how many came: none at the end."""
        left = self._stop - self._stream.position
        return self._stream.read_into(buffer[:left]) if left > 0 else 0

    def skip(self, count: int) -> None:
        """Pass over the next bytes."""
        self._stream.skip(count)

    def read(self) -> bytes:
        """Return all that is left; less where the medium ends early."""
        return self._stream.read(self._stop - self._stream.position)

    def close(self) -> None:
        """Let go of it."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Layout(Protocol):
    """A bundle, or a part of one."""

    name: str
    """What people call it: the path that was given, and where it is there."""
    damage: str
    """Why it may lack what it should have, "" if nothing is wrong."""
    blobs_at_once: int
    """How many blobs may be read at a time."""
    is_passing: bool
    """Whether its items pass by once, so that nobody knows before which it has."""

    def small(self, path: str, most_bytes: int) -> bytes:
        """Return `oci-layout` or `index.json`. Raises LayoutUnreadable without it, and MediumFault."""

    def size_bytes(self, digest: Digest) -> int | None:
        """Return how large a blob is that can be read now, None when there is none."""

    def open(self, digest: Digest) -> Blob:
        """Open such a blob."""

    def blobs(self) -> Iterator[Blob]:
        """Yield all blobs, those that could be read before too. Whoever gets one closes it."""

    def close(self) -> None:
        """Let go of it."""


class FolderLayout:
    """A bundle in a folder. Nothing below the folder is followed anywhere else."""

    blobs_at_once = 2
    is_passing = False
    damage = ""

    def __init__(self, name: str, root: int) -> None:
        """Read what is in a folder that is open, and is closed with this. Raises LayoutUnreadable."""
        self.name = name
        self._root = root
        self._blobs = -1
        folders: list[int] = []
        try:
            for part in BLOBS.strip("/").split("/"):
                folders.append(os.open(part, _OPEN_FOLDER, dir_fd=(folders or [root])[-1]))
            self._blobs = folders.pop()
        except OSError as error:
            raise LayoutUnreadable(f"{BLOBS} in it is no folder: {error.strerror}") from error
        finally:
            for fd in folders:
                os.close(fd)

    def small(self, path: str, most_bytes: int) -> bytes:
        """Return `oci-layout` or `index.json`, which is written last: ArchiveCut without it."""
        if path == INDEX_PATH and not _exists(path, self._root):
            raise ArchiveCut(f"it has no {path}: it was not written to its end, or not copied whole")
        with self._opened(path, self._root, Digest("")) as blob:
            if blob.size_bytes > most_bytes:
                raise LayoutUnreadable(f"{path} has more than {most_bytes} bytes")
            return blob.read()

    def size_bytes(self, digest: Digest) -> int | None:
        """Return how large a blob is, None when there is none."""
        try:
            status = os.stat(digest, dir_fd=self._blobs, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise MediumFault(f"{digest} cannot be read: {error.strerror}") from error
        if not stat.S_ISREG(status.st_mode):
            raise _no_plain_file(digest)
        return status.st_size

    def open(self, digest: Digest) -> Blob:
        """Open a blob."""
        return self._opened(digest, self._blobs, digest)

    def blobs(self) -> Iterator[Blob]:
        """Yield all blobs."""
        names = []
        try:
            with os.scandir(self._blobs) as entries:
                for count, entry in enumerate(entries):
                    if count >= MOST_ENTRIES:
                        raise LayoutUnreadable(f"it has more than {MOST_ENTRIES:,} blobs")
                    if is_digest(entry.name):
                        names.append(entry.name)
        except OSError as error:
            raise MediumFault(f"its blobs cannot be listed: {error.strerror}") from error
        for name in sorted(names):
            yield self.open(Digest(name))

    def close(self) -> None:
        """Let go of the folder."""
        for fd in (self._blobs, self._root):
            if fd >= 0:
                os.close(fd)
        self._blobs = self._root = -1

    def _opened(self, name: str, folder: int, digest: Digest) -> Blob:
        try:
            fd = os.open(name, _OPEN, dir_fd=folder)
        except FileNotFoundError as error:
            raise LayoutUnreadable(f"it has no {name}") from error
        except OSError as error:
            if error.errno in _NO_FILE:
                raise _no_plain_file(name) from error
            raise MediumFault(f"{name} cannot be read: {error.strerror}") from error
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(fd)
            raise _no_plain_file(name)
        return Blob(digest, status.st_size, FileStream(fd, status.st_size), fd)


class ArchiveLayout:
    """A bundle in an archive that can be read at any place, of which the headers were read."""

    blobs_at_once = 2
    is_passing = False

    def __init__(self, name: str, fd: int, damage: str = "") -> None:
        self.name = name
        self.damage = damage
        self._fd = fd
        self._small: dict[str, tuple[int, int]] = {}
        self._blobs: dict[Digest, tuple[int, int]] = {}

    def add(self, place: Place, offset: int, size_bytes: int) -> None:
        """Note where a file lies. Raises ArchiveRefused for a second one of its name."""
        found = (offset, size_bytes)
        if place.blob is None:
            if self._small.setdefault(place.small, found) is not found:
                raise ArchiveRefused(f"it has {place.small} twice")
        elif self._blobs.setdefault(place.blob, found) is not found:
            raise ArchiveRefused(f"it has {BLOBS}{place.blob} twice")

    @property
    def is_layout(self) -> bool:
        """Whether it has what every bundle begins with."""
        return LAYOUT_PATH in self._small

    def small(self, path: str, most_bytes: int) -> bytes:
        """Return `oci-layout` or `index.json`."""
        if path not in self._small:
            raise LayoutUnreadable(f"it has no {path}{self.damage and f': {self.damage}'}")
        offset, size_bytes = self._small[path]
        if size_bytes > most_bytes:
            raise LayoutUnreadable(f"{path} has more than {most_bytes} bytes")
        return self._blob(Digest(""), offset, size_bytes).read()

    def size_bytes(self, digest: Digest) -> int | None:
        """Return how large a blob is, None when there is none."""
        return self._blobs[digest][1] if digest in self._blobs else None

    def open(self, digest: Digest) -> Blob:
        """Open a blob."""
        return self._blob(digest, *self._blobs[digest])

    def blobs(self) -> Iterator[Blob]:
        """Yield all blobs, in the order in which they lie there."""
        for digest, _ in sorted(self._blobs.items(), key=lambda one: one[1]):
            yield self.open(digest)

    def close(self) -> None:
        """Let go of nothing: the file is its finder's."""

    def _blob(self, digest: Digest, offset: int, size_bytes: int) -> Blob:
        stream = FileStream(self._fd, offset + size_bytes)
        stream.position = offset
        return Blob(digest, size_bytes, stream)


def _no_plain_file(name: str) -> LayoutUnreadable:
    return LayoutUnreadable(f"{name} in it is a link or no plain file, and a bundle has no others")


def open_folder(path: Path) -> int:
    """Open a folder that somebody has named. Raises OSError."""
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)


def _exists(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    except OSError:
        pass  # Whoever opens it tells.
    return True


def has_layout(folder: int) -> bool:
    """Whether a folder says that it is a bundle."""
    try:
        return stat.S_ISREG(os.stat(LAYOUT_PATH, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return False
