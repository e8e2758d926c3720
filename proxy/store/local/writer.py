"""Writing blobs that are files."""

import contextlib
import errno
import fcntl
import hashlib
import os
import tempfile
from pathlib import Path

from proxy.digest import Digest, digest_of
from proxy.store.files import StoreFault, publish, remove
from proxy.store.local.adoption import LocalAdoption
from proxy.store.local.folders import DRAFT_PREFIX, VERIFIED_MODE
from proxy.store.local.incoming import LocalIncoming
from proxy.store.local.partial import LocalPartial
from proxy.store.local.reader import LocalReader

_PUT_TRIES = 3
_PROBE_BYTES = 64 * 1024


class LocalWriter(LocalReader):
    """The blobs and partial files below one directory, for those who add to them. A WriteStore."""

    def __init__(self, root: Path) -> None:
        """Make the folders, if need be. Raises OSError."""
        super().__init__(root)
        self._folders.make()

    def put(self, data: bytes) -> Digest:
        """Store bytes that are here in full; durable on return. Raises StoreFault."""
        digest = digest_of(data)
        try:
            if self.is_intact(digest):
                return digest
            for _ in range(_PUT_TRIES):
                # Another process may take a draft for dead before it is locked.
                with contextlib.suppress(FileNotFoundError):
                    self._folders.make()
                    self._put(digest, data)
                    return digest
        except OSError as error:
            raise StoreFault.of("a document cannot be stored", error) from error
        raise StoreFault(f"{self._folders.incoming} loses files")

    def _put(self, digest: Digest, data: bytes) -> None:
        with tempfile.NamedTemporaryFile(
            dir=self._folders.incoming, prefix=DRAFT_PREFIX, delete=False
        ) as file:
            draft = Path(file.name)
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                os.fchmod(file.fileno(), VERIFIED_MODE)
                publish(draft, self._folders.blob(digest), file.fileno())
            except OSError:
                remove(draft)
                raise

    def acquire(self, digest: Digest, size_bytes: int) -> LocalIncoming | None:
        """Become the writer of a partial file; None when another process is. Raises OSError."""
        self._make_if_missing()
        return LocalIncoming.acquire(
            self._folders.partial(digest), self._folders.blob(digest), digest, size_bytes
        )

    def adopt(self, fd: int) -> LocalAdoption:
        """Begin to take over the bytes of a file that is open for reading. Raises OSError."""
        self._make_if_missing()
        return LocalAdoption(self._folders, fd)

    def follow(self, digest: Digest) -> LocalPartial | None:
        """Open the partial file of a digest for reading; None when there is none."""
        try:
            return LocalPartial(os.open(self._folders.partial(digest), os.O_RDONLY | os.O_CLOEXEC))
        except FileNotFoundError:
            return None

    def audit(self, digest: Digest, size_bytes: int) -> str | None:
        """Hash a blob again, and set it aside if it is damaged.

        Returns what is wrong with `size_bytes` when the blob is good and has another size.
        """
        with contextlib.suppress(FileNotFoundError), self._folders.blob(digest).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == digest:
                actual_bytes = os.fstat(file.fileno()).st_size
                if actual_bytes == size_bytes:
                    return None
                return f"the list gives a wrong size: the file with this sha256 has {actual_bytes} bytes"
            self._set_aside(digest)
        return None

    def check_access(self) -> None:
        """Raise OSError if modes, the mount or a full disk keep this process from writing."""
        for folder in (self._folders.incoming, self._folders.blobs):
            if not folder.exists():
                continue  # Whoever writes makes it.
            if not folder.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
            if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
                status = os.statvfs(folder)
                number = errno.EROFS if status.f_flag & os.ST_RDONLY else errno.EACCES
                raise OSError(number, os.strerror(number), str(folder))
        if not os.statvfs(self._folders.root).f_bavail:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._folders.root))

    def try_out(self) -> None:
        """Write a file as a blob arrives: its bytes, to the disk, and then under another name."""
        for _ in range(_PUT_TRIES - 1):
            # As in `put`.
            with contextlib.suppress(FileNotFoundError):
                self._try_out()
                return
        self._try_out()

    def _try_out(self) -> None:
        self._make_if_missing()
        draft = self._folders.draft("probe")
        final = self._folders.blobs / draft.name
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)  # Or it would be taken for what a dead process left.
            data = memoryview(bytes(_PROBE_BYTES))
            while data:
                data = data[os.write(fd, data) :]
            os.fsync(fd)
            publish(draft, final, fd)
        finally:
            os.close(fd)
            for path in (draft, final):
                with contextlib.suppress(OSError):
                    remove(path)

    def _make_if_missing(self) -> None:
        if not self._folders.incoming.exists():
            self._folders.make()
