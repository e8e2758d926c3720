"""The process that has read the program, and forks for each command that it is asked for.

A request is a message with the arguments and the surroundings of one command; with it come one end
of a socket, and what the command writes its output and its errors to. The process of the command is
sent back by that socket, and its exit status when it has ended; it is ended when nobody holds
the other end any more.
"""

import array
import contextlib
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import sys
import time
from typing import Any, NamedTuple

_LONGEST_REQUEST_BYTES = 1024 * 1024
_MOST_DESCRIPTORS = 4096


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
        _tell_begin(running[-1])
        poll.register(running[-1].process, select.POLLIN)
        poll.register(client, select.POLLHUP)


def _tell_begin(one: _Forked) -> None:
    with contextlib.suppress(BrokenPipeError):
        socket.send_fds(one.client, [str(one.pid).encode()], [one.process])


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
    from proxy.runtime import load_servers  # noqa: PLC0415

    for module in pkgutil.iter_modules(proxy.cli.__path__, "proxy.cli."):
        importlib.import_module(module.name)
    load_servers()
    importlib.import_module("proxy.processes.supervisor")


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
