"""Disks that fail: system calls that return errors, small file systems, folders and ledgers that suffer."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")


class FailingDisk:
    """Makes system calls of a process fail that was started with `env`."""

    def __init__(self, folder: Path) -> None:
        """Build the library. Needs gcc."""
        library = folder / "failing_disk.so"
        command = ["gcc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"]
        subprocess.run(command, check=True, capture_output=True)
        self._rules = folder / "failing_disk.rules"
        self.env = {"LD_PRELOAD": str(library), "FAILING_DISK": str(self._rules)}

    @staticmethod
    def can_be_built() -> bool:
        """Whether there is a compiler."""
        return shutil.which("gcc") is not None

    @contextlib.contextmanager
    def failing(self, *rules: str) -> Iterator[None]:
        """Fail for the length of the context. Each rule is "CALL PART-OF-PATH ERRNO SPARED"."""
        draft = self._rules.with_suffix(".draft")
        draft.write_text("".join(f"{rule}\n" for rule in rules))
        draft.rename(self._rules)
        try:
            yield
        finally:
            self._rules.unlink()


@contextlib.contextmanager
def small_file_system(folder: Path, size: str) -> Iterator[bool]:
    """Mount a small tmpfs on a folder for the length of the context; say whether that was possible."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    is_root = os.geteuid() == 0
    is_mounted = is_root and subprocess.run(command, check=False, capture_output=True).returncode == 0
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def filled_up(folder: Path) -> Iterator[None]:
    """Take all space that a file system has left, for the length of the context."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1024 * 1024, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
    try:
        yield
    finally:
        ballast.unlink()


@contextlib.contextmanager
def in_the_way(folder: Path) -> Iterator[None]:
    """Have a file stand where a folder was, for the length of the context."""
    aside = folder.with_name(f"{folder.name}.aside")
    folder.rename(aside)
    folder.write_text("in the way\n")
    try:
        yield
    finally:
        folder.unlink()
        aside.rename(folder)


@contextlib.contextmanager
def locked(*databases: Path) -> Iterator[None]:
    """Hold the write locks of SQLite databases."""
    with contextlib.ExitStack() as stack:
        for database in databases:
            connection = stack.enter_context(contextlib.closing(sqlite3.connect(database, timeout=30)))
            connection.execute("BEGIN EXCLUSIVE")
        yield


def overwrite(database: Path) -> None:
    """Write nonsense over a database and over what is to be written into it."""
    for path in (database, database.with_name(f"{database.name}-wal")):
        with path.open("r+b") as file:
            file.write(os.urandom(max(4096, path.stat().st_size)))


@contextlib.contextmanager
def removed(*folders: Path) -> Iterator[None]:
    """Remove folders with all that is in them, and do not bring them back."""
    for folder in folders:
        shutil.rmtree(folder)
    yield
