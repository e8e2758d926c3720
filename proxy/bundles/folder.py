"""A part of a bundle as a folder, which becomes whole when `index.json` gets its name, last of all.

Until then that file is called `index.json.part`, by which a later run knows the bundle again
and goes on: what is there already is hashed, and what is good stays.

The folder may belong to somebody else, such as the person behind `sudo`: no link below it is followed.
"""

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from proxy.bundles.bundle import Blob, Part, Text
from proxy.bundles.destination import PART_SUFFIX, DestinationFault, DestinationTaken
from proxy.bundles.oci import BLOBS
from proxy.system.anchor import Anchor
from proxy.system.durable import sync_directory, sync_file
from proxy.system.file_copies import Moved, Placer, sync_file_system, write_beside
from proxy.system.file_systems import device
from proxy.system.same_bytes import Way

_OF_DISKS = {
    "lost+found", "system volume information", "$recycle.bin", ".trashes", ".fseventsd", ".spotlight-v100",
}  # fmt: skip
"""What an empty disk has."""
_NO_FILE = {errno.ENOENT, errno.ELOOP}
"""What opening says of nothing, and of a link."""
_MOST_SYNCED = 64
"""Files by themselves; with more, all that anybody has written to the file system is as quick."""


class FolderDestination:
    """A folder that gets one part."""

    def __init__(self, folder: Path, part: Part, *, may_link: bool, source: Path) -> None:
        """Know the part; `may_link` lets blobs be second names of the files below `source`."""
        self._folder = folder
        self._source = source if may_link else None
        self._part = part
        self._placer = Placer(may_link=may_link)
        self._anchor: Anchor | None = None
        self._unsynced: list[Path] = []
        """What this run has written, and the disk may not have taken yet."""
        self._done_bytes = 0

    @property
    def name(self) -> str:
        """What people call it."""
        return str(self._folder)

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._folder

    def check(self) -> int:
        """Return how many bytes are to be written. Raises DestinationTaken if others' files are there."""
        with self._faults():
            self._check_free()
            if self._source is not None and device(self._folder) == device(self._source):
                return 0
            there = (self._folder / one.path for one in self._part.blobs)
            return self._part.blob_bytes - sum(path.stat().st_size for path in there if path.is_file())

    def begin(self) -> None:
        """Write all that is no blob. Raises what `check` raises."""
        with self._faults():
            self._check_free()
            self._folder.mkdir(parents=True, exist_ok=True)
            self._anchor = Anchor(self._folder)
            for name in ("blobs", BLOBS.rstrip("/")):
                with contextlib.suppress(FileExistsError):
                    self._at(name).mkdir()
            index = self._part.index
            if _content(self._at(index.path)) == index.data:
                self._at(index.path).replace(self._at(_unfinished(index.path)))
            else:
                self._write(_unfinished(index.path), index)
            for text in (self._part.layout, *self._part.texts):
                self._write(text.path, text)

    def put(self, blob: Blob, source: int, moved: Moved) -> Way | None:
        """Write a blob from an open file; None if it was there already."""
        with self._faults():
            way, path = None, self._at(blob.path)
            if self._is_there(path, blob, source):
                moved(blob.size_bytes)
            else:
                draft = self._at(_unfinished(blob.path))
                draft.unlink(missing_ok=True)
                way = self._placer.place(source, blob.size_bytes, draft, moved)
                draft.replace(path)
                if way is not Way.LINKED:
                    self._unsynced.append(path)
            self._done_bytes += blob.size_bytes
            return way

    def finish(self) -> None:
        """Have the disk take it all, and name the index."""
        with self._faults():
            if len(self._unsynced) > _MOST_SYNCED:
                sync_file_system(self._at(""))
            else:
                for path in (*self._unsynced, self._at(BLOBS), self._at("")):
                    sync_file(path)
            index = self._part.index.path
            self._at(_unfinished(index)).replace(self._at(index))
            sync_directory(self._at(""))

    def stop(self) -> None:
        """Do nothing: a disk has no reader."""

    def close(self) -> None:
        """Let go of the folder."""
        if self._anchor is not None:
            self._anchor.close()
            self._anchor = None

    def _at(self, path: str) -> Path:
        """Return a path to a name in the folder that leads nowhere else. Raises OSError."""
        assert self._anchor is not None  # noqa: S101 - it is open from the beginning to the end
        return self._anchor.at(path)

    def _check_free(self) -> None:
        try:
            names = sorted(one.name for one in self._folder.iterdir())
        except FileNotFoundError:
            return
        except NotADirectoryError:
            raise DestinationTaken(
                f"{self._folder} is a file: name a folder, or a tar file (*.tar), that is not there yet"
            ) from None
        whole = self._part.index.path
        for index in (whole, _unfinished(whole)):
            with contextlib.suppress(FileNotFoundError):
                if (self._folder / index).read_bytes() == self._part.index.data:
                    return
                what = "another bundle" if index is whole else "another bundle, which is not whole"
                raise DestinationTaken(
                    f"{self._folder} holds {what}, and nothing of it is changed: name another folder,"
                    " or remove that one first"
                )
        strangers = [one for one in names if one.lower() not in _OF_DISKS and not one.startswith(".Trash-")]
        if strangers:
            raise DestinationTaken(
                f"{self._folder} holds other files, such as {strangers[0]!r:.80}, and nothing of them is"
                f" changed: name a folder that is not there yet, such as {self._folder / 'bundle'}"
            )

    def _is_there(self, path: Path, blob: Blob, source: int) -> bool:
        """Whether a blob is there from an earlier run, and good."""
        try:
            with _opened(path) as file:
                status = os.fstat(file.fileno())
                if os.path.samestat(status, os.fstat(source)):
                    return True
                if status.st_size != blob.size_bytes:
                    return False
                return hashlib.file_digest(file, "sha256").hexdigest() == blob.digest
        except OSError as error:
            if error.errno in _NO_FILE:
                return False
            raise

    def _write(self, path: str, text: Text) -> None:
        """Write a small file, unless it is there."""
        place = self._at(path)
        if _content(place) != text.data:
            write_beside(self._at(_unfinished(path)), place, text.data)
            self._unsynced.append(place)

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            missing_bytes = self._part.blob_bytes - self._done_bytes
            raise DestinationFault.of(self._folder, error, missing_bytes) from error


def _unfinished(path: str) -> str:
    return path + PART_SUFFIX


def _opened(path: Path) -> BufferedReader:
    """Open a file that is no link. Raises OSError."""
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb")


def _content(path: Path) -> bytes | None:
    """Return what is in a file, None if there is none, or a link. Raises OSError."""
    try:
        with _opened(path) as file:
            return file.read()
    except OSError as error:
        if error.errno in _NO_FILE:
            return None
        raise
