"""What was written into a tree, so that the next run changes only what changed, and nobody else's files.

    .sstream-proxy/tree.json   for each path: [sha256, size in bytes, mtime in ns]

A path is recorded before its file is written: whatever is in the record and on the disk is ours.
"""

import contextlib
import fcntl
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from proxy.store.owners import Owner
from proxy.store.schema import Count, Row, Schema, Unreadable
from proxy.system.anchor import Anchor
from proxy.system.durable import write_file
from proxy.trees.errors import TreeRefused

OURS = ".sstream-proxy"
_RECORD = "tree.json"
_LOCK = "lock"
DRAFTS = "drafts"
BEFORE = "before"
"""The `streams/` before this one: a server that has just opened it reads on, so it goes with the next run."""


class Placed(Row, frozen=True):
    """A file of ours."""

    sha256: str
    size_bytes: Count
    modified_ns: Count

    def matches(self, status: os.stat_result) -> bool:
        """Whether a regular file with this status is the one that was written, by size and date."""
        return (status.st_size, status.st_mtime_ns) == (self.size_bytes, self.modified_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeRecord:
    """All that was written into one tree and not removed since."""

    mirror: str = ""
    generation: Count = 0
    files: dict[str, Placed] = field(default_factory=dict)


_SCHEMA = Schema(TreeRecord)


class OwnFolder:
    """The folder `.sstream-proxy` of one tree: nobody but this user can put anything there."""

    def __init__(self, root: Path) -> None:
        self.path = root / OURS
        self._anchor: Anchor | None = None
        self._lock_fd = -1

    def open(self, tree: Anchor) -> None:
        """Make the folder and lock it. Raises TreeRefused while another process writes the tree; OSError."""
        with contextlib.suppress(FileExistsError):
            tree.at(OURS).mkdir(mode=0o700)
        self._anchor = anchor = Anchor(tree.at(OURS), may_be_link=False)
        status = anchor.at("").stat()
        if status.st_uid != os.geteuid():
            self.close()
            raise TreeRefused(
                f"{self.path} belongs to user {status.st_uid}, who could have {Owner.running()} write "
                "anywhere: export as that user, or remove it, or name another folder"
            )
        anchor.at("").chmod(0o700)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._lock_fd = os.open(anchor.at(_LOCK), flags, 0o600)
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise TreeRefused(
                f"another export is writing to {self.path.parent}: wait until it ends"
            ) from None
        with contextlib.suppress(FileExistsError):
            anchor.at(DRAFTS).mkdir(mode=0o700)
        for draft in (*anchor.at(f"{DRAFTS}/").iterdir(), *anchor.at("").glob(f".{_RECORD}.*")):
            draft.unlink()

    @property
    def anchor(self) -> Anchor:
        """What is in it, while it is open: `drafts/`, `before/`, and `streams/`, the next one or the last."""
        assert self._anchor is not None  # noqa: S101 - it is open
        return self._anchor

    def close(self) -> None:
        """Let others write the tree."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1
        if self._anchor is not None:
            self._anchor.close()
            self._anchor = None

    def read(self) -> TreeRecord | None:
        """Return the record; None where nothing was ever written. Raises TreeRefused or OSError."""
        path = self.path / _RECORD
        try:
            text = (path if self._anchor is None else self._anchor.at(_RECORD)).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        record = _SCHEMA.decode_text(text)
        if not isinstance(record, Unreadable) and not all(map(_is_canonical, record.files)):
            record = Unreadable("it names a file outside of the tree")
        if isinstance(record, Unreadable):
            raise TreeRefused(
                f"{path} cannot be read ({record.problem}), so nothing tells which files of the tree are "
                "ours: export to another folder, or remove this tree"
            )
        return record

    def write(self, record: TreeRecord) -> None:
        """Replace the record, durably. Raises OSError."""
        write_file(self.anchor.at(_RECORD), json.dumps(_SCHEMA.encode(record), ensure_ascii=False).encode())


def _is_canonical(path: str) -> bool:
    return not path.startswith("/") and {"", ".", ".."}.isdisjoint(path.split("/"))
