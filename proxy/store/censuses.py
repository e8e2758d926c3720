"""What lists name by kind, as files: `listings/<64 hex>.census`, beside the packed list of the same text.

They follow from the texts, so they may be lost or removed at any time. All methods block.
"""

import contextlib
import fcntl
import io
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from proxy.digest import Digest
from proxy.simplestreams.census import (
    HEAD,
    ROW,
    CensusDamaged,
    CensusRow,
    Kind,
    kinds_bytes,
    read_kinds,
    read_rows,
)
from proxy.simplestreams.listing import ListingDamaged
from proxy.store.files import remove
from proxy.store.listings import SEAL_BYTES, check_seal

log = logging.getLogger(__name__)

_SUFFIX = ".census"
_ROWS_AT_ONCE = 4096


class Census:
    """What was counted of one list. A large one's rows stay on the disk."""

    def __init__(self, packed: bytes | Path) -> None:
        """Read the kinds of what was packed, or of a file of that. Raises OSError or CensusDamaged."""
        self._packed = packed
        with self._open() as file:
            self.kinds: list[Kind] = read_kinds(file.read(kinds_bytes(file.read(HEAD.size))))

    def rows(self) -> Iterator[CensusRow]:
        """Yield the rows, by digest. Raises OSError."""
        with self._open() as file:
            left_bytes = file.seek(0, os.SEEK_END) - (SEAL_BYTES if isinstance(self._packed, Path) else 0)
            file.seek(0)
            left_bytes -= file.seek(HEAD.size + kinds_bytes(file.read(HEAD.size)))
            while left_bytes > 0 and (data := file.read(min(left_bytes, _ROWS_AT_ONCE * ROW.size))):
                left_bytes -= len(data)
                yield from read_rows(data)

    def _open(self) -> BinaryIO:
        return io.BytesIO(self._packed) if isinstance(self._packed, bytes) else self._packed.open("rb")


class Censuses:
    """The censuses in one directory, which is made when it is needed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def open(self, text: Digest) -> Census | None:
        """Return the census of a text's list; None when there is none that can be used."""
        path = self._path(text)
        try:
            with path.open("rb", buffering=0) as file:
                check_seal(file)
            return Census(path)
        except FileNotFoundError:
            return None
        except (OSError, ListingDamaged, CensusDamaged) as error:
            log.warning("census.unusable path=%s problem=%s", path, error)
            with contextlib.suppress(OSError):
                remove(path)
            return None

    def keep(self, draft: Path, text: Digest) -> None:
        """Make a draft the census of a text."""
        draft.rename(self._path(text))

    @contextmanager
    def turn(self) -> Iterator[bool]:
        """Say whether this process may take a census: one at a time, for they need much memory."""
        self._directory.mkdir(exist_ok=True)
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(descriptor)

    def _path(self, text: Digest) -> Path:
        return self._directory / f"{text}{_SUFFIX}"
