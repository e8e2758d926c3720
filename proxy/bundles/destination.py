"""Where a bundle is written: what every form of it does, and what goes wrong there, in words."""

import errno
from pathlib import Path
from typing import Protocol

from proxy.bundles.bundle import Blob
from proxy.errors import ProxyError
from proxy.readable import size
from proxy.store.owners import Owner
from proxy.system.file_copies import Moved
from proxy.system.same_bytes import Way

PART_SUFFIX = ".part"
"""Of what is not whole yet."""

_GONE = {errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.ENOTCONN, errno.EREMOTEIO}
_FULL = {errno.ENOSPC, errno.EDQUOT}
_BARRED = {errno.EACCES, errno.EPERM}


class DestinationFault(ProxyError):
    """A destination that cannot take a bundle, and what to do about it."""

    @classmethod
    def of(cls, path: Path | str, error: OSError, missing_bytes: int = 0) -> "DestinationFault":
        """Return an error of the destination in words; so many bytes were still to be written."""
        return cls(f"{path}: {error.strerror or error}{_advice(error, missing_bytes)}")


class DestinationTaken(DestinationFault):
    """A destination that holds something else, which is not touched."""


class Destination(Protocol):
    """One part as it is written. All methods block, and raise DestinationFault."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def path(self) -> Path | None:
        """Where it is; None if it is no place in a file system."""

    def check(self) -> int:
        """Return how many bytes are to be written. Raises DestinationTaken if others' files are there."""

    def begin(self) -> None:
        """Write all that is no blob; go on with what an earlier run left."""

    def put(self, blob: Blob, source: int, moved: Moved) -> Way | None:
        """Write the next blob from an open file, in the part's order; None if it was there already."""

    def finish(self) -> None:
        """Make it last, and say last of all that it is whole."""

    def stop(self) -> None:
        """Have what waits for a reader give up; the only method that another thread may call meanwhile."""

    def close(self) -> None:
        """Let go of it. What is not finished can be gone on with."""


def _advice(error: OSError, missing_bytes: int) -> str:
    number = error.errno or 0
    if number in _FULL:
        lacking = f"; {size(missing_bytes)} were still to be written" if missing_bytes else ""
        return f"{lacking}: free space there, or divide the bundle with --part-size; then run the same again"
    if number == errno.EFBIG:
        return ": FAT32 takes no file of 4 GiB or more: use --part-size fat32, or another file system (exFAT)"
    if number == errno.EROFS:
        return ": it is mounted read-only: mount it for writing, or name another place"
    if number in _GONE:
        return ": was it pulled out? See dmesg; plug it in, and run the same again: it goes on from there"
    if number in _BARRED:
        return f": {Owner.running()} may not write there: change its owner or mode, or name another place"
    return ""
