"""Lockfiles on the command line: read, and written, as whoever typed the command.

Both are opened before the command becomes the user to whom the data directory belongs, who may
have no business in that folder.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from proxy.bundles.contents import LARGEST_BYTES
from proxy.bundles.lockfile import Lockfile, LockfileUnreadable, read_lockfile
from proxy.cli.options import Asked, Command, GivenPath, UsageFault
from proxy.config.config import Config

_STANDARD = "-"


class LockOutput:
    """A file that a lockfile is to be written into; what was in it stays until then."""

    def __init__(self, path: Path) -> None:
        """Open a file, made if need be; "-" is standard output. Raises OSError."""
        self.path = path
        self.is_standard_output = str(path) == _STANDARD
        self._is_new = not self.is_standard_output and not path.exists()
        self._fd = -1
        if not self.is_standard_output:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def write(self, data: bytes) -> None:
        """Replace what is in the file. Blocks; raises OSError."""
        if self.is_standard_output:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            return
        with os.fdopen(self._fd, "wb", closefd=True) as file:
            file.truncate(0)
            file.write(data)
        self._is_new = False
        click.echo(f"wrote {self.path}", err=True)

    def forget(self) -> None:
        """Remove a file that was made and that nothing was written into."""
        if self._is_new:
            self.path.unlink(missing_ok=True)


def _opened_output(context: click.Context, _: click.Parameter, value: Path | None) -> LockOutput | None:
    if value is None:
        return None
    try:
        output = LockOutput(value)
    except OSError as error:
        raise click.ClickException(f"{value}: {error.strerror}") from error
    context.call_on_close(output.forget)
    return output


def lock_output_option(command: Command) -> Command:
    """Add the option that says which lockfile is to be written."""
    add: Callable[[Command], Command] = click.option(
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
        return f"lock {self.path.name}"

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
                raise UsageFault(f"{self.path} is of a mirror {name!r}; here are: {', '.join(known)}")


def _read_input(_: click.Context, __: click.Parameter, value: Path | None) -> LockInput | None:
    return None if value is None else LockInput(value, read_lock_file(value))


def lock_option(what: str) -> Callable[[Command], Command]:
    """Return the option that names a lockfile; the command gets what it says as `lock`."""
    options: dict[str, Any] = {"type": GivenPath(path_type=Path), "callback": _read_input}
    return click.option("--lock", metavar="FILE", help=what, **options)
