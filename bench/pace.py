"""How fast the machine itself is: what its kernel takes for what every server does all the time.

Machines of the same CPU differ by ten times here, most of all guests whose host has to help: so
these figures stand beside those of the servers, and tell whether two results may be compared.
"""

import contextlib
import hashlib
import mmap
import os
import time
from collections.abc import Callable
from statistics import median
from typing import NamedTuple

_TRIES = 5
_CALLS = 20_000
_TURNS = 500
_TOUCHED_BYTES = 8 * 1024 * 1024
_HASHED_BYTES = 16 * 1024 * 1024


class _Pipe(NamedTuple):
    read: int
    write: int


def describe() -> str:
    """Return what a system call, a page, a thread that waits on another CPU, and SHA-256 take."""
    parts = [
        f"system call {_usual(_system_call_s) * 1e6:.2f} us",
        f"new page {_usual(_new_page_s) * 1e6:.1f} us",
        f"SHA-256 {_usual(_sha256_s):.2f} s/GiB",
    ]
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) > 1:
        turn_s = _usual(lambda: _turn_s(cpus[0], cpus[1]))
        parts.insert(2, f"waking another CPU, and being woken by it, {turn_s * 1e6:.0f} us")
    return ", ".join(parts)


def _usual(measure: Callable[[], float]) -> float:
    return median(measure() for _ in range(_TRIES))


def _system_call_s() -> float:
    began = time.perf_counter()
    for _ in range(_CALLS):
        os.getppid()
    return (time.perf_counter() - began) / _CALLS


def _new_page_s() -> float:
    with mmap.mmap(-1, _TOUCHED_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        with contextlib.suppress(OSError):  # A kernel without huge pages.
            memory.madvise(mmap.MADV_NOHUGEPAGE)
        pages = range(0, _TOUCHED_BYTES, mmap.PAGESIZE)
        began = time.perf_counter()
        for offset in pages:
            memory[offset] = 1
        return (time.perf_counter() - began) / len(pages)


def _sha256_s() -> float:
    """Return what a gibibyte takes."""
    data = bytes(_HASHED_BYTES)
    began = time.perf_counter()
    hashlib.sha256(data).digest()
    return (time.perf_counter() - began) * 2**30 / _HASHED_BYTES


def _turn_s(here: int, there: int) -> float:
    """Return how long a byte takes to a process that waits on another CPU, and back."""
    with contextlib.ExitStack() as open_files:
        to_it, from_it = (_pipe(open_files) for _ in range(2))
        child = os.fork()
        if not child:
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, {there})
                os.close(to_it.write)
                while byte := os.read(to_it.read, 1):
                    os.write(from_it.write, byte)
            os._exit(0)
        allowed = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, {here})
            _exchange(to_it, from_it)
            began = time.perf_counter()
            for _ in range(_TURNS):
                _exchange(to_it, from_it)
            return (time.perf_counter() - began) / _TURNS
        finally:
            os.sched_setaffinity(0, allowed)
            open_files.close()
            os.waitpid(child, 0)


def _exchange(to_it: _Pipe, from_it: _Pipe) -> None:
    os.write(to_it.write, b".")
    os.read(from_it.read, 1)


def _pipe(open_files: contextlib.ExitStack) -> _Pipe:
    pipe = _Pipe(*os.pipe())
    for descriptor in pipe:
        open_files.callback(os.close, descriptor)
    return pipe
