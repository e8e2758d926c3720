"""A part of a bundle as a tar: in a file, or through a pipe.

What comes first is what a reader of a pipe needs first: the index and what it leads to, then
documents, then items. The same part makes the same bytes, so that a file that is not whole can
be gone on with. While it is not, its name ends in `.part`.
"""

import contextlib
import errno
import hashlib
import os
import select
import tarfile
from collections.abc import Iterator
from pathlib import Path

from proxy.bundles.bundle import Blob, Part
from proxy.bundles.destination import PART_SUFFIX, DestinationFault, DestinationTaken
from proxy.bundles.texts import SUMS_PATH
from proxy.digest import Digest
from proxy.system.durable import sync_directory
from proxy.system.file_copies import Moved, write_beside
from proxy.system.same_bytes import Way

_BLOCK = 512
_END = bytes(2 * _BLOCK)
_READ_BYTES = 1024**2
_MODE = 0o644
_LOOK_MS = 200
"""How often whoever waits for a reader looks whether to go on."""


def tar_bytes(part: Part) -> int:
    """Return how large a part is as a tar."""
    head = len(_head(part))
    return head + sum(map(_blob_bytes, part.blobs)) + len(_END)


class PipeDestination:
    """A pipe, or whatever standard output is, that gets one part as a tar."""

    def __init__(self, target: int, part: Part) -> None:
        """Write to an open file."""
        self._target = target
        self._part = part
        self._was_blocking = os.get_blocking(target)
        os.set_blocking(target, False)
        self._may_send = True
        self._is_stopped = False

    @property
    def name(self) -> str:
        """What people call it."""
        return "standard output"

    @property
    def path(self) -> None:
        """It has none."""
        return None

    def check(self) -> int:
        """Return nothing: nobody knows how much a pipe takes."""
        return 0

    def begin(self) -> None:
        """Write all that is no blob."""
        self._write(_head(self._part))

    def put(self, blob: Blob, source: int, moved: Moved) -> Way | None:
        """Write a blob from an open file."""
        self._write(_header(blob.path, blob.size_bytes, self._part.moment))
        offset = 0
        while offset < blob.size_bytes:
            count = self._send(blob, source, offset)
            offset += count
            moved(count)
        self._write(_padding(blob.size_bytes))
        return Way.COPIED

    def finish(self) -> None:
        """Write the end of the tar."""
        self._write(_END)

    def stop(self) -> None:
        """Wait for the reader no longer."""
        self._is_stopped = True

    def close(self) -> None:
        """Leave the pipe to whoever opened it, as it was."""
        os.set_blocking(self._target, self._was_blocking)

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            with self._faults():
                left = left[os.write(self._target, left) :]

    def _send(self, blob: Blob, source: int, offset: int) -> int:
        """Send the next bytes of a blob; return how many went."""
        with self._faults():
            if self._may_send:
                try:
                    count = os.sendfile(self._target, source, offset, blob.size_bytes - offset)
                except OSError as error:
                    if error.errno != errno.EINVAL:
                        raise
                    self._may_send = False  # Such as a file that is opened to append.
                else:
                    if count:
                        return count
            data = os.pread(source, min(_READ_BYTES, blob.size_bytes - offset), offset)
            if not data:
                raise DestinationFault(f"{blob.name} became shorter while it was read")
            return os.write(self._target, data)
        return 0

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        """Wait for the reader where it is behind; then nothing of what was tried has gone."""
        try:
            yield
        except BlockingIOError:
            waiting = select.poll()
            waiting.register(self._target, select.POLLOUT)
            while not waiting.poll(_LOOK_MS):
                if self._is_stopped:
                    raise DestinationFault(f"{self.name}: its reader was not waited for any longer") from None
        except BrokenPipeError as error:
            error.filename = self.name  # Whoever runs commands knows what that means.
            raise
        except OSError as error:
            raise DestinationFault.of(self.name, error) from error


class TarDestination:
    """A tar file that gets one part, and beside it a file of its digest."""

    def __init__(self, path: Path, part: Part) -> None:
        self._path = path
        self._draft = path.with_name(path.name + PART_SUFFIX)
        self._part = part
        self._head = _head(part)
        self._fd = -1
        self._is_whole = False
        self._there_bytes = 0
        """How much an earlier run has left."""
        self._hash = hashlib.sha256()
        self._written_bytes = 0

    @property
    def name(self) -> str:
        """What people call it."""
        return str(self._path)

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._path

    def check(self) -> int:
        """Return how many bytes are to be written. Raises DestinationTaken if another file is there."""
        with self._faults():
            if self._path.is_dir():
                raise DestinationTaken(f"{self._path} is a folder: name a tar file that is not there yet")
            for path in (self._path, self._draft):
                with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                    beginning = file.read(len(self._head))
                    is_cut = path == self._draft and self._head.startswith(beginning)
                    if beginning != self._head and not is_cut:
                        raise DestinationTaken(
                            f"{path} is another file, or another bundle, and nothing of it is changed: name"
                            " another file, or remove that one first"
                        )
                    return max(0, tar_bytes(self._part) - os.fstat(file.fileno()).st_size)
            return tar_bytes(self._part)

    def begin(self) -> None:
        """Write all that is no blob. Raises what `check` raises."""
        self.check()
        with self._faults():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._is_whole = self._path.exists()
            path = self._path if self._is_whole else self._draft
            mode = os.O_RDONLY if self._is_whole else os.O_RDWR | os.O_CREAT
            self._fd = os.open(path, mode | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
            self._there_bytes = os.fstat(self._fd).st_size
            if self._pread(len(self._head), 0) == self._head:
                self._count(self._head)
            else:
                self._write(self._head)

    def put(self, blob: Blob, source: int, moved: Moved) -> Way | None:
        """Write a blob from an open file, hashed as it goes; None if it was there already."""
        with self._faults():
            if self._is_there(blob, moved):
                return None
            if self._is_whole:
                raise DestinationTaken(f"{self._path} is damaged: remove it, and run the same again")
            self._write(_header(blob.path, blob.size_bytes, self._part.moment))
            offset = 0
            while offset < blob.size_bytes:
                data = os.pread(source, min(_READ_BYTES, blob.size_bytes - offset), offset)
                if not data:
                    raise DestinationFault(f"{blob.name} became shorter while it was read")
                self._write(data)
                offset += len(data)
                moved(len(data))
            self._write(_padding(blob.size_bytes))
            return Way.COPIED

    def finish(self) -> None:
        """Have the disk take it, give it its name, and write its digest beside it."""
        with self._faults():
            if self._is_whole:
                self._count(_END)
            else:
                self._write(_END)
                os.ftruncate(self._fd, self._written_bytes)
                os.fsync(self._fd)
                self._draft.replace(self._path)
            sums = self._path.with_name(f"{self._path.name}.{SUMS_PATH}")
            line = f"{self._hash.hexdigest()}  {self._path.name}\n"
            write_beside(sums.with_name(sums.name + PART_SUFFIX), sums, line.encode())
            sync_directory(self._path.parent)

    def stop(self) -> None:
        """Do nothing: a disk has no reader."""

    def close(self) -> None:
        """Close the file. What is not whole stays, to be gone on with."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _is_there(self, blob: Blob, moved: Moved) -> bool:
        """Whether the next blob is there from an earlier run, and good: then it counts as written."""
        entry_bytes = _blob_bytes(blob)
        if self._written_bytes + entry_bytes > self._there_bytes:
            return False
        header = _header(blob.path, blob.size_bytes, self._part.moment)
        if self._pread(len(header), self._written_bytes) != header:
            return False
        of_blob, of_tar = hashlib.sha256(), self._hash.copy()
        of_tar.update(header)
        offset, left = self._written_bytes + len(header), blob.size_bytes
        while left:
            data = self._pread(min(_READ_BYTES, left), offset)
            if not data:
                return False
            of_blob.update(data)
            of_tar.update(data)
            offset, left = offset + len(data), left - len(data)
        if Digest(of_blob.hexdigest()) != blob.digest:
            return False
        of_tar.update(_padding(blob.size_bytes))
        self._hash = of_tar
        self._written_bytes += entry_bytes
        moved(blob.size_bytes)
        return True

    def _write(self, data: bytes) -> None:
        left, offset = memoryview(data), self._written_bytes
        while left:
            count = os.pwrite(self._fd, left, offset)
            left, offset = left[count:], offset + count
        # What stood behind it belongs to nothing.
        self._there_bytes = 0
        self._count(data)

    def _count(self, data: bytes) -> None:
        self._hash.update(data)
        self._written_bytes += len(data)

    def _pread(self, count: int, offset: int) -> bytes:
        return os.pread(self._fd, count, offset)

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DestinationFault.of(
                self._path, error, tar_bytes(self._part) - self._written_bytes
            ) from error


def _head(part: Part) -> bytes:
    """Return the beginning of a part's tar, up to the blobs."""
    return b"".join(
        _header(one.path, len(one.data), part.moment) + one.data + _padding(len(one.data))
        for one in part.small_files
    )


def _header(path: str, size_bytes: int, moment: float) -> bytes:
    entry = tarfile.TarInfo(path)
    entry.size, entry.mtime, entry.mode = size_bytes, max(0, int(moment)), _MODE
    return entry.tobuf(tarfile.PAX_FORMAT)


def _padding(size_bytes: int) -> bytes:
    return bytes(-size_bytes % _BLOCK)


def _blob_bytes(blob: Blob) -> int:
    return len(_header(blob.path, blob.size_bytes, 0)) + blob.size_bytes + -blob.size_bytes % _BLOCK
