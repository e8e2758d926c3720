"""Which part of a bundle carries which file. Pure: the same files make the same parts.

A part has to fit on what it is carried on as a tar file, and as files on a disc: each file
counts with its tar header, its line in SHA256SUMS, and what a disc rounds it up to.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable

from proxy.digest import Digest
from proxy.errors import ProxyError
from proxy.readable import size

_MIB = 1024**2
_FOR_FILE_SYSTEM = 64 * _MIB
PRESETS = {
    "fat32": 4 * 1024**3 - 1,
    "dvd": 4_700_372_992 - _FOR_FILE_SYSTEM,
    "bd": 25_025_314_816 - _FOR_FILE_SYSTEM,
}
"""The largest file of FAT32; a DVD and a Blu-ray disc of one layer, less what a file system takes."""
LEAST_PART_BYTES = _MIB

_SECTOR_BYTES = 2048
_ENTRY_BYTES = 1024


class DoesNotFit(ProxyError):
    """A file that is larger than a part, or parts too small for what each of them has."""

    def __init__(self, what: str, least_bytes: int, part_bytes: int) -> None:
        super().__init__(
            f"{what} does not fit into a part of {part_bytes} bytes ({size(part_bytes)}): "
            f"--part-size has to be {least_bytes} ({size(least_bytes)}) or more"
        )
        self.least_bytes = least_bytes


def room_for(file_bytes: int) -> int:
    """Return how much of a part a file takes."""
    return -(-file_bytes // _SECTOR_BYTES) * _SECTOR_BYTES + _ENTRY_BYTES


def pack(files: Iterable[tuple[str, Digest, int]], part_bytes: int, in_each_bytes: int) -> dict[Digest, int]:
    """Return the part of each digest, from 1, given paths, digests, sizes, and what every part has besides.

    Raises DoesNotFit.
    """
    found: dict[Digest, tuple[int, str]] = {}
    for path, digest, file_bytes in files:
        found.setdefault(digest, (file_bytes, path))
    room = part_bytes - in_each_bytes
    if room < 0:
        raise DoesNotFit("what every part has, its documents above all,", in_each_bytes, part_bytes)
    parts: dict[Digest, int] = {}
    left: list[tuple[int, int]] = []
    count = 0
    for digest, (file_bytes, path) in sorted(found.items(), key=lambda one: (-one[1][0], one[0])):
        needed = room_for(file_bytes)
        if needed > room:
            raise DoesNotFit(f"{path} ({size(file_bytes)})", in_each_bytes + needed, part_bytes)
        # The fullest part that still has the room.
        index = bisect_left(left, (needed, 0))
        if index == len(left):
            count += 1
            free, part = room, count
        else:
            free, part = left.pop(index)
        insort(left, (free - needed, part))
        parts[digest] = part
    return parts
