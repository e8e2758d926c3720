"""What /proc tells of a service's processes: their roles, their memory and their descriptors."""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_KIBI = 1024
SUPERVISOR = "supervisor"


@dataclass(frozen=True, slots=True)
class Process:
    """A process of the service."""

    pid: int
    role: str
    """`supervisor`, `worker` or `keeper`."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What a process takes."""

    rss_bytes: int
    pss_bytes: int
    """Its own pages, and its share of those that others have too."""


def processes(pid: int) -> list[Process]:
    """List a supervisor and its living children, in the order of their ids."""
    with suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [Process(pid, SUPERVISOR), *(Process(int(child), _role(int(child))) for child in children)]
    return []


def memory(pid: int) -> Memory | None:
    """Return what a process takes now (proc(5), smaps_rollup); None when it has gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    fields = {name: text for name, _, text in (line.partition(":") for line in lines)}
    if "Rss" not in fields:
        return None
    return Memory(_bytes(fields["Rss"]), _bytes(fields["Pss"]))


def descriptors(pid: int, data_dir: Path) -> Counter[str]:
    """Count a process's open descriptors by kind: `socket`, `pipe`, `anon_inode`, or a folder of the data.

    SQLite has some of `ledger` for each thread that asked it. What was removed while it is
    open counts as `deleted`, whatever is elsewhere on the disk as `file`.
    """
    found: Counter[str] = Counter()
    for entry in _entries(pid):
        with suppress(OSError):
            found[_kind(str(entry.readlink()), data_dir)] += 1
    return found


def thread_count(pid: int) -> int:
    """Return how many threads a process has; 0 when it has gone."""
    with suppress(OSError):
        return len(list(Path(f"/proc/{pid}/task").iterdir()))
    return 0


def _entries(pid: int) -> list[Path]:
    with suppress(OSError):
        return list(Path(f"/proc/{pid}/fd").iterdir())
    return []


def _kind(target: str, data_dir: Path) -> str:
    if not target.startswith("/"):
        return target.partition(":")[0]
    if target.endswith(" (deleted)"):
        return "deleted"
    path = Path(target)
    return path.relative_to(data_dir).parts[0] if path.is_relative_to(data_dir) else "file"


def _role(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip().removeprefix("sstream-")
    return "gone"


def _bytes(text: str) -> int:
    return int(text.split(maxsplit=1)[0]) * _KIBI
