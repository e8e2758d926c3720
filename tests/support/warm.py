"""The program's commands, each in a process of its own that has read the program already.

To read the program takes a command longer than what it does. So one process of each test run reads
it, and forks for each command: argument vector, environment, folder, umask and exit status are those
of a program that was started. What depends on the start itself is to be tried with a real one.
"""

import asyncio
import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Self

_STATUS_BYTES = 16


class WarmProcess:
    """A command that runs, with the names of `subprocess.Popen`; it is killed when this is closed."""

    def __init__(
        self, arguments: list[str], *, stdout: int, stderr: int, env: Mapping[str, str] | None = None
    ) -> None:
        self.args = arguments
        self.returncode: int | None = None
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._socket.send(json.dumps(_request(arguments, os.environ if env is None else env)).encode())
            _forker().send_fds([theirs.fileno(), stdout, stderr])
        told, descriptors, *_ = socket.recv_fds(self._socket, _STATUS_BYTES, 1)
        self.pid = int(told)
        (self._process,) = descriptors

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            signal.pidfd_send_signal(self._process, number)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)

    def poll(self) -> int | None:
        """Return its exit status; None while it runs."""
        return self._ended_within(0)

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit status once it has ended."""
        status = self._ended_within(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return status

    async def ended(self) -> int:
        """Return its exit status once it has ended."""
        self._socket.setblocking(False)
        return int(await asyncio.get_running_loop().sock_recv(self._socket, _STATUS_BYTES))

    def close(self) -> None:
        """Let go of it."""
        self._socket.close()
        if self._process >= 0:
            os.close(self._process)
            self._process = -1

    def _ended_within(self, timeout_s: float | None) -> int | None:
        if self.returncode is None:
            poll = select.poll()
            poll.register(self._socket, select.POLLIN)
            if poll.poll(None if timeout_s is None else timeout_s * 1000):
                self.returncode = int(self._socket.recv(_STATUS_BYTES))
        return self.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


async def run_warm(arguments: list[str], env: Mapping[str, str] | None = None) -> tuple[int, bytes, bytes]:
    """Run the program to its end; return its exit status, and what it wrote."""
    with _Written() as written:
        with await asyncio.to_thread(written.by, arguments, env) as process:
            status = await process.ended()
        return status, *written.read()


def wait_warm(arguments: list[str], env: Mapping[str, str] | None = None) -> tuple[int, bytes, bytes]:
    """Do the same where no event loop runs."""
    with _Written() as written:
        with written.by(arguments, env) as process:
            status = process.wait(60)
        return status, *written.read()


class _Written:
    """What a command writes; a context manager."""

    def __init__(self) -> None:
        self._files = [os.memfd_create(name) for name in ("stdout", "stderr")]

    def by(self, arguments: list[str], env: Mapping[str, str] | None) -> WarmProcess:
        """Start the command that writes it."""
        out, err = self._files
        return WarmProcess(arguments, stdout=out, stderr=err, env=env)

    def read(self) -> tuple[bytes, bytes]:
        """Return its output, and its errors."""
        out, err = (os.pread(file, os.fstat(file).st_size, 0) for file in self._files)
        return out, err

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            os.close(file)


def _request(arguments: list[str], env: Mapping[str, str]) -> dict[str, Any]:
    return {"arguments": arguments, "environ": dict(env), "folder": str(Path.cwd()), "umask": _umask()}


def _umask() -> int:
    """Return this process's umask, which `os.umask` tells only by changing it (proc(5))."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("Umask:")[2].split()[0], 8)


class _Forker:
    """The process that forks for commands."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "support.forking", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdin=subprocess.DEVNULL,
            )

    def send_fds(self, descriptors: list[int]) -> None:
        """Send it what one command is to use."""
        socket.send_fds(self._ours, [b"run"], descriptors)

    def close(self) -> None:
        """End it."""
        self._ours.close()
        self._process.wait()


@cache
def _forker() -> _Forker:
    forker = _Forker()
    atexit.register(forker.close)
    return forker
