"""The machine and the versions that figures belong to."""

import contextlib
import mmap
import os
import platform
import shutil
import ssl
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import network
import pace
from processes import HERE

_TELL_VERSION = {
    "nginx": ["nginx", "-v"],
    "Apache": ["apache2", "-v"],
    "Squid": ["squid", "-v"],
    "Varnish": ["varnishd", "-V"],
    "wrk": ["wrk", "-v"],
}
_TOUCHED_PIECE_BYTES = 512 * 1024
_COMPACT_MEMORY = Path("/proc/sys/vm/compact_memory")


def describe() -> dict[str, str]:
    """Return what a reader has to know to compare figures: name to text."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "CPU": f"{_cpu_model()}, {len(os.sched_getaffinity(0))} in use",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "free memory": "put together before each scenario" if _may_compact() else "as it was found",
        "kernel": f"{platform.system()} {platform.release()}",
        "pace": pace.describe(),
        "network": network.describe(),
        "Python": f"{platform.python_version()}, {_who_built_python()}",
        **{name: version(name) for name in ("aiohttp", "uvloop")},
        "OpenSSL": ssl.OPENSSL_VERSION,
        **{name: _first_line(command) for name, command in _TELL_VERSION.items()},
    }


def touch_free_memory(size_bytes: int) -> None:
    """Use memory and free it, so that what runs next gets pages that are really there.

    A guest that reports free memory to its host has to get it back page by page: that costs whoever
    uses it first many times what the work itself does.
    """
    size_bytes = min(size_bytes, _free_bytes())
    if not size_bytes:
        return
    with mmap.mmap(-1, size_bytes) as memory:
        with contextlib.suppress(OSError):  # A kernel without huge pages.
            memory.madvise(mmap.MADV_HUGEPAGE)
        for offset in range(0, len(memory), mmap.PAGESIZE):
            memory[offset] = 1


def join_free_memory() -> None:
    """Have the kernel put free memory together, if that is allowed here, as after a start of the machine.

    Whoever writes or sends much at a time gets many pages at once where they lie side by side. After a day of
    other work they do not: then that takes up to a third more CPU time, and who handles little pieces none.
    """
    with contextlib.suppress(OSError):
        _COMPACT_MEMORY.write_text("1")


def touch_page_cache(folder: Path, size_bytes: int) -> None:
    """Write files into a folder and remove them, for the same reason.

    What `touch_free_memory` gives back lies in blocks that the page cache takes last.
    """
    data = bytes(_TOUCHED_PIECE_BYTES)
    file = folder / "touched"
    with file.open("wb", buffering=0) as writing:
        for _ in range(size_bytes // len(data)):
            writing.write(data)
    file.unlink()


def load_average() -> str:
    """Return the load averages of 1, 5 and 15 minutes."""
    return " ".join(f"{one:.2f}" for one in os.getloadavg())


def _may_compact() -> bool:
    return os.access(_COMPACT_MEMORY, os.W_OK)


def _free_bytes() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemFree:"):
            return int(line.split()[1]) * 1024
    return 0


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _who_built_python() -> str:
    """Return whose interpreter runs ours: one built without profiles takes up to twice as long.

    The package runs the distribution's.
    """
    program = os.path.realpath(sys.executable)
    asked = ["dpkg-query", "--search", program]
    if shutil.which(asked[0]) is not None:
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            package = done.stdout.partition(":")[0]
            return f"{package} of {platform.freedesktop_os_release()['PRETTY_NAME']}"
    options = sysconfig.get_config_var("CONFIG_ARGS") or ""
    how = "with" if "--enable-optimizations" in options else "without"
    return f"no package's, configured {how} --enable-optimizations"


def _first_line(command: Sequence[str]) -> str:
    if shutil.which(command[0]) is None:
        return "not installed"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    told = (done.stdout + done.stderr).strip().splitlines()
    return told[0] if told else "unknown"


def _commit() -> str:
    git = ["git", "-C", str(HERE), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    done = subprocess.run(git, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "no checkout"
