"""Reading what the kernel has in memory, and nothing else: an event loop must not wait for a disk.

A file of a filesystem that lives in memory is always there. Such filesystems do not know
RWF_NOWAIT, as others that lie behind a network do not; so they are looked up by name.
"""

import errno
import os
from pathlib import Path

_IN_MEMORY = {"tmpfs", "ramfs"}
_MOUNTS = Path("/proc/self/mountinfo")
_DEVICE_FIELD = 2
_probe = [bytearray(1)]
_devices: set[int] = set()
"""Device numbers of filesystems that are known to live in memory."""


def recognise_filesystem(path: Path) -> None:
    """Find out whether the filesystem that holds a file lives in memory, for `read_cached`. Blocks."""
    try:
        device = path.stat().st_dev
        mounts = _MOUNTS.read_text(errors="replace").splitlines()
    except OSError:
        return
    if _kind_of(device, mounts) in _IN_MEMORY:
        _devices.add(device)


def read_cached(fd: int, buffer: bytearray | memoryview, offset: int) -> int:
    """Fill a buffer from a file, as far as the page cache goes; return how many bytes that was.

    Raises OSError when nothing of it is in memory, or the filesystem cannot tell.
    """
    try:
        return os.preadv(fd, [buffer], offset, os.RWF_NOWAIT)
    except OSError as error:
        if not _is_always_there(fd, error):
            raise
    return os.preadv(fd, [buffer], offset)


def is_cached(fd: int, start: int, stop: int, every_bytes: int) -> bool:
    """Whether the bytes [start, stop) of a file are in the page cache, going by samples of them."""
    try:
        for position in range(start, stop - 1, every_bytes):
            os.preadv(fd, _probe, position, os.RWF_NOWAIT)
        os.preadv(fd, _probe, stop - 1, os.RWF_NOWAIT)
    except OSError as error:
        return _is_always_there(fd, error)
    return True


def _is_always_there(fd: int, error: OSError) -> bool:
    """Whether a filesystem has refused RWF_NOWAIT because it lives in memory."""
    return error.errno == errno.EOPNOTSUPP and os.fstat(fd).st_dev in _devices


def _kind_of(device: int, mounts: list[str]) -> str | None:
    """Return the name of a device's filesystem, by lines of proc_pid_mountinfo(5)."""
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in mounts:
        mount, _, filesystem = line.partition(" - ")
        fields = mount.split()
        if len(fields) > _DEVICE_FIELD and fields[_DEVICE_FIELD] == number:
            return filesystem.split(" ", 1)[0]
    return None
