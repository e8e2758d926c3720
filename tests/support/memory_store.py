"""A second kind of place for blobs: dicts and anonymous files of one process; no names or locks on a disk.

It exists so that the contract of stores is held by two kinds that share nothing.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from proxy.digest import Digest, Verifier, digest_of
from proxy.store.protocols import DAMAGED, FoundBlob, PartialStatus, Progress
from proxy.system.same_bytes import Way

_READ_BYTES = 1000


@dataclass
class _File:
    """Bytes that live for as long as somebody has a descriptor of them."""

    fd: int = field(default_factory=lambda: os.memfd_create("blob"))
    readers: int = 0
    written_at: float = field(default_factory=time.time)
    changes: int = 1
    signs: int = 0
    is_named: bool = True
    is_verified: bool = False

    def __del__(self) -> None:
        os.close(self.fd)

    @property
    def data(self) -> bytes:
        return os.pread(self.fd, os.fstat(self.fd).st_size, 0)

    @property
    def length_bytes(self) -> int:
        return os.fstat(self.fd).st_size

    def write(self, data: bytes) -> None:
        os.pwrite(self.fd, data, self.length_bytes)
        self.signs += 1
        self.written_at = time.time()


class _Open:
    """A view of a file; what keeps it from being removed."""

    def __init__(self, file: _File, *, is_kept: bool) -> None:
        self._file = file
        self._is_kept = False
        self.fd = os.dup(file.fd)
        if is_kept:
            self.keep()

    def keep(self) -> bool:
        if not self._is_kept:
            self._is_kept = True
            self._file.readers += 1
        return True

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            self._file.readers -= self._is_kept


class MemoryPartial(_Open):
    """A reader's view of a partial file."""

    def progress(self) -> Progress:
        file = self._file
        return Progress(
            length_bytes=file.length_bytes,
            is_verified=file.is_verified,
            last_sign=file.signs,
            is_discarded=not file.is_named,
        )

    def is_same(self, fd: int) -> bool:
        return os.path.samestat(os.fstat(self.fd), os.fstat(fd))


class MemoryBlob(_Open):
    """An open blob."""

    @property
    def size_bytes(self) -> int:
        return self._file.length_bytes

    def as_partial(self) -> MemoryPartial:
        partial = MemoryPartial(self._file, is_kept=True)
        self.close()
        return partial

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class MemoryIncoming:
    """The right to write a partial file."""

    def __init__(self, store: "MemoryStore", file: _File, digest: Digest, size_bytes: int) -> None:
        self._store, self._file, self._digest = store, file, digest
        self._verifier = Verifier(digest, size_bytes)
        self._verifier.update(file.data)
        self.resumed_bytes = file.length_bytes
        self.fd = os.dup(file.fd)

    @property
    def length_bytes(self) -> int:
        return self._verifier.seen_bytes

    def append(self, *chunks: bytes) -> None:
        for chunk in chunks:
            self._verifier.update(chunk)
            self._file.write(chunk)

    def draw(self, receive: Callable[[memoryview], int], most_bytes: int) -> None:
        stop = self.length_bytes + most_bytes
        buffer = memoryview(bytearray(_READ_BYTES))
        while (count := receive(buffer[: stop - self.length_bytes])) > 0:
            self.append(bytes(buffer[:count]))
            if self.length_bytes >= stop:
                break

    def touch(self) -> None:
        self._file.signs += 1

    def begin_write_back(self, start: int, stop: int) -> None:
        """Do nothing: no disk has to take it."""

    def verify(self) -> None:
        self._verifier.finish()
        self._file.is_verified = True

    def commit(self) -> None:
        self._store.blobs[self._digest] = self._store.partials.pop(self._digest)

    def discard(self) -> None:
        if self.fd >= 0 and self._store.partials.get(self._digest) is self._file:
            del self._store.partials[self._digest]
            self._file.is_named = False

    def close(self) -> None:
        if self.fd >= 0:
            if not self.length_bytes:
                self.discard()
            os.close(self.fd)
            self.fd = -1
            self._store.writing.discard(self._digest)


class MemoryInspection:
    """A blob that is hashed again."""

    def __init__(self, store: "MemoryStore", digest: Digest) -> None:
        self._store, self._digest, self._file = store, digest, store.blobs[digest]
        self._hasher, self._at = hashlib.sha256(), 0

    def step(self) -> int:
        data = os.pread(self._file.fd, _READ_BYTES, self._at)
        self._hasher.update(data)
        self._at += len(data)
        return len(data)

    def is_damaged(self) -> bool:
        is_still = self._store.blobs.get(self._digest) is self._file
        return is_still and self._hasher.hexdigest() != self._digest

    def close(self) -> None:
        pass


class MemoryRemoval:
    """A removal that is done when it begins."""

    def finish(self) -> None:
        pass


class MemoryAdoption:
    """A file that is read into memory."""

    way = Way.COPIED

    def __init__(self, store: "MemoryStore", fd: int) -> None:
        self._store = store
        self._fd = fd
        self._data = b""

    def step(self) -> int:
        piece = os.pread(self._fd, _READ_BYTES, len(self._data))
        self._data += piece
        return len(piece)

    @property
    def digest(self) -> Digest:
        return digest_of(self._data)

    def commit(self) -> None:
        self._store.put(self._data)

    def close(self) -> None:
        self._data = b""


class MemoryStore:
    """Blobs in memory. A PruneStore."""

    def __init__(self) -> None:
        self.blobs: dict[Digest, _File] = {}
        self.partials: dict[Digest, _File] = {}
        self.writing: set[Digest] = set()
        self.aside: dict[Digest, _File] = {}

    def damage(self, digest: Digest) -> None:
        """Change a byte of a blob."""
        file = self.blobs[digest]
        os.pwrite(file.fd, bytes([file.data[0] ^ 1]), 0)
        file.changes += 1

    # Reading

    def open(self, digest: Digest, size_bytes: int | None = None) -> MemoryBlob | None:
        file = self.blobs.get(digest)
        if file is None or size_bytes not in {None, file.length_bytes}:
            return None
        return MemoryBlob(file, is_kept=True)

    def has(self, digest: Digest) -> bool:
        return digest in self.blobs

    def size_bytes(self, digest: Digest) -> int | None:
        return self.blobs[digest].length_bytes if digest in self.blobs else None

    def is_whole(self, digest: Digest, size_bytes: int) -> bool:
        return self.size_bytes(digest) == size_bytes

    def stored_bytes(self, digest: Digest, size_bytes: int) -> int:
        if self.is_whole(digest, size_bytes):
            return size_bytes
        return min(self.partials[digest].length_bytes, size_bytes) if digest in self.partials else 0

    def problem(self, digest: Digest, size_bytes: int, *, deep: bool) -> str | None:
        actual_bytes = self.size_bytes(digest)
        if actual_bytes is None:
            return "is missing"
        if actual_bytes != size_bytes:
            return f"has {actual_bytes} bytes instead of {size_bytes}"
        return DAMAGED if deep and digest_of(self.blobs[digest].data) != digest else None

    def read(self, digest: Digest) -> bytes | None:
        return self.blobs[digest].data if self.is_intact(digest) else None

    def is_intact(self, digest: Digest) -> bool:
        if self.has(digest) and digest_of(self.blobs[digest].data) != digest:
            self.set_aside(digest)
        return self.has(digest)

    def shard_sizes(self, beginning: str) -> dict[str, int]:
        return {one: file.length_bytes for one, file in self.blobs.items() if one.startswith(beginning)}

    def partial_digests(self) -> Iterator[Digest]:
        yield from list(self.partials)

    # Writing

    def put(self, data: bytes) -> Digest:
        digest = digest_of(data)
        if not self.is_intact(digest):
            self.blobs[digest] = _File()
            self.blobs[digest].write(data)
        return digest

    def acquire(self, digest: Digest, size_bytes: int) -> MemoryIncoming | None:
        if digest in self.writing:
            return None
        self.writing.add(digest)
        file = self.partials.get(digest)
        if file is None or file.length_bytes > size_bytes:
            if file is not None:
                file.is_named = False
            file = self.partials[digest] = _File()
        return MemoryIncoming(self, file, digest, size_bytes)

    def adopt(self, fd: int) -> "MemoryAdoption":
        return MemoryAdoption(self, fd)

    def follow(self, digest: Digest) -> MemoryPartial | None:
        return MemoryPartial(self.partials[digest], is_kept=False) if digest in self.partials else None

    def audit(self, digest: Digest, size_bytes: int) -> str | None:
        if not self.is_intact(digest) or self.is_whole(digest, size_bytes):
            return None
        return f"the list gives a wrong size: the file with this sha256 has {self.size_bytes(digest)} bytes"

    def try_out(self) -> None:
        pass

    def check_access(self) -> None:
        pass

    # Looking after

    def withdraw(self, digest: Digest) -> MemoryRemoval | None:
        file = self.blobs.get(digest)
        if file is not None and file.readers:
            return None
        if file is not None:
            file.is_named = False
            del self.blobs[digest]
        return MemoryRemoval()

    def set_aside(self, digest: Digest) -> None:
        if digest in self.blobs:
            self.aside[digest] = self.blobs.pop(digest)

    def set_aside_count(self) -> int:
        return len(self.aside)

    def changed_ns(self, digest: Digest) -> int | None:
        return self.blobs[digest].changes if digest in self.blobs else None

    def inspect(self, digest: Digest) -> MemoryInspection | None:
        return MemoryInspection(self, digest) if digest in self.blobs else None

    def scan(self) -> Iterator[FoundBlob]:
        for digest, file in list(self.blobs.items()):
            yield FoundBlob(digest, file.length_bytes, file.written_at)

    def partial_status(self, digest: Digest) -> PartialStatus | None:
        file = self.partials.get(digest)
        return None if file is None else PartialStatus(file.length_bytes, file.written_at)

    def drop_partial(self, digest: Digest) -> bool:
        if digest in self.writing:
            return False
        file = self.partials.pop(digest, None)
        if file is not None:
            file.is_named = False
        return True

    def remove_idle_partials(self, idle_s: float) -> None:
        before = time.time() - idle_s
        for digest in [one for one, file in self.partials.items() if file.written_at < before]:
            self.drop_partial(digest)

    def remove_dead_drafts(self) -> None:
        pass

    def free_bytes(self) -> int:
        return 2**40

    def restore(self) -> None:
        pass
