"""What a test leaves open of its files: nothing, or the program would run out of descriptors one day.

And a process that has run out of them.
"""

import contextlib
import gc
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

_LATER_S = 10.0


def open_below(folder: Path) -> list[str]:
    """Return the files below a folder that this process has open, also those without a name by now.

    Packed lists are closed once nobody refers to them, and the frames of an error may for a while.
    """
    found: list[str] = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(os.fspath(link.readlink()))
    below = [one for one in found if one.startswith(f"{folder}/")]
    return sorted(one for one in below if "/listings/" not in one.removeprefix(str(folder)))


@pytest.fixture(autouse=True)
def _closes_its_files(tmp_path: Path) -> Iterator[None]:
    """Hold each test to closing what was opened of its folder, once all else has been torn down.

    Threads for which nobody waits may do so a moment later: what closing a file of a slow disk takes.
    """
    yield
    until = time.monotonic() + _LATER_S
    while (left := open_below(tmp_path)) and time.monotonic() < until:
        gc.collect()  # Statements that an error ended keep a database open as long as its frames are there.
        time.sleep(0.01)
    assert left == [], left


@contextlib.contextmanager
def no_more_descriptors() -> Iterator[None]:
    """Have nothing opened by this process, for the length of the context; what is open stays so."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
