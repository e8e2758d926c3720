"""Where the program meets whoever started it: standard streams, and ends that no command foresees."""

import contextlib
import errno
import io
import logging
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import click

from proxy.logs.destination import standard_error
from proxy.logs.priorities import priority

_INTERRUPTED = 128 + signal.SIGINT
_INPUT, _OUTPUT, _ERRORS = range(3)
_SHOWN = "standard output"


class _Output(io.FileIO):
    """A stream of ours whose failures say that they are its own, and no file's."""

    _has_failed = False

    def write(self, data: Any, /) -> int:
        """Write some of the data; once this has failed the rest is lost.

        Standard error fails only when its reader has gone: a full disk there stops no work.
        """
        if self._has_failed:
            return len(data)
        try:
            return super().write(data) or 0
        except OSError as error:
            self._has_failed = True
            if self.fileno() == _ERRORS and error.errno != errno.EPIPE:
                return len(data)
            error.filename = _SHOWN
            raise


def open_standard_streams() -> None:
    """Have all three, whatever the parent left open, and let no character be too odd to be shown.

    Without this the first file or socket that is opened would get the number of
    a stream, and what anybody writes there would end up in it.
    """
    for number in (_INPUT, _OUTPUT, _ERRORS):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # Gets the lowest number that is free.
    if sys.stdin is None:
        sys.stdin = open(_INPUT, closefd=False)  # noqa: SIM115
    # Tests put others in their places.
    if sys.stdout is sys.__stdout__:
        sys.stdout = _stream(_OUTPUT, sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _stream(_ERRORS, sys.stderr)


def _stream(number: int, given: Any) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(_Output(number, "w", closefd=False)),
        encoding=None if given is None else given.encoding,
        errors="backslashreplace",
        line_buffering=number == _ERRORS or os.isatty(number),
    )


def outputs_meet() -> bool:
    """Say whether standard output and standard error are one terminal, file or pipe."""
    try:
        return os.path.samestat(os.fstat(_OUTPUT), os.fstat(_ERRORS))
    except OSError:
        return False


def mind_modes() -> None:
    """Let the files made here be ours to use, and no stranger's to change, whatever umask the parent left."""
    os.umask((os.umask(0) & 0o077) | 0o002)


def mind_interruptions() -> None:
    """Hear Ctrl-C from now on, unless the parent wants it ignored; until now it ended the program."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def ended_plainly() -> Iterator[None]:
    """Turn what ends a command unforeseen into what other programs do: a line of words, or silence."""
    with _faults_told_to_journal():
        try:
            yield
        except KeyboardInterrupt:
            raise SystemExit(_INTERRUPTED) from None
        except BaseExceptionGroup as group:
            if group.subgroup(_is_unread) is None:
                raise
            _end_by_broken_pipe()
        except OSError as error:
            if _is_unread(error):
                _end_by_broken_pipe()
            where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
            raise click.ClickException(f"{where}{error.strerror or error}") from error


@contextlib.contextmanager
def _faults_told_to_journal() -> Iterator[None]:
    """Tell what ends a command as an error, with the journal's priority where that is read."""
    try:
        yield
    except click.ClickException as fault:
        if not standard_error(os.environ).is_journal:
            raise
        before = priority(logging.ERROR)
        for line in f"Error: {fault.format_message()}".splitlines():
            click.echo(before + line, err=True)
        raise SystemExit(fault.exit_code) from fault


def is_of_output(error: OSError) -> bool:
    """Say whether it was our output that could not be written, and no file."""
    return bool(error.filename == _SHOWN)


def _is_unread(error: BaseException) -> bool:
    """Say whether whoever read our output has gone, as `head` does."""
    return isinstance(error, BrokenPipeError) and is_of_output(error)


def _end_by_broken_pipe() -> None:
    """End as a program ends that never heard of the signal."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)
