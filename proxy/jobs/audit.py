"""The audit log: one JSON object a line on what an operator did, whichever process did it.

Commands have no log but the terminal of whoever typed them; a server tells in its
own log what they write down here.
"""

import contextlib
import json
import logging
import os
from pathlib import Path
from typing import Any

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


def write_down(path: Path, line: dict[str, Any]) -> None:
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
                by, what, text, action = (_short(said.get(key)) for key in ("by", "what", "text", "action"))
                log.info(
                    "admin.done action=%s by=%s what=%s blobs=%s bytes=%s text=%s",
                    action, by, what, _short(said.get("blobs")), _short(said.get("bytes")), text,
                )  # fmt: skip

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


def _short(value: object) -> str:
    return str(value)[:_LONGEST]
