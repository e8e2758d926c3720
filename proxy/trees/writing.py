"""Writing a tree: each file under its name only once it is whole, and `streams/` at one moment."""

import os
import shutil
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from proxy.store.protocols import ReadStore
from proxy.system.durable import sync_directory
from proxy.system.exchange import exchange
from proxy.system.same_bytes import Way, link, place
from proxy.trees.planning import STREAMS, TreeFile, TreePlan, plan_tree
from proxy.trees.record import OwnFolder, Placed, TreeRecord

Note = Callable[[int], None]
"""Told of bytes that were written; what it raises ends the writing."""

_ITEM_MODE = 0o444
_DOCUMENT_MODE = 0o644
_FOLDER_MODE = 0o755
_NS = 1_000_000_000
_INDEXES = ("streams/v1/index.json", "streams/v1/index.json.gpg", "streams/v1/index.sjson")


class Gone(Exception):
    """A file that was in the store a moment ago."""


class TreeWriter:
    """The one writer of the tree in a folder, from `open` until `close`. All of it blocks.

    Everything may raise OSError; what is there by then is whole, and the next run goes on.
    """

    def __init__(self, root: Path, store: ReadStore, *, may_link: bool = True) -> None:
        self.root = root
        self._store = store
        self._own = OwnFolder(root)
        self._record = TreeRecord()
        self._files: dict[str, Placed] = {}
        """What is ours in the end."""
        self._plan = TreePlan()
        self._may_link = may_link
        self._folders: set[Path] = set()

    def look(self, wanted: Iterable[TreeFile]) -> TreePlan:
        """Return what has to be done, and change nothing. Raises TreeRefused too."""
        record = self._own.read()
        self._record = record or TreeRecord()
        self._plan = plan_tree(self.root, record, wanted, self._store)
        return self._plan

    def open(self) -> None:
        """Become the writer. Raises TreeRefused while another process is."""
        _make_folder(self.root)
        self._own.open()

    def close(self) -> None:
        """Let others write the tree."""
        self._own.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def begin(self, mirror: str, generation: int) -> None:
        """Record what will be ours, before any of it is there. After `look`."""
        self._restore_strangers()
        plan = self._plan
        self._record = TreeRecord(mirror=mirror, generation=generation, files={**self._record.files})
        coming = {one.path: _placed(one, one.modified_s * _NS) for one in plan.placed}
        if coming:
            self._own.write(replace(self._record, files={**self._record.files, **coming}))
        self._files = {**plan.left, **plan.kept}

    def place(self, one: TreeFile, note: Note) -> Way:
        """Put an item, or a document outside of `streams/`, under its name. Raises Gone too."""
        target = self.root / one.path
        self._make_folders(target.parent)
        blob = self._store.open(one.digest, one.size_bytes)
        if blob is None:
            raise Gone
        with blob:
            if not one.is_document and self._may_link and self._link(blob.fd, target):
                way = Way.LINKED
                note(one.size_bytes)
            else:
                mode = _DOCUMENT_MODE if one.is_document else _ITEM_MODE
                draft = self._own.drafts / one.digest
                way = place(blob.fd, draft, mode, self._date_ns(one), note)
                draft.replace(target)
        self._files[one.path] = _placed(one, target.lstat().st_mtime_ns)
        return way

    def publish(self, documents: Iterable[TreeFile]) -> None:
        """Put new documents into `streams/`, all at one moment where the file system can do that."""
        new = [one for one in documents if one.is_in_streams]
        if not new:
            return
        is_first = not os.path.lexists(self.root / STREAMS)
        if not self._stage(new):
            self._publish_one_by_one(new)
        elif is_first:
            self._own.staged.rename(self.root / STREAMS)
        elif exchange(self._own.staged, self.root / STREAMS):
            self._restore_strangers()
        else:
            self._publish_one_by_one(new)
        sync_directory(self.root)

    def remove_left(self) -> list[str]:
        """Remove what is ours and not named any more; return what somebody has changed, which stays."""
        changed = []
        for path, placed in self._plan.left.items():
            target = self.root / path
            with suppress(FileNotFoundError, NotADirectoryError):
                status = target.lstat()
                if not stat.S_ISREG(status.st_mode) or not placed.matches(status):
                    changed.append(path)
                    continue
                target.unlink()
                self._remove_empty(target.parent)
            self._files.pop(path, None)
        return changed

    def finish(self) -> None:
        """Record what is ours now."""
        record = replace(self._record, files=dict(sorted(self._files.items())))
        if record != self._own.read():
            self._own.write(record)

    # Items

    def _link(self, fd: int, target: Path) -> bool:
        """Link a blob to a name; return False where that cannot be, now or ever."""
        try:
            self._may_link = link(fd, target)
        except FileExistsError:
            draft = self._own.drafts / "link"
            draft.unlink(missing_ok=True)
            self._may_link = link(fd, draft)
            if self._may_link:
                draft.replace(target)
                draft.unlink(missing_ok=True)  # Both names were of the same file: then nothing is renamed.
        return self._may_link

    def _make_folders(self, folder: Path) -> None:
        if folder == self.root or folder in self._folders:
            return
        self._make_folders(folder.parent)
        _make_folder(folder)
        self._folders.add(folder)

    def _remove_empty(self, folder: Path) -> None:
        with suppress(OSError):
            while folder != self.root:
                folder.rmdir()
                self._folders.discard(folder)
                folder = folder.parent

    # Documents

    def _stage(self, new: Iterable[TreeFile]) -> bool:
        """Make the next `streams/`; return False where files cannot be linked."""
        staged = self._own.staged
        replaced = {one.path for one in new}
        staged.mkdir()
        staged.chmod(_FOLDER_MODE)
        if os.path.lexists(self.root / STREAMS) and not self._link_tree(
            self.root / STREAMS, staged, replaced
        ):
            shutil.rmtree(staged)
            return False
        for one in new:
            self._write_document(one, self._own.path / one.path)
        return True

    def _link_tree(self, source: Path, target: Path, but: set[str]) -> bool:
        for entry in os.scandir(source):
            name = target / entry.name
            if entry.is_dir(follow_symlinks=False):
                name.mkdir()
                shutil.copystat(entry.path, name, follow_symlinks=False)
                if not self._link_tree(Path(entry.path), name, but):
                    return False
            elif os.path.relpath(entry.path, self.root) not in but:
                try:
                    os.link(entry.path, name, follow_symlinks=False)
                except PermissionError:
                    return False
        return True

    def _publish_one_by_one(self, new: Iterable[TreeFile]) -> None:
        """Replace documents each at one moment, indexes last: none is ever missing."""
        for one in sorted(new, key=lambda one: (one.path in _INDEXES, one.path)):
            draft = self._own.drafts / one.digest
            self._write_document(one, draft)
            self._make_folders((self.root / one.path).parent)
            draft.replace(self.root / one.path)

    def _write_document(self, one: TreeFile, target: Path) -> None:
        for folder in reversed([folder for folder in target.parents if self._own.path in folder.parents]):
            _make_folder(folder)
        modified_ns = self._date_ns(one)
        blob = self._store.open(one.digest, one.size_bytes)
        if blob is None:
            raise Gone
        with blob:
            place(blob.fd, target, _DOCUMENT_MODE, modified_ns, lambda _: None)
        self._files[one.path] = _placed(one, modified_ns)

    def _date_ns(self, one: TreeFile) -> int:
        """Return the mtime of a new file: later than that of the document that it replaces."""
        date_ns = one.modified_s * _NS
        if one.is_document:
            with suppress(FileNotFoundError):
                before_ns = (self.root / one.path).lstat().st_mtime_ns
                if before_ns >= date_ns:
                    return (before_ns // _NS + 1) * _NS
        return date_ns

    def _restore_strangers(self) -> None:
        """Remove the `streams/` before this one; what a stranger has put there meanwhile goes into this."""
        staged = self._own.staged
        for folder, _, names in os.walk(staged):
            for name in names:
                lies = Path(folder, name)
                belongs = self.root / STREAMS / lies.relative_to(staged)
                path = os.path.relpath(belongs, self.root)
                if (
                    path not in self._record.files
                    and path not in self._files
                    and not os.path.lexists(belongs)
                ):
                    belongs.parent.mkdir(parents=True, exist_ok=True)
                    lies.rename(belongs)
        shutil.rmtree(staged, ignore_errors=True)


def _placed(one: TreeFile, modified_ns: int) -> Placed:
    return Placed(one.digest, one.size_bytes, modified_ns)


def _make_folder(folder: Path) -> None:
    """Make a folder that servers can read, whatever the umask, unless it is there."""
    try:
        folder.mkdir()
    except FileExistsError:
        return
    folder.chmod(_FOLDER_MODE)
