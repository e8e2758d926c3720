"""The program's commands, each in a process of its own that has read the program already.

To read the program takes a command longer than what it does. So one process of each test run reads
it, and forks for each command: argument vector, environment, folder, umask and exit status are those
of a program that was started. What depends on the start itself is to be tried with a real one.
"""

import array
import asyncio
import atexit
import contextlib
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

_LONGEST_REQUEST_BYTES = 1024 * 1024
_STATUS_BYTES = 16
_MOST_DESCRIPTORS = 4096


# The side of the tests


async def run_warm(arguments: list[str]) -> tuple[int, bytes, bytes]:
    """Run the program to its end; return its exit status, and what it wrote."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    out, err = (os.memfd_create(name) for name in ("stdout", "stderr"))
    try:
        with ours:
            with theirs:
                ours.send(json.dumps(_request(arguments)).encode())
                _forker().send_fds([theirs.fileno(), out, err])
            ours.setblocking(False)
            # Its process is ended when our end of the socket closes before it.
            status = await asyncio.get_running_loop().sock_recv(ours, _STATUS_BYTES)
        return int(status), _written(out), _written(err)
    finally:
        os.close(out)
        os.close(err)


def _request(arguments: list[str]) -> dict[str, Any]:
    umask = os.umask(0o077)
    os.umask(umask)
    return {
        "arguments": arguments,
        "environ": dict(os.environ),
        "folder": str(Path.cwd()),
        "umask": umask,
    }


def _written(file: int) -> bytes:
    return os.pread(file, os.fstat(file).st_size, 0)


class _Forker:
    """The process that forks for commands."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "support.warm", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdin=subprocess.DEVNULL,
            )

    def send_fds(self, descriptors: list[int]) -> None:
        """Send it what one command is to use."""
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
        self._ours.sendmsg([b"run"], [rights])

    def close(self) -> None:
        """End it."""
        self._ours.close()
        self._process.wait()


@cache
def _forker() -> _Forker:
    forker = _Forker()
    atexit.register(forker.close)
    return forker


# The side of the commands


class _Forked(NamedTuple):
    """One command."""

    pid: int
    process: int
    """The descriptor of its process."""
    client: socket.socket


def _serve(forker: socket.socket) -> dict[str, Any] | None:
    """Fork for each request; return the request in the forked process, and None at the end of all."""
    poll = select.poll()
    poll.register(forker, select.POLLIN)
    running: list[_Forked] = []
    while True:
        ready = {descriptor for descriptor, _ in poll.poll()}
        for one in list(running):
            if one.process in ready:
                running.remove(one)
                poll.unregister(one.process)
                poll.unregister(one.client)
                _tell_end(one)
            elif one.client.fileno() in ready:
                poll.unregister(one.client)
                poll.register(one.client, 0)
                os.kill(one.pid, signal.SIGKILL)  # Nobody waits for it any more.
        if forker.fileno() not in ready:
            continue
        message, rights, *_ = forker.recvmsg(8, socket.CMSG_SPACE(3 * array.array("i").itemsize))
        if not message:
            return None
        descriptor, *written = array.array("i", rights[0][2])
        client = socket.socket(fileno=descriptor)
        request: dict[str, Any] = json.loads(client.recv(_LONGEST_REQUEST_BYTES))
        pid = os.fork()
        if not pid:
            for socket_ in (forker, client, *(one.client for one in running)):
                socket_.detach()
            _prepare(request, *written)
            return request
        for file in written:
            os.close(file)
        running.append(_Forked(pid, os.pidfd_open(pid), client))
        poll.register(running[-1].process, select.POLLIN)
        poll.register(client, select.POLLHUP)


def _tell_end(one: _Forked) -> None:
    os.close(one.process)
    _, status = os.waitpid(one.pid, 0)
    with one.client, contextlib.suppress(BrokenPipeError):
        one.client.send(str(os.waitstatus_to_exitcode(status)).encode())


def _prepare(request: dict[str, Any], out: int, err: int) -> None:
    """Make this process look like one that was started for the request."""
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.closerange(3, _MOST_DESCRIPTORS)
    os.environ.clear()
    os.environ.update(request["environ"])
    time.tzset()
    os.chdir(request["folder"])
    os.umask(request["umask"])


def _read_program() -> None:
    import proxy.cli  # noqa: PLC0415 - only the forked processes need it

    for module in pkgutil.iter_modules(proxy.cli.__path__, "proxy.cli."):
        importlib.import_module(module.name)


def _main() -> None:
    _read_program()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    request = _serve(socket.socket(fileno=int(sys.argv[1])))
    if request is not None:
        entry = importlib.import_module("proxy.__main__")
        sys.modules["__main__"] = entry
        sys.argv[:] = [str(entry.__file__), *request["arguments"]]
        entry.main()


if __name__ == "__main__":
    _main()
