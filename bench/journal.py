"""The stream that systemd gives a service for its log, and a process that reads it as the journal does.

It is a Unix socket with a send buffer of 8 MiB, named by $JOURNAL_STREAM (systemd.exec(5)). The
reader runs beside the load, and its CPU belongs to nobody: the journal is no part of the service.
Run as a program, this module is that reader; it ends with the stream.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from processes import HERE, LOAD_CPUS

_SEND_BUFFER_BYTES = 8 * 1024 * 1024
_READ_BYTES = 1024 * 1024
_TAIL_BYTES = 4096


@dataclass(frozen=True)
class Journal:
    """Where a service writes its log, and who reads it."""

    stream: socket.socket
    """The service's standard error."""
    environment: dict[str, str]
    """What tells the service that its standard error is the journal."""


@contextlib.contextmanager
def journal() -> Iterator[Journal]:
    """Read the log of one service until the context ends; print the end of it if that breaks."""
    theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with theirs, ours:
        theirs.shutdown(socket.SHUT_RD)
        _widen(theirs)
        command = [sys.executable, "-m", "journal"]
        reader = subprocess.Popen(command, stdin=ours.fileno(), stdout=subprocess.PIPE, text=True, cwd=HERE)
        ours.close()
        about = os.fstat(theirs.fileno())
        try:
            yield Journal(theirs, {"JOURNAL_STREAM": f"{about.st_dev}:{about.st_ino}"})
        except BaseException:
            print(_tail(theirs, reader), file=sys.stderr)
            raise
        _tail(theirs, reader)


def _tail(stream: socket.socket, reader: subprocess.Popen[str]) -> str:
    """End the reader and return the last lines that it read."""
    stream.close()
    told, _ = reader.communicate()
    tail: str = json.loads(told)
    return tail


def _widen(stream: socket.socket) -> None:
    """Give a stream the send buffer that systemd gives it; beyond the system's limit that takes root."""
    force = getattr(socket, "SO_SNDBUFFORCE", 32)
    try:
        stream.setsockopt(socket.SOL_SOCKET, force, _SEND_BUFFER_BYTES)
    except PermissionError:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)


def _read_all(descriptor: int) -> str:
    tail = b""
    while data := os.read(descriptor, _READ_BYTES):
        tail = (tail + data)[-_TAIL_BYTES:]
    return tail.decode(errors="replace")


if __name__ == "__main__":
    os.sched_setaffinity(0, LOAD_CPUS)
    print(json.dumps(_read_all(sys.stdin.fileno())))
