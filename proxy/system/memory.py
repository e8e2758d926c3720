"""How the C library keeps the memory of a process together.

glibc gives each thread an arena of its own (mallopt(3), M_ARENA_MAX). What one
thread lets go of is no use to the others then, and a process of a dozen threads
through which images pass keeps far more than it needs.
"""

import contextlib
import ctypes

_M_ARENA_MAX = -8
_ARENAS = 2
"""One for the event loop, one that the threads share."""


def share_arenas() -> None:
    """Let the threads to come share memory; with another C library than glibc do nothing."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)
