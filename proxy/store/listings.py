"""Packed products lists as files: `listings/<64 hex>`, named by the digest of the text that was packed.

They follow from the texts, so they may be lost or removed at any time. Each ends
with the SHA-256 of what is before; a damaged one counts as lost. All methods block.
"""

import contextlib
import hashlib
import io
import logging
import os
import tempfile
import time
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path

from proxy.digest import Digest
from proxy.moments import lies_ahead
from proxy.simplestreams.listing import Listing, ListingDamaged
from proxy.store.files import remove
from proxy.store.on_disk import OnDisk

log = logging.getLogger(__name__)

_DRAFT_SUFFIX = ".draft"
_YOUNG_S = 3600.0
SEAL_BYTES = 32
"""The digest at the end of each file."""
_MODE = 0o444
_STEP_BYTES = 1024 * 1024
_READ_AT_ONCE_BYTES = 4 * 1024 * 1024
"""Smaller ones are read at once; of larger ones, only what is asked for."""


class Listings:
    """The packed lists in one directory, which is made when it is needed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def open(self, text: Digest) -> Listing | None:
        """Open the packed list of a text; None when there is none that can be used."""
        path = self._directory / text
        try:
            with path.open("rb", buffering=0) as file:
                check_seal(file)
                if os.fstat(file.fileno()).st_size < _READ_AT_ONCE_BYTES:
                    file.seek(0)
                    return Listing(file.readall())
                return Listing(OnDisk(file.fileno()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, ListingDamaged) as error:
            log.warning("listing.unusable path=%s problem=%s", path, error)
            with contextlib.suppress(OSError):
                remove(path)
            return None

    @contextmanager
    def draft(self) -> Iterator[Path]:
        """Yield a new file to write a packed list into. It goes in the end unless it was kept."""
        self._directory.mkdir(exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=self._directory, suffix=_DRAFT_SUFFIX)
        os.close(descriptor)
        try:
            yield Path(name)
        finally:
            remove(Path(name))

    def keep(self, draft: Path, text: Digest) -> None:
        """Make a draft the packed list of a text."""
        draft.rename(self._directory / text)

    def tidy(self, used: Container[str]) -> None:
        """Remove the packed lists of texts that are not in use, and old drafts."""
        now = time.time()
        with contextlib.suppress(OSError):
            for entry in os.scandir(self._directory):
                with contextlib.suppress(OSError):
                    made_at = entry.stat().st_mtime
                    if lies_ahead(made_at, now):
                        os.utime(entry.path)  # Its time begins now.
                    elif Path(entry.name).stem not in used and now - made_at > _YOUNG_S:
                        remove(Path(entry.path))


def write_sealed(file: Path, packed: bytes) -> None:
    """Write what was packed, with the digest that `check_seal` will look for."""
    with file.open("wb") as opened:
        opened.write(packed)
        opened.write(hashlib.sha256(packed).digest())
        os.fchmod(opened.fileno(), _MODE)


def check_seal(file: io.FileIO) -> None:
    """Raise ListingDamaged unless a file is as it was written.

    It is read, not mapped, for this: mapped pages would count as this process's memory.
    """
    left_bytes = os.fstat(file.fileno()).st_size - SEAL_BYTES
    hashed = hashlib.sha256()
    while left_bytes > 0 and (data := file.read(min(left_bytes, _STEP_BYTES))):
        hashed.update(data)
        left_bytes -= len(data)
    if left_bytes or file.read(SEAL_BYTES) != hashed.digest():
        raise ListingDamaged("it is damaged")
