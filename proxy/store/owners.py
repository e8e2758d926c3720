"""To whom the files of a data directory belong.

Several processes share them, and each must be able to change what another made:
that takes one user. Only names, owners and modes are looked at.
"""

import contextlib
import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_ESTABLISHED = ("ledger/records/cache.db", "ledger/blobs/cache.db", "blobs/sha256", "ledger")
"""What whoever served first from a directory has made, the surest sign first."""
_SHALLOW = ("listings", "incoming", "stats", "boards", "rules", "quarantine", "generations")
_DEEP = ("ledger", "gnupg")
_MOST_NAMED = 3


class Owner(NamedTuple):
    """A user and group, by number."""

    uid: int
    gid: int

    @property
    def name(self) -> str | None:
        """What the user is called on this machine, None for one without a name."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except (KeyError, OSError):
            return None

    def __str__(self) -> str:
        return self.name or f"user {self.uid}"

    @property
    def for_chown(self) -> str:
        """What `chown` is given to make files theirs."""
        return f"{self.name}:" if self.name else f"{self.uid}:{self.gid}"

    @classmethod
    def of(cls, path: Path) -> "Owner | None":
        """Return to whom a file belongs, None for one that is not there, or that nobody may look at."""
        try:
            status = path.stat()
        except OSError:
            return None
        return cls(status.st_uid, status.st_gid)

    @classmethod
    def running(cls) -> "Owner":
        """Return who this process is."""
        return cls(os.geteuid(), os.getegid())


def established_owner(data_dir: Path) -> Owner | None:
    """Return whose files a data directory holds, None for one that nobody has stored into yet."""
    return next(filter(None, (Owner.of(data_dir / one) for one in _ESTABLISHED)), None)


def is_unused(data_dir: Path) -> bool:
    """Whether nobody has stored anything in a data directory yet, as far as this user may see."""
    for one in _ESTABLISHED:
        try:
            (data_dir / one).stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            pass  # Whoever opens it tells.
        return False
    return True


def is_closed(data_dir: Path) -> bool:
    """Whether this user may not look into a data directory."""
    try:
        (data_dir / _ESTABLISHED[0]).stat()
    except PermissionError:
        return True
    except OSError:
        pass
    return False


def meant_owner(data_dir: Path) -> Owner | None:
    """Return whose files should be in a data directory: its own owner's, unless that is root."""
    owner = Owner.of(data_dir)
    return owner if owner is not None and owner.uid != 0 else established_owner(data_dir) or owner


class Strangers(NamedTuple):
    """Files of others, which the owner of a data directory cannot change."""

    data_dir: Path
    owner: Owner
    """Whose they should be."""
    paths: tuple[Path, ...]
    theirs: Owner
    """Whose the first one is."""

    def __str__(self) -> str:
        named = ", ".join(str(path.relative_to(self.data_dir)) for path in self.paths[:_MOST_NAMED])
        more = len(self.paths) - _MOST_NAMED
        return (
            f"files in {self.data_dir} belong to {self.theirs}, and {self.owner} cannot change them: {named}"
            f"{f' and {more} more' if more > 0 else ''}"
        )

    @property
    def remedy(self) -> str:
        """The command that puts it right."""
        return f"sudo chown -R {self.owner.for_chown} {self.data_dir}"


def find_strangers(data_dir: Path, owner: Owner) -> Strangers | None:
    """Return the files that are not `owner`'s and that they cannot change.

    Not blobs, which nobody changes. Blocks for as long as the disk does.
    """
    if owner.uid == 0:
        return None  # Who may change everything.
    found = [(path, status) for path, status in _bookkeeping(data_dir) if not _may_change(status, owner)]
    if not found:
        return None
    status = found[0][1]
    return Strangers(data_dir, owner, tuple(path for path, _ in found), Owner(status.st_uid, status.st_gid))


def _may_change(status: os.stat_result, owner: Owner) -> bool:
    if status.st_uid == owner.uid or status.st_mode & 0o002:
        return True
    return status.st_gid == owner.gid and bool(status.st_mode & 0o020)


def _bookkeeping(data_dir: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield all files and folders that are changed in place, or in which files are made and removed."""
    with contextlib.suppress(OSError):
        yield data_dir, data_dir.stat()
    yield from _entries(data_dir)
    for name in _SHALLOW:
        yield from _entries(data_dir / name)
    yield from _entries(data_dir / "blobs")
    yield from _entries(data_dir / "blobs" / "sha256")
    for name in _DEEP:
        for folder, status in list(_entries(data_dir / name)):
            yield folder, status
            if os.path.isdir(folder):  # noqa: PTH112 - no exception for what nobody may look at
                yield from _entries(folder)


def _entries(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in sorted(entries, key=lambda one: one.name):
        try:
            yield Path(entry.path), entry.stat(follow_symlinks=False)
        except OSError:
            continue
