"""Writing files so that a crash leaves the old or the new, never half of one."""

import contextlib
import errno
import fcntl
import os
import shlex
from pathlib import Path

from proxy.errors import ProxyError
from proxy.store.owners import Owner
from proxy.system.durable import sync_directory

_ADVICE = {
    errno.ENOSPC: "; free disk space, or set [cache] limit",
    errno.EDQUOT: "; free disk space, or raise the quota",
    errno.EROFS: "; the file system is read-only: mount it for writing; its disk may fail, see dmesg",
    errno.EIO: "; the disk fails: see dmesg",
    errno.EMFILE: "; raise the limit of open files (LimitNOFILE, ulimit -n)",
}
_BARRED = {errno.EACCES, errno.EPERM}
_ASTRAY = {errno.EEXIST, errno.ELOOP, errno.ENOENT}
"""What is said of a folder that is to be made below a link that leads nowhere."""


class StoreFault(ProxyError):
    """The store cannot take or give something now: no room, or the disk fails."""

    @classmethod
    def of(cls, what: str | Path, error: OSError) -> "StoreFault":
        """Return an error of this machine in words: what it is about, where, and what to do."""
        where = f" ({error.filename})" if error.filename and str(error.filename) != str(what) else ""
        advice = (_advice_for_folder(what, error) if isinstance(what, Path) else "") or _advice(error)
        return cls(f"{what}: {error.strerror or error}{where}{advice}")


def astray(folder: Path) -> str:
    """Say which link on the way to a folder leads nowhere, and what to do; "" if none does."""
    for one in (folder, *folder.parents):
        if os.path.islink(one) and not os.path.exists(one):  # noqa: PTH110, PTH114 - never raise
            there = f"{one} is a link to {os.readlink(one)}, where nothing is"  # noqa: PTH115
            return f"{there}: mount its disk, correct the link, or name another data_dir (--data-dir)"
    return ""


def _advice_for_folder(folder: Path, error: OSError) -> str:
    if error.errno in _BARRED and Owner.of(folder) is None:
        return _advice_for_new(folder)
    problem = astray(folder) if error.errno in _ASTRAY else ""
    return f"; {problem}" if problem else ""


def _advice(error: OSError) -> str:
    if error.errno not in _BARRED or not error.filename:
        return _ADVICE.get(error.errno or 0, "")
    path, running = Path(os.fsdecode(error.filename)), Owner.running()
    theirs = next(filter(None, map(Owner.of, (path, *path.parents))), None)
    if theirs is None or theirs.uid == running.uid:
        return f"; {running} may not: look at the modes of it and of the folders above"
    return f"; it belongs to {theirs}, and this is {running}: sudo chown -R {running.for_chown} the data_dir"


def _advice_for_new(folder: Path) -> str:
    """Say what to do about a data directory that is not there yet, or not for this user to see."""
    running = Owner.running()
    above = next(filter(Owner.of, folder.parents), folder)
    if not os.access(above, os.X_OK):
        return f"; {running} may not look into {above}: name another data_dir (--data-dir)"
    make = f"sudo install -d -o {running.for_chown.partition(':')[0]} {shlex.quote(str(folder))}"
    return f"; {running} cannot make it in {above}: {make}, or name another data_dir (--data-dir)"


def publish(draft: Path, final: Path, fd: int) -> None:
    """Move a finished, synced file to its final name, durably; who calls this has locked its descriptor `fd`.

    Once it has its name, that lock is shared: those who read it protect it too, while the disk is waited for.
    """
    _move(draft, final)
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    sync_directory(final.parent)


def _move(draft: Path, final: Path) -> None:
    try:
        draft.rename(final)
    except FileNotFoundError:
        final.parent.mkdir(parents=True, exist_ok=True)
        sync_directory(final.parent.parent)
        draft.rename(final)


def remove(path: Path) -> None:
    """Remove a file that may be gone already."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
