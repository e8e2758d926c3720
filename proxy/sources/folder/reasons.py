"""Why a file or a folder cannot be read, and what to do: words for errors of the operating system."""

import errno
import os

from proxy.sources.errors import Cause

NO_RIGHTS = frozenset({errno.EACCES, errno.EPERM})
ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
"""The tree has nothing there, whatever else may be wrong with the path."""

_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Faults that the folder cannot help."""

_PROBLEMS = {
    errno.EIO: "its disk fails (input/output error): look at the kernel's log, dmesg",
    errno.ENODEV: "its disk is gone: connect and mount it again",
    errno.ENXIO: "its disk is gone: connect and mount it again",
    errno.ENOMEDIUM: "there is no medium in the drive",
    errno.ESTALE: "its file server has replaced it (stale file handle): mount it again",
    errno.ENOTCONN: "the program that provides its file system has ended: mount it again",
    errno.ETIMEDOUT: "its file server does not answer",
    errno.EHOSTDOWN: "its file server does not answer",
    errno.EHOSTUNREACH: "its file server cannot be reached",
    errno.EMFILE: "this process has too many files open: raise LimitNOFILE, or lower [clients] connections",
    errno.ENFILE: "this machine has too many files open: raise fs.file-max",
    errno.ENOMEM: "this machine has no memory left",
}


def explain(error: OSError) -> str:
    """Say what an error of the operating system means."""
    number = error.errno or 0
    if number in NO_RIGHTS:
        return f"permission denied: let the proxy's user, number {os.geteuid()}, read it"
    return _PROBLEMS.get(number) or os.strerror(number)


def cause_of(error: OSError) -> Cause:
    """Return what is at fault."""
    if error.errno in NO_RIGHTS:
        return "rights"
    return "machine" if error.errno in _OURS else "folder"


def explain_folder(error: OSError) -> str:
    """Say why a folder itself cannot be opened."""
    if error.errno == errno.ENOENT:
        return "there is no such folder: is its disk mounted?"
    if error.errno == errno.ENOTDIR:
        return "it is a file, no folder: if it is the image of a disk, mount that"
    return explain(error)
