"""Files and names that survive a power cut."""

import contextlib
import os
import re
import tempfile
from pathlib import Path

_ABANDONED_S = 3600.0
"""Nobody is still writing a draft that is so much older than the file."""
_RANDOM = "[a-z0-9_]{8}"
"""How the names end that tempfile makes; an editor may keep a file of its own beside ours."""


def sync_directory(directory: Path) -> None:
    """Make the names in `directory` survive a power cut."""
    _sync(directory, os.O_DIRECTORY)


def sync_file(path: Path) -> None:
    """Make what is in a file survive a power cut, whoever wrote it."""
    _sync(path, 0)


def make_folder(folder: Path, mode: int = 0o777) -> None:
    """Make a folder, unless it is there, with all above it that are not."""
    if folder.is_dir():
        return
    if folder.parent != folder:
        make_folder(folder.parent)
    folder.mkdir(mode=mode, exist_ok=True)
    sync_directory(folder.parent)


def write_file(path: Path, data: bytes) -> None:
    """Put a file with these bytes at `path`; whatever happens, the old one is there or the new one, whole."""
    make_folder(path.parent)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)
    with contextlib.suppress(OSError):
        _remove_abandoned(path)


def _remove_abandoned(path: Path) -> None:
    """Remove the drafts of a file that processes have left which were killed."""
    written_at = path.stat().st_mtime
    of_draft = re.compile(re.escape(f".{path.name}.") + _RANDOM)
    with os.scandir(path.parent) as entries:
        drafts = [one for one in entries if of_draft.fullmatch(one.name)]
    for draft in drafts:
        if draft.stat(follow_symlinks=False).st_mtime < written_at - _ABANDONED_S:
            Path(draft).unlink()


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
