"""The file system on which a path lies, or will lie once it is made. Blocks, and raises OSError."""

import os
import shutil
from pathlib import Path


def device(path: Path) -> int:
    """Return the device of the file system."""
    return _nearest(path).stat().st_dev


def free_bytes(path: Path) -> int:
    """Return how many bytes the file system still offers to this user."""
    status = os.statvfs(_nearest(path))
    return status.f_bavail * status.f_frsize


def total_bytes(path: Path) -> int:
    """Return how many bytes the file system has, free or not."""
    return shutil.disk_usage(_nearest(path)).total


def _nearest(path: Path) -> Path:
    """Return a path, or else the nearest folder above it that is there."""
    return next(one for one in (path, *path.absolute().parents) if _is_there(one))


def _is_there(path: Path) -> bool:
    """Say whether a path leads somewhere. Raises OSError where that cannot be known, unlike Path.exists."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
