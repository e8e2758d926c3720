"""Doing things as an ordinary user, for whom file modes count, even when the tests run as root."""

import ctypes
import threading
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")

_CAPABILITIES_VERSION_3 = 0x20080522


def as_ordinary_user(act: Callable[[], _T]) -> _T:
    """Call `act` in a thread of its own that has given up root's privileges (Linux keeps them by thread)."""
    outcome: list[_T] = []
    problems: list[BaseException] = []

    def run() -> None:
        try:
            _give_up_capabilities()
            outcome.append(act())
        except BaseException as problem:  # noqa: BLE001 - raised again by the caller
            problems.append(problem)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if problems:
        raise problems[0]
    return outcome[0]


def _give_up_capabilities() -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, nothing) != 0:
        raise OSError(ctypes.get_errno(), "capset")
