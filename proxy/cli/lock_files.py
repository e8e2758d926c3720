"""Lockfiles on the command line: read, and written, as whoever typed the command.

Both are opened before the command becomes the user to whom the data directory belongs, who may
have no business in that folder.
"""

import contextlib
import os
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from proxy.bundles.contents import LARGEST_BYTES
from proxy.bundles.lockfile import Lockfile, LockfileUnreadable, not_here, read_lockfile
from proxy.cli.options import Asked, Command, Extension, GivenPath, UsageFault
from proxy.config.config import Config
from proxy.errors import ProxyError

_STANDARD = "-"
_PUT = b"put"
_WORD_BYTES = 8


class OutputFault(ProxyError):
    """A lockfile that could not be written."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(f"{path} cannot be written: {error.strerror}")


class LockOutput:
    """A file that a lockfile is to be written into: what was in it stays until the new one is whole."""

    def __init__(self, path: Path) -> None:
        """See that it can be written; "-" is standard output. Raises OSError."""
        self.path = path
        self.is_standard_output = str(path) == _STANDARD
        self._fd = -1
        self._draft: _Draft | None = None
        if self.is_standard_output:
            return
        target = path.resolve()
        is_there = target.exists()
        if is_there and not target.is_file():  # A device, a pipe, or a folder, which is refused here.
            self._fd = os.open(target, os.O_WRONLY | os.O_CLOEXEC)
            return
        try:
            self._fd, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        except PermissionError:
            if not is_there:
                raise
            self._fd = os.open(target, os.O_WRONLY | os.O_CLOEXEC)  # Nothing can be put beside it.
            return
        self._draft = _Draft(Path(name), target)
        if not is_there:
            os.fchmod(self._fd, 0o666 & ~_umask())
            return
        before = target.stat()
        with contextlib.suppress(PermissionError):  # Root leaves it to whom it belongs; others cannot.
            os.fchown(self._fd, before.st_uid, before.st_gid)
        os.fchmod(self._fd, before.st_mode & 0o777)

    def write(self, data: bytes) -> None:
        """Replace what is in the file. Blocks; raises OutputFault."""
        if self.is_standard_output:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            return
        try:
            with os.fdopen(self._fd, "wb") as file:
                self._fd = -1
                with contextlib.suppress(OSError):  # A pipe cannot be cut.
                    file.truncate(0)
                file.write(data)
                file.flush()
                with contextlib.suppress(OSError):  # Nor made to last.
                    os.fsync(file.fileno())
            if self._draft is not None:
                self._draft.put()
        except OSError as error:
            raise OutputFault(self.path, error) from error
        click.echo(f"wrote {self.path}", err=True)

    def close(self) -> None:
        """Let go of it; where nothing was written, it is as it was."""
        if self._fd >= 0:
            os.close(self._fd)
        if self._draft is not None:
            self._draft.close()


class _Draft:
    """A file that is to take another one's place, or go.

    The owner of the data directory, whom root becomes, may not do that in the folder. So where this
    process is root's, another one is forked that stays root's, and waits for a word.
    """

    def __init__(self, draft: Path, target: Path) -> None:
        self._draft = draft
        self._target = target
        self._ends: tuple[int, int] | None = None
        """Where the other process's word comes from, and ours goes to."""
        self._is_put = False
        if os.geteuid() == 0:
            self._fork()

    def put(self) -> None:
        """Put it in the other one's place. Raises OSError."""
        if self._ends is None:
            self._draft.replace(self._target)
        else:
            come, go = self._ends
            os.write(go, _PUT)
            problem = int.from_bytes(os.read(come, _WORD_BYTES), "big")
            if problem:
                raise OSError(problem, os.strerror(problem))
        self._is_put = True

    def close(self) -> None:
        """Remove it, unless it was put there."""
        if self._ends is None:
            if not self._is_put:
                self._draft.unlink(missing_ok=True)
        else:
            for end in self._ends:
                os.close(end)
            os.waitpid(self._pid, 0)

    def _fork(self) -> None:
        (come, theirs), (its, go) = os.pipe(), os.pipe()
        self._ends = come, go
        self._pid = os.fork()
        if self._pid == 0:
            os.close(go)
            try:
                self._wait(its, theirs)
            finally:
                os._exit(0)
        os.close(theirs)
        os.close(its)

    def _wait(self, come: int, go: int) -> None:
        """Do what the other process says, until it has ended."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if os.read(come, _WORD_BYTES) == _PUT:
            problem = 0
            try:
                self._draft.replace(self._target)
            except OSError as error:
                problem = error.errno or 0
            os.write(go, problem.to_bytes(_WORD_BYTES, "big"))
        self._draft.unlink(missing_ok=True)


def _umask() -> int:
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def _opened_output(context: click.Context, _: click.Parameter, value: Path | None) -> LockOutput | None:
    if value is None:
        return None
    try:
        output = LockOutput(value)
    except OSError as error:
        raise click.ClickException(f"{value}: {error.strerror}") from error
    context.call_on_close(output.close)
    return output


def lock_output_option(command: Command) -> Command:
    """Add the option that says which lockfile is to be written."""
    add: Extension = click.option(
        "--lock",
        type=GivenPath(path_type=Path),
        callback=_opened_output,
        metavar="FILE",
        help="Write what it took into this lockfile; - is standard output.",
    )
    return add(command)


def read_lock_file(path: Path) -> Lockfile:
    """Return what a lockfile says. Raises UsageFault."""
    try:
        with path.open("rb") as file:
            return read_lockfile(file.read(LARGEST_BYTES + 1))
    except OSError as error:
        raise UsageFault(f"the lockfile {path} cannot be read: {error.strerror}") from error
    except LockfileUnreadable as error:
        raise UsageFault(f"{path}: {error}") from error


@dataclass(frozen=True, slots=True)
class LockInput:
    """A lockfile that was named."""

    path: Path
    lockfile: Lockfile

    @property
    def pin(self) -> str:
        """The name of the pin that keeps what it names."""
        return f"lock {self.path.resolve()}"

    @property
    def shown(self) -> str:
        """It in words."""
        return f"locked in {self.path}: {', '.join(self.lockfile.mirrors)}"

    def check(self, config: Config, asked: Asked, other: object = None) -> None:
        """Raise UsageFault if more is asked for than a lockfile, or if it is of mirrors that are not here."""
        if asked.is_selecting or asked.arch or asked.mirrors or other is not None:
            raise UsageFault("--lock says it all: leave filters and other selections out")
        known = [mirror.name for mirror in config.mirrors]
        for name in self.lockfile.mirrors:
            if name not in known:
                raise UsageFault(f"{self.path} {not_here(name, known)}")


def _read_input(_: click.Context, __: click.Parameter, value: Path | None) -> LockInput | None:
    return None if value is None else LockInput(value, read_lock_file(value))


def lock_option(what: str) -> Extension:
    """Return the option that names a lockfile; the command gets what it says as `lock`."""
    options: dict[str, Any] = {"type": GivenPath(path_type=Path), "callback": _read_input}
    return click.option("--lock", metavar="FILE", help=what, **options)
