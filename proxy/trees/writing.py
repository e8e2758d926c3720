"""Writing a tree: each file under its name only once it is whole, and `streams/` at one moment."""

import errno
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
from proxy.system.anchor import FOLDER_MODE, Anchor
from proxy.system.durable import sync_directory
from proxy.system.exchange import exchange
from proxy.system.file_copies import place_durably
from proxy.system.same_bytes import Way, link
from proxy.trees.errors import TreeRefused
from proxy.trees.planning import STREAMS, TreeFile, TreePlan, plan_tree
from proxy.trees.record import BEFORE, DRAFTS, OwnFolder, Placed, TreeRecord

Note = Callable[[int], None]
"""Told of bytes that were written; what it raises ends the writing."""

_ITEM_MODE = 0o444
_DOCUMENT_MODE = 0o644
_NS = 1_000_000_000
_INDEXES = ("streams/v1/index.json", "streams/v1/index.json.gpg", "streams/v1/index.sjson")


class Gone(Exception):
    """A file that was in the store a moment ago."""


class TreeWriter:
    """The one writer of the tree in a folder, from `open` until `close`. All of it blocks.

    Everything may raise OSError; what is there by then is whole, and the next run goes on.
    """

    def __init__(
        self, root: Path, store: ReadStore, *, may_link: bool = True, may_be_link: bool = True
    ) -> None:
        """Write into `root`, which may be a link if whoever runs this has named it, not its parent."""
        self.root = root
        self._may_be_link = may_be_link
        self._anchor: Anchor | None = None
        self._store = store
        self._own = OwnFolder(root)
        self._record = TreeRecord()
        self._files: dict[str, Placed] = {}
        """What is ours in the end."""
        self._plan = TreePlan()
        self._may_link = may_link

    def look(self, wanted: Iterable[TreeFile]) -> TreePlan:
        """Return what has to be done, and change nothing. Raises TreeRefused too."""
        record = self._own.read()
        self._record = record or TreeRecord()
        self._plan = plan_tree(self.root, record, wanted, self._store)
        return self._plan

    def open(self) -> None:
        """Become the writer. Raises TreeRefused while another process is."""
        is_new = True
        try:
            if not self._may_be_link:
                _make_named(self.root.parent)
            self.root.mkdir()
        except FileExistsError:
            is_new = False
        try:
            self._anchor = Anchor(self.root, may_be_link=self._may_be_link and not is_new)
        except OSError as error:
            if error.errno == errno.ENOTDIR and self.root.is_symlink():
                raise TreeRefused(f"{self.root} is a link: name the folder to which it leads") from error
            raise
        try:
            if is_new:
                self._tree.at("").chmod(FOLDER_MODE)
            self._own.open(self._tree)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let others write the tree."""
        self._own.close()
        if self._anchor is not None:
            self._anchor.close()
            self._anchor = None

    @property
    def _tree(self) -> Anchor:
        assert self._anchor is not None  # noqa: S101 - it is open
        return self._anchor

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
        for name in (STREAMS, BEFORE):
            shutil.rmtree(self._own.anchor.at(name), ignore_errors=True)
        plan = self._plan
        self._record = TreeRecord(mirror=mirror, generation=generation, files={**self._record.files})
        coming = {one.path: _placed(one, one.modified_s * _NS) for one in plan.placed}
        if coming:
            self._own.write(replace(self._record, files={**self._record.files, **coming}))
        self._files = {**plan.left, **plan.kept}

    def place(self, one: TreeFile, note: Note) -> Way:
        """Put an item, or a document outside of `streams/`, under its name. Raises Gone too."""
        self._tree.make(_parent(one.path))
        target = self._tree.at(one.path)
        blob = self._store.open(one.digest, one.size_bytes)
        if blob is None:
            raise Gone
        with blob:
            if not one.is_document and self._may_link and self._link(blob.fd, target):
                way = Way.LINKED
                note(one.size_bytes)
            else:
                mode = _DOCUMENT_MODE if one.is_document else _ITEM_MODE
                draft = self._own.anchor.at(f"{DRAFTS}/{one.digest}")
                way = place_durably(blob.fd, draft, mode, self._date_ns(one), note)
                draft.replace(target)
        self._files[one.path] = _placed(one, target.lstat().st_mtime_ns)
        return way

    def publish(self, documents: Iterable[TreeFile]) -> None:
        """Put new documents into `streams/`, all at one moment where the file system can do that."""
        new = [one for one in documents if one.is_in_streams]
        if not new:
            return
        tree, own = self._tree, self._own.anchor
        is_first = not os.path.lexists(tree.at(STREAMS))
        if not self._stage(new):
            self._publish_one_by_one(new)
        elif is_first:
            own.at(STREAMS).rename(tree.at(STREAMS))
        elif exchange(own.at(STREAMS), tree.at(STREAMS)):
            self._restore_strangers()
            with suppress(FileNotFoundError):  # Unless it was a link.
                own.at(STREAMS).rename(own.at(BEFORE))
        else:
            self._publish_one_by_one(new)
        tree.forget()
        own.forget()
        sync_directory(tree.at(""))

    def remove_left(self) -> list[str]:
        """Remove what is ours and not named any more; return what somebody has changed, which stays."""
        changed = []
        for path, placed in self._plan.left.items():
            with suppress(FileNotFoundError, NotADirectoryError):
                target = self._tree.at(path)
                status = target.lstat()
                if not stat.S_ISREG(status.st_mode) or not placed.matches(status):
                    changed.append(path)
                    continue
                target.unlink()
                self._remove_empty(_parent(path))
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
            draft = self._own.anchor.at(f"{DRAFTS}/link")
            draft.unlink(missing_ok=True)
            self._may_link = link(fd, draft)
            if self._may_link:
                draft.replace(target)
                draft.unlink(missing_ok=True)  # Both names were of the same file: then nothing is renamed.
        return self._may_link

    def _remove_empty(self, folder: str) -> None:
        with suppress(OSError):
            while folder:
                self._tree.remove(folder)
                folder = _parent(folder)

    # Documents

    def _stage(self, new: Iterable[TreeFile]) -> bool:
        """Make the next `streams/`; return False where files cannot be linked."""
        replaced = {one.path for one in new}
        own = self._own.anchor
        own.make(STREAMS)
        if os.path.lexists(self._tree.at(STREAMS)) and not self._link_tree(STREAMS, replaced):
            own.forget()
            shutil.rmtree(own.at(STREAMS))
            return False
        for one in new:
            own.make(_parent(one.path))
            self._write_document(one, own.at(one.path))
        return True

    def _link_tree(self, folder: str, but: set[str]) -> bool:
        """Link what is in a folder of the tree into that of our folder; return False where that cannot be."""
        tree, own = self._tree, self._own.anchor
        with os.scandir(tree.at(f"{folder}/")) as entries:
            found = [(f"{folder}/{one.name}", one.is_dir(follow_symlinks=False)) for one in entries]
        for path, is_folder in found:
            if is_folder:
                own.make(path)
                shutil.copystat(tree.at(f"{path}/"), own.at(f"{path}/"))
                if not self._link_tree(path, but):
                    return False
            elif path not in but:
                try:
                    os.link(tree.at(path), own.at(path), follow_symlinks=False)
                except PermissionError:
                    return False
        return True

    def _publish_one_by_one(self, new: Iterable[TreeFile]) -> None:
        """Replace documents each at one moment, indexes last: none is ever missing."""
        for one in sorted(new, key=lambda one: (one.path in _INDEXES, one.path)):
            draft = self._own.anchor.at(f"{DRAFTS}/{one.digest}")
            self._write_document(one, draft)
            self._tree.make(_parent(one.path))
            draft.replace(self._tree.at(one.path))

    def _write_document(self, one: TreeFile, target: Path) -> None:
        modified_ns = self._date_ns(one)
        blob = self._store.open(one.digest, one.size_bytes)
        if blob is None:
            raise Gone
        with blob:
            place_durably(blob.fd, target, _DOCUMENT_MODE, modified_ns, lambda _: None)
        self._files[one.path] = _placed(one, modified_ns)

    def _date_ns(self, one: TreeFile) -> int:
        """Return the mtime of a new file: later than that of the document that it replaces."""
        date_ns = one.modified_s * _NS
        if one.is_document:
            with suppress(FileNotFoundError):
                before_ns = self._tree.at(one.path).lstat().st_mtime_ns
                if before_ns >= date_ns:
                    return (before_ns // _NS + 1) * _NS
        return date_ns

    def _restore_strangers(self) -> None:
        """Move what a stranger has put into the `streams/` before this one into this."""
        own, tree = self._own.anchor, self._tree
        own.forget()
        tree.forget()
        staged = own.at(STREAMS)
        if not os.path.lexists(staged):
            return
        if not stat.S_ISDIR(staged.lstat().st_mode):  # Somebody has put it in the place of the tree's.
            staged.unlink()
            return
        for folder, _, names, fd in os.fwalk(staged):
            inside = f"{STREAMS}{folder.removeprefix(str(staged))}"
            for name in names:
                path = f"{inside}/{name}"
                if path in self._record.files or path in self._files:
                    continue
                tree.make(inside)
                if not os.path.lexists(tree.at(path)):
                    os.rename(name, tree.at(path), src_dir_fd=fd)


def _placed(one: TreeFile, modified_ns: int) -> Placed:
    return Placed(one.digest, one.size_bytes, modified_ns)


def _make_named(folder: Path) -> None:
    """Make the folder in which each of several trees has its own, unless it is there."""
    with suppress(FileExistsError):
        folder.mkdir()
        folder.chmod(FOLDER_MODE)


def _parent(path: str) -> str:
    return path.rpartition("/")[0]
