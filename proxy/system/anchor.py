"""A folder in which somebody else may put links while we write: each name below it is looked up by itself.

Whoever owns a folder can make any name in it a link, at any moment, and have a program that looks up
whole paths write, remove or rename files elsewhere. So the folder is held open, and so is each one
below it that is come through, none of which may be a link. What comes of it are paths through
/proc/self/fd, whose last name alone is looked up.
"""

import os
from collections import OrderedDict
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_MOST_OPEN = 64
FOLDER_MODE = 0o755


class Anchor:
    """A folder that is open until `close`. All of it blocks; for one thread at a time."""

    def __init__(self, folder: Path, *, may_be_link: bool = True) -> None:
        """Open a folder. Raises OSError."""
        self._fd = os.open(folder, _FOLDER | (0 if may_be_link else os.O_NOFOLLOW))
        self._open: OrderedDict[str, int] = OrderedDict()

    def close(self) -> None:
        """Let go of it."""
        self.forget()
        os.close(self._fd)

    def forget(self) -> None:
        """Look all folders up anew: some have got another name."""
        while self._open:
            os.close(self._open.popitem()[1])

    def at(self, path: str) -> Path:
        """Return a path to a name, good until some others were asked for; "" is the folder itself.

        Raises OSError: NotADirectoryError where a link or a file stands in a folder's place.
        """
        folder, _, name = path.rpartition("/")
        return Path(f"/proc/self/fd/{self._folder(folder)}", name)

    def make(self, path: str) -> None:
        """Make a folder that servers can read, whatever the umask, and those above it. Raises OSError."""
        if not path or path in self._open:
            return
        parent, _, name = path.rpartition("/")
        self.make(parent)
        above = self._folder(parent)
        try:
            os.mkdir(name, dir_fd=above)
        except FileExistsError:
            return
        os.fchmod(self._folder(path), FOLDER_MODE)

    def remove(self, path: str) -> None:
        """Remove an empty folder. Raises OSError."""
        parent, _, name = path.rpartition("/")
        os.rmdir(name, dir_fd=self._folder(parent))
        self.forget()

    def _folder(self, path: str) -> int:
        if not path:
            return self._fd
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        parent, _, name = path.rpartition("/")
        fd = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=self._folder(parent))
        self._open[path] = fd
        while len(self._open) > _MOST_OPEN:
            os.close(self._open.popitem(last=False)[1])
        return fd
