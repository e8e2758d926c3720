"""What has to be done so that a folder becomes a mirror's tree: a look at each name that changes nothing."""

import hashlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from proxy.digest import Digest
from proxy.readable import first_few
from proxy.store.protocols import ReadStore
from proxy.trees.errors import TreeRefused
from proxy.trees.record import OURS, Placed, TreeRecord

STREAMS = "streams"
_LONGEST_NAME = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeFile:
    """A file that the tree is to have."""

    path: str
    digest: Digest
    size_bytes: int
    modified_s: int
    """Unix seconds."""
    is_document: bool = False

    @property
    def is_in_streams(self) -> bool:
        """Whether it lies in the folder that is exchanged as a whole."""
        return self.path.startswith(f"{STREAMS}/")


@dataclass(slots=True, kw_only=True)
class TreePlan:
    """What becomes of each file."""

    kept: dict[str, Placed] = field(default_factory=dict)
    """Those of ours that stay as they are."""
    strangers: list[str] = field(default_factory=list)
    """Those that somebody else has put there, and that are right."""
    placed: list[TreeFile] = field(default_factory=list)
    """Those that are new, or replace a file of ours."""
    lacking: list[TreeFile] = field(default_factory=list)
    """Those that are neither in the tree nor in the store."""
    impossible: dict[str, str] = field(default_factory=dict)
    """Those that no folder can hold, and why."""
    left: dict[str, Placed] = field(default_factory=dict)
    """Those of ours that the lists do not name any more, or that were not selected this time."""

    @property
    def placed_bytes(self) -> int:
        """How many bytes are new."""
        return sum(one.size_bytes for one in self.placed)


def plan_tree(
    root: Path, record: TreeRecord | None, wanted: Iterable[TreeFile], store: ReadStore
) -> TreePlan:
    """Compare a folder with what it is to have. Blocks; raises TreeRefused, or OSError.

    Refused is a folder in which a stranger's file or link stands in the way: nothing of it is replaced.
    """
    ours = {} if record is None else record.files
    if record is None and os.path.lexists(root / STREAMS):
        raise TreeRefused(
            f"{root} has a tree that this command has not written: name an empty folder"
            f" (or take it into the cache with `sstream-proxy import --tree {root}`, and remove it)"
        )
    plan, folders, in_the_way = TreePlan(), _Folders(root), []
    files = {one.path: one for one in wanted}
    paths_of_folders = {folder for path in files for folder in _parents(path)}
    for path, one in files.items():
        problem = _never(path) or (
            "another file needs a folder of that name" if path in paths_of_folders else ""
        )
        if problem:
            plan.impossible[path] = problem
        elif (blocked := folders.blocked(path)) is not None:
            in_the_way.append(blocked)
        elif not _sort(plan, root, one, ours.get(path), store):
            in_the_way.append(path)
    if in_the_way:
        raise TreeRefused(
            f"in {root} there are files that this command has not written, where the mirror has others: "
            f"{first_few(sorted(set(in_the_way)))}; move them away, or name another folder"
        )
    plan.left = {path: one for path, one in ours.items() if path not in files}
    return plan


def _sort(plan: TreePlan, root: Path, one: TreeFile, placed: Placed | None, store: ReadStore) -> bool:
    """Say in the plan what becomes of a file; return False when a stranger's is in its way."""
    try:
        status = (root / one.path).lstat()
    except FileNotFoundError:
        status = None
    if status is not None:
        is_file = stat.S_ISREG(status.st_mode)
        if placed is None:
            if not is_file or not _has(root / one.path, one):
                return False
            plan.strangers.append(one.path)
            return True
        if (
            is_file
            and placed.sha256 == one.digest
            and (placed.matches(status) or _was_placed(root / one.path, one, status, store))
        ):
            plan.kept[one.path] = Placed(one.digest, one.size_bytes, status.st_mtime_ns)
            return True
    (plan.placed if store.is_whole(one.digest, one.size_bytes) else plan.lacking).append(one)
    return True


def _was_placed(path: Path, one: TreeFile, status: os.stat_result, store: ReadStore) -> bool:
    """Whether a file is right that is recorded with another date: the run that placed it was killed."""
    blob = store.open(one.digest, one.size_bytes)
    if blob is None:
        return _has(path, one)
    with blob:
        return os.path.samestat(os.fstat(blob.fd), status)


def _has(path: Path, one: TreeFile) -> bool:
    """Whether a file has the bytes of another one. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size != one.size_bytes:
            return False
        return hashlib.file_digest(file, "sha256").hexdigest() == one.digest


def _never(path: str) -> str:
    """Return why no tree can have a file of that name, "" when it can."""
    if path.split("/", 1)[0] == OURS:
        return f"{OURS}/ is for the record of the tree"
    if any(len(os.fsencode(name)) > _LONGEST_NAME for name in path.split("/")):
        return f"a name in it is longer than {_LONGEST_NAME} bytes"
    return ""


def _parents(path: str) -> list[str]:
    names = path.split("/")[:-1]
    return ["/".join(names[: count + 1]) for count in range(len(names))]


class _Folders:
    """The folders of a tree, each looked at once: none may be a link, which leads elsewhere, or a file."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[str, bool] = {}

    def blocked(self, path: str) -> str | None:
        """Return what stands where a path needs a folder."""
        for folder in _parents(path):
            if folder not in self._known:
                try:
                    self._known[folder] = stat.S_ISDIR((self._root / folder).lstat().st_mode)
                except FileNotFoundError:
                    self._known[folder] = True
            if not self._known[folder]:
                return folder
        return None
