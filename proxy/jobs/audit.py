"""The audit log: one JSON object a line on what an operator did, whichever process did it.

Commands have no log but the terminal of whoever typed them; a server tells in its
own log what they write down here.
"""

import contextlib
import json
import logging
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from proxy.system.threads import Threads

log = logging.getLogger(__name__)

_NAME = "audit.log"
_MOST_BYTES = 256 * 1024
"""Read at a time; the rest is read the next time."""
_LONGEST = 500
BY_COMMAND = "user "
"""How `by` begins when somebody used the command line."""


def audit_file(data_dir: Path) -> Path:
    """Return where it is."""
    return data_dir / _NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What an action came to."""

    action: str
    text: str
    """In words."""
    blobs: int = 0
    bytes: int = 0
    pins: tuple[str, ...] = ()
    """What keeps blobs that were meant and are still here."""
    problem: str = ""
    """Why it did not come about, or not in full."""


class Audit:
    """Writes down what one operator does."""

    def __init__(self, threads: Threads, data_dir: Path, by: str) -> None:
        """Name the operator `by`; commands begin that with BY_COMMAND."""
        self._threads = threads
        self._path = audit_file(data_dir)
        self._by = by

    async def write_down(self, done: Done, what: str) -> None:
        """Write down, in the log and in a file beside the store, what was done to what.

        It is done, and the log tells of it: a full disk does not make that look otherwise.
        """
        _tell(done.action, self._by, what, done.blobs, done.bytes, done.text)
        line = {"time": round(time.time(), 3), "by": self._by, "what": what, **asdict(done)}
        try:
            await self._threads.disk(append, self._path, line)
        except OSError as error:
            log.error("audit.not_written problem=%s", error)  # noqa: TRY400


def append(path: Path, line: dict[str, Any]) -> None:
    """Append a line. Blocks; raises OSError."""
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{json.dumps(line)}\n")


class AuditReader:
    """Reads what is added from now on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_bytes = 0
        with contextlib.suppress(OSError):
            self._read_bytes = path.stat().st_size

    def tell_commands(self) -> None:
        """Log what commands did since the last time. Blocks; raises OSError."""
        for line in self._added():
            try:
                said = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(said, dict) and str(said.get("by")).startswith(BY_COMMAND):
                action, by, what, text = (_short(said.get(key)) for key in ("action", "by", "what", "text"))
                _tell(action, by, what, _count(said.get("blobs")), _count(said.get("bytes")), text)

    def _added(self) -> list[bytes]:
        """Return the whole lines that were added; a file that became shorter is another one."""
        try:
            with self._path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                self._read_bytes = self._read_bytes if size >= self._read_bytes else 0
                file.seek(self._read_bytes)
                added = file.read(_MOST_BYTES)
        except FileNotFoundError:
            self._read_bytes = 0
            return []
        whole = added[: added.rfind(b"\n") + 1] or (added if len(added) == _MOST_BYTES else b"")
        self._read_bytes += len(whole)
        return whole.splitlines()


def _tell(action: str, by: str, what: str, blobs: int, size_bytes: int, text: str) -> None:
    log.info(
        "admin.done action=%s by=%s what=%s blobs=%d bytes=%d text=%s",
        action, by, what, blobs, size_bytes, text,
    )  # fmt: skip


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


def _short(value: object) -> str:
    return str(value)[:_LONGEST]
