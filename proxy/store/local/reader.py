"""Reading blobs that are files."""

import contextlib
import hashlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from proxy.digest import Digest, InvalidDigest, digest_of, parse_digest
from proxy.store.local.blob import LocalBlob
from proxy.store.local.folders import Folders
from proxy.store.protocols import DAMAGED

log = logging.getLogger(__name__)


class LocalReader:
    """The blobs and partial files below one directory, for those who only read. A ReadStore."""

    def __init__(self, root: Path) -> None:
        self._folders = Folders(root)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} in {self._folders.root}>"

    def open(self, digest: Digest, size_bytes: int | None = None) -> LocalBlob | None:
        """Open a blob for reading; None when it is not there, or the disk does not give it.

        None too for a file of another size; `audit` says whose fault that is.
        """
        try:
            fd = os.open(self._folders.blob(digest), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("blob.not_opened digest=%s problem=%s", digest, error)
            return None
        actual_bytes = os.fstat(fd).st_size
        if size_bytes is not None and actual_bytes != size_bytes:
            os.close(fd)
            return None
        return LocalBlob(fd, actual_bytes)

    def has(self, digest: Digest) -> bool:
        """Say whether a blob is there, without opening it."""
        return self.size_bytes(digest) is not None

    def size_bytes(self, digest: Digest) -> int | None:
        """Return how large a blob is, None when it is not there, or the disk does not say."""
        try:
            return self._folders.blob(digest).stat().st_size
        except OSError:
            return None

    def is_whole(self, digest: Digest, size_bytes: int) -> bool:
        """Say whether a blob of that size is there: no beginning, however long, has been proved."""
        return self.size_bytes(digest) == size_bytes

    def stored_bytes(self, digest: Digest, size_bytes: int) -> int:
        """Return how much of a blob is there: all, the beginning of an interrupted fill, or nothing."""
        if self.is_whole(digest, size_bytes):
            return size_bytes
        with contextlib.suppress(OSError):
            return min(self._folders.partial(digest).stat().st_size, size_bytes)
        return 0

    def problem(self, digest: Digest, size_bytes: int, *, deep: bool) -> str | None:
        """Return what is wrong with a blob, None when nothing is; `deep` hashes it again."""
        try:
            with self._folders.blob(digest).open("rb") as file:
                actual_bytes = os.fstat(file.fileno()).st_size
                if actual_bytes != size_bytes:
                    return f"has {actual_bytes} bytes instead of {size_bytes}"
                if deep and hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    return DAMAGED
        except FileNotFoundError:
            return "is missing"
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        return None

    def read(self, digest: Digest) -> bytes | None:
        """Return a small blob whole after hashing it again; None when absent or damaged."""
        try:
            data = self._folders.blob(digest).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("blob.not_read digest=%s problem=%s", digest, error)
            return None
        if digest_of(data) != digest:
            self._try_to_set_aside(digest)
            return None
        return data

    def is_intact(self, digest: Digest) -> bool:
        """Whether a blob is there and good; hashes it again, and sets it aside when it is damaged."""
        try:
            with self._folders.blob(digest).open("rb") as file:
                is_good = hashlib.file_digest(file, "sha256").hexdigest() == digest
        except FileNotFoundError:
            return False
        except OSError as error:
            log.warning("blob.not_read digest=%s problem=%s", digest, error)
            return False
        if not is_good:
            self._try_to_set_aside(digest)
        return is_good

    def shard_sizes(self, beginning: str) -> dict[str, int]:
        """Return the size of each blob whose digest begins with these two letters, by digest."""
        with (
            contextlib.suppress(FileNotFoundError),
            os.scandir(self._folders.blobs / beginning) as entries,
        ):
            return {entry.name: size for entry in entries if (size := _size(entry)) is not None}
        return {}

    def partial_digests(self) -> Iterator[Digest]:
        """Yield the digests of all partial files."""
        with os.scandir(self._folders.incoming) as entries:
            for entry in entries:
                with contextlib.suppress(InvalidDigest):
                    yield parse_digest(entry.name)

    def _try_to_set_aside(self, digest: Digest) -> None:
        """Set a damaged blob aside; on a disk that can only be read it stays, and is found each time."""
        try:
            self._set_aside(digest)
        except OSError as error:
            log.warning("blob.not_set_aside digest=%s problem=%s", digest, error)

    def _set_aside(self, digest: Digest) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._folders.blob(digest).replace(self._folders.quarantine / digest)


def _size(entry: os.DirEntry[str]) -> int | None:
    """Return a file's size, None when it is gone."""
    try:
        return entry.stat().st_size
    except FileNotFoundError:
        return None
