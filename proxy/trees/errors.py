"""Why a tree cannot be written or read, in words for whoever named it."""

import errno
import os
import re
import shlex
from pathlib import Path

from proxy.errors import ProxyError
from proxy.readable import printable
from proxy.store.owners import Owner

_ADVICE = {
    errno.ENOSPC: "; free disk space, and run it again: it goes on where it stopped",
    errno.EDQUOT: "; free disk space or raise the quota, and run it again: it goes on where it stopped",
    errno.EROFS: "; name a folder elsewhere, or have it mounted to be written",
    errno.EIO: "; the disk fails: see dmesg",
    errno.ENOTDIR: "; a link or a file was put in the place of a folder: no link is followed there",
}
_OPENED = re.compile(r"/proc/self/fd/\d+")
_BARRED = {errno.EACCES, errno.EPERM}


class TreeRefused(ProxyError):
    """A folder into which no tree is written, or from which none is read, and what to do about it."""


class TreeFault(ProxyError):
    """A disk, or the folder's modes, keep a tree from being written or read."""

    @classmethod
    def of(cls, folder: Path, error: OSError) -> "TreeFault":
        """Return an error of this machine in words."""
        name = _name(folder, error)
        advice = _ADVICE.get(error.errno or 0, "")
        if error.errno in _BARRED:
            running = Owner.running()
            user = running.for_chown.partition(":")[0]
            advice = (
                f"; {running}, as whom this runs, may not write there: "
                f"sudo install -d -o {user} {shlex.quote(str(folder))}"
            )
        elif error.errno in {errno.EINVAL, errno.EILSEQ} and ":" in name:
            advice = (
                "; its file system (FAT, exFAT or NTFS?) holds no names with a colon, and lists have such: "
                "export to another file system, or a bundle, whose files have no such names"
            )
        return cls(f"{name}: {error.strerror or error}{advice}")

    @classmethod
    def reading(cls, folder: Path, error: OSError) -> "TreeFault":
        """Return in words why a folder cannot be read."""
        name = _name(folder, error)
        advice = f"; {Owner.running()}, as whom this runs, may not read it" if error.errno in _BARRED else ""
        return cls(f"{name}: {error.strerror or error}{advice}")


def _name(folder: Path, error: OSError) -> str:
    """Return what the error is about, as people know it."""
    name = os.fsdecode(error.filename) if error.filename else str(folder)
    opened = _OPENED.match(name)
    if opened is None:
        return printable(name if "/" in name or name == str(folder) else f"{name} in {folder}")
    try:
        return printable(f"{Path(opened[0]).readlink()}{name[opened.end() :]}")
    except OSError:
        return printable(f"{folder}{name[opened.end() :]}")
