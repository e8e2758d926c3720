"""Processes: starting and ending them, where they run, and what a whole tree of them uses."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
_ALL_CPUS = sorted(os.sched_getaffinity(0))
SERVER_CPUS = set(_ALL_CPUS[:1])
"""Where a server of one worker runs while it is measured."""
LOAD_CPUS = set(_ALL_CPUS[1:] or _ALL_CPUS)
"""Where the load runs: anywhere else, if there is anywhere else."""
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_CPU_CLOCK = 2
_START_S = 60.0
_END_S = 60.0
_TOLD_CHARACTERS = 2000


@dataclass(frozen=True)
class Server:
    """A running server."""

    name: str
    base: str
    pid: int
    others: tuple[int, ...] = ()
    """Processes that belong to it but are no children of the first one."""

    def pids(self) -> list[int]:
        """Return all of its processes: those named, their children, theirs, and so on."""
        return [pid for root in (self.pid, *self.others) for pid in _tree(root)]

    def pin(self, cpus: set[int]) -> None:
        """Keep all of its threads, and those to come, on some CPUs."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    with contextlib.suppress(ProcessLookupError):
                        os.sched_setaffinity(int(task.name), cpus)

    def cpu_s(self) -> float:
        """Return the CPU seconds of the whole tree so far, ended children included."""
        return sum(_cpu_s(pid) for pid in self.pids())

    def memory_bytes(self) -> int:
        """Return the memory of the whole tree now, what is shared counted once (PSS)."""
        return sum(_kib_field(pid, "smaps_rollup", "Pss:") * 1024 for pid in self.pids())

    def peak_rss_bytes(self) -> int:
        """Return the largest peak memory of any of its processes."""
        return max(_kib_field(pid, "status", "VmHWM:") * 1024 for pid in self.pids())


def free_port() -> int:
    """Return a loopback port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def direct_environment() -> dict[str, str]:
    """Return the environment without proxies, as everything here is on loopback.

    Nor does it keep Python from writing its bytecode: what is installed has that.
    """
    without = {name for name in os.environ if name.lower().endswith("_proxy")} | {"PYTHONDONTWRITEBYTECODE"}
    return {name: value for name, value in os.environ.items() if name not in without}


@contextlib.contextmanager
def running(
    command: list[str],
    port: int,
    environment: Mapping[str, str] | None = None,
    *,
    stderr: int | None = None,
) -> Iterator[int]:
    """Run a server in the foreground; yield its process id once it accepts connections, end it after.

    What it writes to standard error goes to a descriptor, or is printed when something breaks.
    """
    surroundings = direct_environment() | dict(environment or {})
    with tempfile.TemporaryFile() as told:
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=stderr or told, cwd=HERE, env=surroundings
        )
        try:
            _wait_for(port, process)
            yield process.pid
        except BaseException:
            told.seek(0)
            print(told.read().decode(errors="replace")[-_TOLD_CHARACTERS:], file=sys.stderr)
            raise
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.01)
    raise RuntimeError(f"{process.args!r} does not answer on port {port}")


def _tree(pid: int) -> list[int]:
    pids = [pid]
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                pids += _tree(int(child))
    return pids


def _cpu_s(pid: int) -> float:
    """Return the CPU time of a process, by its own clock (clock_getcpuclockid(3)), and of ended children."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children_s = (int(fields[13]) + int(fields[14])) / _TICKS_PER_S
        return time.clock_gettime((~pid << 3) | _CPU_CLOCK) + children_s
    return 0.0


def _kib_field(pid: int, file: str, field: str) -> int:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1])
    return 0
