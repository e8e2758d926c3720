"""Where gpg finds the keys of one keyring: a folder with a single file, made anew whenever it is not right.

Owns what lies below `gnupg/` in the data directory. All of it can be made from
the keyring files, so whatever a power cut, another release or a person has left
there is replaced, never believed.
"""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from proxy.errors import ProxyError
from proxy.system.durable import make_folder, write_file

_RING = "keys.gpg"
_ASIDE = "old-"
_KEPT_S = 24 * 3600.0
"""Homes that nobody names any more: processes of an earlier configuration may still use them."""


class HomeFault(ProxyError):
    """The disk does not take, or give, the keys that gpg needs."""

    def __init__(self, home: Path, error: OSError) -> None:
        where = error.filename or home
        super().__init__(f"gpg cannot be given its keys: {where}: {error.strerror or error}")


class KeyHome:
    """The home of the keys with one identity."""

    def __init__(self, homes: Path, identity: str, ring: bytes) -> None:
        self.path = homes / identity
        self.ring_file = self.path / _RING
        self._ring = ring

    def put_right(self) -> None:
        """Have the ring there, whole, whatever is there now. Raises HomeFault."""
        if self._is_right():
            return
        try:
            try:
                self._write()
            except (FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError):
                if not os.path.lexists(self.path):
                    raise
                _move_away(self.path)  # Something else has its name, or it is another user's.
                self._write()
        except OSError as error:
            if not self._is_right():  # Another process may have been faster.
                raise HomeFault(self.path, error) from error

    @contextlib.contextmanager
    def holding(self, content: bytes) -> Iterator[str]:
        """Keep something in a file that gpg is to read, for the length of the context; give its path.

        It lies in the home, or where temporary files go if the home takes none. Raises HomeFault.
        """
        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context(_written(content, self.path))
            except OSError as error:
                try:
                    file = stack.enter_context(_written(content, None))
                except OSError:
                    raise HomeFault(self.path, error) from error
            yield file

    def _is_right(self) -> bool:
        try:
            return self.ring_file.read_bytes() == self._ring
        except OSError:
            return False

    def _write(self) -> None:
        make_folder(self.path, 0o700)
        write_file(self.ring_file, self._ring)


@contextlib.contextmanager
def _written(content: bytes, folder: Path | None) -> Iterator[str]:
    with tempfile.NamedTemporaryFile(prefix="sstream-proxy-", suffix=".gpg", dir=folder, buffering=0) as file:
        if file.write(content) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), file.name)
        yield file.name


def sweep_homes(homes: Path, kept: Collection[str], now: float) -> None:
    """Remove homes of none of the `kept` identities, once they are old; those of other releases too."""
    with contextlib.suppress(OSError):
        for home in list(homes.iterdir()):
            if home.name not in kept and now - home.lstat().st_mtime > _KEPT_S:
                _remove(home)


def _move_away(path: Path) -> None:
    aside = path.with_name(f"{_ASIDE}{path.name}.{os.getpid()}")
    path.rename(aside)
    _remove(aside)


def _remove(path: Path) -> None:
    """Remove what this user may remove."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
