"""A folder that may hang: its files listed, opened and read in threads that nobody has to wait for."""

import asyncio
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from proxy.bundles.oci import LAYOUT_PATH
from proxy.fills.first_bytes import FirstBytes
from proxy.sources.carried.origin import CarriedOrigin
from proxy.sources.carried.origin import Reader as DocumentReader
from proxy.sources.errors import OriginOverdid, OriginUnreachable
from proxy.sources.folder.reader import Reader
from proxy.store.protocols import Adoption, WriteStore
from proxy.trees.errors import TreeFault
from proxy.trees.finding import Entry, Sort, find_root, names_of, walk

_Result = TypeVar("_Result")
_TURN_S = 0.1
"""So long a thread works before it tells how far it is."""
_END_WITHIN_S = 5.0
_OPENED = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Changed(Exception):
    """A file that is another one, or of another size, than when the folder was listed."""


class TreeFolder:
    """A folder with a tree, or with files of one; `silence_s` is how long its disk may say nothing."""

    def __init__(self, folder: Path, silence_s: float) -> None:
        self.folder = folder
        self.root = folder
        self.has_tree = False
        self.entries: list[Entry] = []
        self._reader = Reader(str(folder))
        self._silence_s = silence_s
        self._by_name: dict[str, Entry] = {}

    async def look(self) -> None:
        """List what is there. Raises TreeRefused and TreeFault."""
        root = await self._run(lambda: find_root(self.folder))
        self.has_tree = root is not None
        self.root = root or self.folder
        listing = walk(self.root)
        while (found := await self._run(lambda: _some(listing))) is not None:
            self.entries += found
        for entry in self.entries:
            if entry.sort in {Sort.FILE, Sort.LINK}:
                for name in names_of(entry.path):
                    self._by_name.setdefault(name, entry)

    @property
    def is_bundle(self) -> bool:
        """Whether it has the form of a bundle."""
        return any(entry.path == LAYOUT_PATH for entry in self.entries)

    def documents(self, most_bytes: int) -> CarriedOrigin:
        """Return the documents that are there as an origin, each up to a size."""
        name = str(self.root)
        return CarriedOrigin(
            name,
            {
                path: self._document(name, path, entry, most_bytes)
                for path, entry in self._by_name.items()
                if path.startswith("streams/") or path.endswith(("json", ".gpg"))
            },
        )

    @property
    def document_paths(self) -> list[str]:
        """The canonical paths in `streams/`."""
        return [path for path in self._by_name if path.startswith("streams/")]

    async def adopt(self, entry: Entry, store: WriteStore, first_bytes: FirstBytes) -> "Adopting":
        """Begin to hash a file, to become a blob. Raises Changed, OSError and TreeFault."""

        def begin() -> Adopting:
            fd = self._open(entry)
            try:
                return Adopting(fd, store.adopt(fd), first_bytes, self._reader)
            except BaseException:
                os.close(fd)
                raise

        return await self._run(begin, raises_os_errors=True)

    async def hash_on(self, adopting: "Adopting") -> int:
        """Hash for a moment; return how many bytes that were, 0 at the end. Raises OSError and TreeFault."""
        return await self._run(adopting.hash_on, raises_os_errors=True)

    def close(self) -> None:
        """Let the threads end; nobody waits for one that the disk keeps."""
        self._reader.close()

    def _open(self, entry: Entry) -> int:
        follows = 0 if entry.sort is Sort.LINK else os.O_NOFOLLOW
        fd = os.open(self.root / entry.path, _OPENED | follows)
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size != entry.size_bytes:
            os.close(fd)
            raise Changed
        return fd

    def _document(self, name: str, path: str, entry: Entry, most_bytes: int) -> DocumentReader:
        def read_all() -> bytes:
            fd = self._open(entry)
            with os.fdopen(fd, "rb") as file:
                before = os.fstat(fd)
                data = file.read(most_bytes + 1)
                after = os.fstat(fd)
            if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                raise Changed
            return data

        async def read() -> bytes:
            try:
                data = await self._run(read_all, raises_os_errors=True)
            except Changed:
                raise OriginUnreachable(name, f"{path} was written while it was read") from None
            except OSError as error:
                raise OriginUnreachable(name, f"{path}: {error.strerror}") from error
            if len(data) > most_bytes:
                raise OriginOverdid(name, f"{path} has more than {most_bytes} bytes")
            return data

        return read

    async def _run(self, function: Callable[[], _Result], *, raises_os_errors: bool = False) -> _Result:
        try:
            return await self._reader.call(self._silence_s, function)
        except TimeoutError as error:
            if error.errno is None:
                raise TreeFault(
                    f"{self.folder}: nothing could be read for {self._silence_s:g} s ([upstream] "
                    "stall_timeout): is its disk or file server in trouble? What was taken is kept, and the "
                    "next run goes on from there"
                ) from error
            raise TreeFault.of(self.folder, error) from error
        except OSError as error:
            if raises_os_errors:
                raise
            raise TreeFault.reading(self.folder, error) from error


class Adopting:
    """A file of the folder that is being hashed."""

    def __init__(self, fd: int, adoption: Adoption, first_bytes: FirstBytes, reader: Reader) -> None:
        self.adoption = adoption
        self._step = first_bytes.resting(adoption.step)
        self._fd = fd
        self._reader = reader
        self._using = threading.Lock()
        """Held while a thread hashes: once closed, the descriptor's number may be another file's."""

    def hash_on(self) -> int:
        """Hash for a moment; return how many bytes that were, 0 at the end. Blocks."""
        until, total = time.monotonic() + _TURN_S, 0
        with self._using:
            while self._fd >= 0 and (count := self._step()):
                total += count
                if time.monotonic() >= until:
                    break
        return total

    async def end(self) -> None:
        """Let go of the file, once no thread reads it; one that the disk keeps is not waited for."""
        await asyncio.wait([self._reader.begin(self._end)], timeout=_END_WITHIN_S)

    def _end(self) -> None:
        with self._using:
            try:
                self.adoption.close()
            finally:
                os.close(self._fd)
                self._fd = -1


def _some(listing: Iterator[list[Entry]]) -> list[Entry] | None:
    """Return the entries of the next folders, as many as a moment brings; None at the end."""
    until, found = time.monotonic() + _TURN_S, []
    for entries in listing:
        found += entries
        if time.monotonic() >= until:
            return found
    return found or None
