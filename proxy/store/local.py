"""Blobs on the local disk: files named by the SHA-256 of their bytes.

    blobs/sha256/ab/<64 hex>   verified bytes; written once, never changed
    incoming/<64 hex>          the beginning of a blob, as far as it has arrived
    quarantine/<64 hex>        a blob that was found damaged

Knows digests, never paths of mirrors. All methods block for as long as the disk
does. A reader holds a shared lock on its blob; what is locked is not removed.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from proxy.digest import Digest, InvalidDigest, digest_of, parse_digest
from proxy.moments import lies_ahead
from proxy.store.files import StoreFault, publish, remove
from proxy.system.durable import sync_directory

log = logging.getLogger(__name__)

_PUT_TRIES = 3
DRAFT_PREFIX = "put-"

DAMAGED = "is damaged: its bytes do not match its sha256"

VERIFIED_MODE = 0o444
"""Blobs are read-only, so that nobody writes into one by mistake. It proves nothing."""


class Blob:
    """An open blob. `fd` is valid until `close`."""

    __slots__ = ("fd", "size_bytes")

    def __init__(self, fd: int, size_bytes: int) -> None:
        self.fd = fd
        self.size_bytes = size_bytes

    def close(self) -> None:
        """Let go of the file and its lock."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class LocalStore:
    """All blobs and partial downloads below one directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = root / "blobs" / "sha256"
        self.incoming = root / "incoming"
        self.quarantine = root / "quarantine"
        self.make_folders()

    def make_folders(self) -> None:
        """Make the folders that are not there: at first, or again when somebody has removed them."""
        for folder in (self.blobs, self.incoming, self.quarantine):
            folder.mkdir(parents=True, exist_ok=True)

    def path(self, digest: Digest) -> Path:
        """Return where the blob is, or would be."""
        return self.blobs / digest[:2] / digest

    def open(self, digest: Digest, size_bytes: int) -> Blob | None:
        """Open a blob for reading; None when it is not here, or the disk does not give it.

        None too for a file of another size; `audit` says whose fault that is.
        """
        try:
            fd = os.open(self.path(digest), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("blob.not_opened digest=%s problem=%s", digest, error)
            return None
        actual_bytes = os.fstat(fd).st_size
        if actual_bytes != size_bytes:
            os.close(fd)
            return None
        # Its writer may hold the lock for a moment longer; then nobody can remove it either.
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return Blob(fd, actual_bytes)

    def has(self, digest: Digest) -> bool:
        """Say whether a blob is here, without opening it."""
        return self.size_bytes(digest) is not None

    def size_bytes(self, digest: Digest) -> int | None:
        """Return how large a blob is, None when it is not here, or the disk does not say."""
        try:
            return self.path(digest).stat().st_size
        except OSError:
            return None

    def changed_ns(self, digest: Digest) -> int | None:
        """Return when a blob's file was last touched in any way, None when it is not here."""
        try:
            return self.path(digest).stat().st_ctime_ns
        except OSError:
            return None

    def is_whole(self, digest: Digest, size_bytes: int) -> bool:
        """Say whether a blob of that size is here: no beginning, however long, has been proved."""
        return self.size_bytes(digest) == size_bytes

    def held_bytes(self, digest: Digest, size_bytes: int) -> int:
        """Return how much of a blob is here: all, the beginning of an interrupted fill, or nothing."""
        if self.is_whole(digest, size_bytes):
            return size_bytes
        with contextlib.suppress(OSError):
            return min((self.incoming / digest).stat().st_size, size_bytes)
        return 0

    def problem(self, digest: Digest, size_bytes: int, *, deep: bool) -> str | None:
        """Return what is wrong with a blob, None when nothing is; `deep` hashes it again."""
        try:
            with self.path(digest).open("rb") as file:
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

    def audit(self, digest: Digest, size_bytes: int) -> str | None:
        """Hash a blob again, and set it aside if it is damaged.

        Returns what is wrong with `size_bytes` when the blob is good and has another size.
        """
        with contextlib.suppress(FileNotFoundError), self.path(digest).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == digest:
                actual_bytes = os.fstat(file.fileno()).st_size
                if actual_bytes == size_bytes:
                    return None
                return f"the list gives a wrong size: the file with this sha256 has {actual_bytes} bytes"
            self.set_aside(digest)
        return None

    def read(self, digest: Digest) -> bytes | None:
        """Return a small blob whole after hashing it again; None when absent or damaged."""
        try:
            data = self.path(digest).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("blob.not_read digest=%s problem=%s", digest, error)
            return None
        if digest_of(data) != digest:
            self.set_aside(digest)
            return None
        return data

    def is_intact(self, digest: Digest) -> bool:
        """Whether a blob is here and good; hashes it again, and sets it aside when it is damaged."""
        try:
            with self.path(digest).open("rb") as file:
                is_good = hashlib.file_digest(file, "sha256").hexdigest() == digest
        except FileNotFoundError:
            return False
        except OSError as error:
            log.warning("blob.not_read digest=%s problem=%s", digest, error)
            return False
        if not is_good:
            self.set_aside(digest)
        return is_good

    def put(self, data: bytes) -> Digest:
        """Store bytes that are here in full; durable on return. Raises StoreFault."""
        digest = digest_of(data)
        try:
            if self.is_intact(digest):
                return digest
            for _ in range(_PUT_TRIES):
                # Another process may take a draft for dead before it is locked.
                with contextlib.suppress(FileNotFoundError):
                    self.make_folders()
                    self._put(digest, data)
                    return digest
        except OSError as error:
            raise StoreFault.of("a document cannot be stored", error) from error
        raise StoreFault(f"{self.incoming} loses files")

    def _put(self, digest: Digest, data: bytes) -> None:
        with tempfile.NamedTemporaryFile(dir=self.incoming, prefix=DRAFT_PREFIX, delete=False) as file:
            draft = Path(file.name)
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                os.fchmod(file.fileno(), VERIFIED_MODE)
                publish(draft, self.path(digest))
            except OSError:
                remove(draft)
                raise

    def set_aside(self, digest: Digest) -> None:
        """Move a damaged blob out of the way, for somebody to look at."""
        with contextlib.suppress(FileNotFoundError):
            self.path(digest).replace(self.quarantine / digest)

    def remove(self, digest: Digest) -> bool:
        """Remove a blob that nobody reads, for good even if power fails; say whether it is gone."""
        is_gone = self.unlink(digest)
        if is_gone:
            self.sync_removal(digest)
        return is_gone

    def unlink(self, digest: Digest) -> bool:
        """Remove a blob that nobody reads, at once; say whether it is gone."""
        path = self.path(digest)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(path)
        except BlockingIOError:
            return False
        finally:
            os.close(fd)
        return True

    def sync_removal(self, digest: Digest) -> None:
        """Make sure that a blob that was unlinked stays away after a power cut."""
        with contextlib.suppress(FileNotFoundError):
            sync_directory(self.path(digest).parent)

    def begun_with(self, beginning: str) -> dict[str, int]:
        """Return how many bytes are here of each blob whose digest begins with these two letters.

        Partial downloads are not among them.
        """
        with contextlib.suppress(FileNotFoundError), os.scandir(self.blobs / beginning) as entries:
            return {entry.name: size for entry in entries if (size := _size(entry)) is not None}
        return {}

    def scan(self) -> Iterator[tuple[Digest, os.stat_result]]:
        """Yield every blob with its file status; files with other names are passed over."""
        for shard in os.scandir(self.blobs):
            if not shard.is_dir():
                continue
            for entry in os.scandir(shard.path):
                with contextlib.suppress(InvalidDigest, FileNotFoundError):
                    yield parse_digest(entry.name), entry.stat()

    def remove_dead_drafts(self) -> None:
        """Remove what `put` was writing when its process died; a living process holds a lock on its draft."""
        for draft in self.incoming.glob(f"{DRAFT_PREFIX}*"):
            with contextlib.suppress(FileNotFoundError, BlockingIOError), draft.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove(draft)

    def remove_idle_partials(self, idle_s: float) -> None:
        """Remove partial files that nobody writes, and that were last written `idle_s` ago or longer."""
        for digest in list(self.partial_digests()):
            path = self.incoming / digest
            with contextlib.suppress(OSError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                now, written_at = time.time(), os.fstat(file.fileno()).st_mtime
                if lies_ahead(written_at, now):
                    os.utime(path)  # Its time begins now.
                elif now - written_at > idle_s:
                    remove(path)

    def drop_partial(self, digest: Digest) -> bool:
        """Remove a partial file unless somebody writes it; say whether there is none any more."""
        path = self.incoming / digest
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove(path)
        except FileNotFoundError:
            return True
        except BlockingIOError:
            return False
        return True

    def partial_digests(self) -> Iterator[Digest]:
        """Yield the digests of all partial downloads."""
        for entry in os.scandir(self.incoming):
            with contextlib.suppress(InvalidDigest):
                yield parse_digest(entry.name)

    def free_bytes(self) -> int:
        """Return what the file system still offers to this user."""
        status = os.statvfs(self.root)
        return status.f_bavail * status.f_frsize


def _size(entry: os.DirEntry[str]) -> int | None:
    """Return a file's size, None when it is gone."""
    try:
        return entry.stat().st_size
    except FileNotFoundError:
        return None
