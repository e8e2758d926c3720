"""Looking after blobs that are files."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from proxy.digest import Digest, InvalidDigest, parse_digest
from proxy.moments import lies_ahead
from proxy.store.files import remove
from proxy.store.local.folders import DRAFT_PREFIX
from proxy.store.local.inspection import LocalInspection
from proxy.store.local.reader import LocalReader
from proxy.store.local.removal import LocalRemoval
from proxy.store.local.writer import LocalWriter
from proxy.store.protocols import FoundBlob, PartialStatus
from proxy.system.file_systems import free_bytes


class LocalStore(LocalWriter):
    """All blobs and partial files below one directory. A PruneStore."""

    def withdraw(self, digest: Digest) -> LocalRemoval | None:
        """Take away the name of a blob that nobody reads, at once; None while somebody reads it."""
        return LocalRemoval.begin(self._folders.blob(digest), self._folders.draft(f"removed-{digest:.16}"))

    def set_aside(self, digest: Digest) -> None:
        """Move a damaged blob out of the way, for somebody to examine."""
        self._set_aside(digest)

    def set_aside_count(self) -> int:
        """Return how many damaged blobs were set aside."""
        return sum(1 for _ in self._folders.quarantine.glob("*"))

    def changed_ns(self, digest: Digest) -> int | None:
        """Return when a blob's file was last touched in any way, None when it is not there."""
        try:
            return self._folders.blob(digest).stat().st_ctime_ns
        except OSError:
            return None

    def inspect(self, digest: Digest) -> LocalInspection | None:
        """Begin to hash a blob again; None when it is not there. Raises OSError."""
        try:
            return LocalInspection(self._folders.blob(digest), digest)
        except FileNotFoundError:
            return None

    def scan(self) -> Iterator[FoundBlob]:
        """Yield every blob; files with other names are passed over."""
        for shard in os.scandir(self._folders.blobs):
            if not shard.is_dir():
                continue
            for entry in os.scandir(shard.path):
                with contextlib.suppress(InvalidDigest, FileNotFoundError):
                    digest, status = parse_digest(entry.name), entry.stat()
                    yield FoundBlob(digest, status.st_size, max(status.st_atime, status.st_mtime))

    def partial_status(self, digest: Digest) -> PartialStatus | None:
        """Return what is known of a partial file; None when there is none."""
        with contextlib.suppress(FileNotFoundError):
            status = self._folders.partial(digest).stat()
            return PartialStatus(status.st_size, status.st_mtime)
        return None

    def drop_partial(self, digest: Digest) -> bool:
        """Remove a partial file unless somebody writes it; say whether there is none any more."""
        path = self._folders.partial(digest)
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove(path)
        except FileNotFoundError:
            return True
        except BlockingIOError:
            return False
        return True

    def remove_idle_partials(self, idle_s: float) -> None:
        """Remove partial files that nobody writes, and that were last written `idle_s` ago or longer."""
        for digest in list(self.partial_digests()):
            path = self._folders.partial(digest)
            with contextlib.suppress(OSError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                now, written_at = time.time(), os.fstat(file.fileno()).st_mtime
                if lies_ahead(written_at, now):
                    os.utime(path)  # Its time begins now.
                elif now - written_at > idle_s:
                    remove(path)

    def remove_dead_drafts(self) -> None:
        """Remove the drafts of processes that died; a living process holds a lock on its draft."""
        for draft in self._folders.incoming.glob(f"{DRAFT_PREFIX}*"):
            with contextlib.suppress(FileNotFoundError, BlockingIOError), draft.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove(draft)

    def free_bytes(self) -> int:
        """Return what the file system still offers to this user."""
        status = os.statvfs(self._folders.root)
        return status.f_bavail * status.f_frsize

    def restore(self) -> None:
        """Make the folders again that somebody has removed."""
        self._folders.make()


class UntouchedStore(LocalStore):
    """A store that somebody only looks at, and that need not be there yet: it makes no folders."""

    def __init__(self, root: Path) -> None:
        LocalReader.__init__(self, root)

    def free_bytes(self) -> int:
        """Return what the file system offers on which the store is, or will be."""
        return free_bytes(self._folders.root)
