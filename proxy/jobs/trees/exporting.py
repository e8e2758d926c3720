"""Writing what is here as a static tree: items first, then the documents that name them.

The documents are upstream's own, so they name whatever upstream has, and not only what is here.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from proxy.bundles.contents import Contents
from proxy.digest import Digest
from proxy.jobs.trees.files import tree_files
from proxy.progress import Progress
from proxy.readable import size
from proxy.service.cache import Cache
from proxy.store.files import StoreFault
from proxy.system.file_systems import device, free_bytes
from proxy.system.same_bytes import Way
from proxy.system.threads import ended, unless_cancelled
from proxy.trees.errors import TreeFault, TreeRefused
from proxy.trees.planning import TreeFile, TreePlan
from proxy.trees.writing import Gone, TreeWriter

_Result = TypeVar("_Result")


class _Stopped(Exception):
    """The export was interrupted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeOrder:
    """Which generation of a mirror becomes the tree in which folder."""

    contents: Contents
    """What is selected."""
    folder: Path
    deletes: bool = False
    """Whether files of ours go that are not selected any more."""
    may_link: bool = True
    """Whether items may be the cache's own files under another name."""
    may_be_link: bool = True
    """Whether the folder itself may be a link."""


@dataclass(slots=True, kw_only=True)
class TreeReport:
    """What has come of one tree."""

    order: TreeOrder
    plan: TreePlan
    ways: dict[Way, int] = field(default_factory=dict)
    """How many files came to it how."""
    lacking: list[TreeFile] = field(default_factory=list)
    """What is selected and neither here nor in the tree."""
    removed: int = 0
    changed: list[str] = field(default_factory=list)
    """What was to be removed, and stays, since somebody has changed it."""
    unselected: int = 0
    """How many items the lists name beyond the selection."""
    is_written: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether the tree has all that is selected."""
        return self.is_written and not (self.lacking or self.plan.impossible)


class TreeExport:
    """Writes trees, one after the other."""

    def __init__(self, cache: Cache, progress: Progress) -> None:
        self._cache = cache
        self._progress = progress
        self._is_stopped = False

    async def look(self, order: TreeOrder) -> TreeReport:
        """Return what would be written, and change nothing. Raises TreeRefused, TreeFault, NoGeneration."""
        writer, files = await self._prepared(order)
        plan = await self._in_thread(order, lambda: writer.look(files))
        return await self._reported(order, plan)

    async def run(self, order: TreeOrder) -> TreeReport:
        """Write a tree. Raises TreeRefused, TreeFault, StoreFault and NoGeneration."""
        writer, files = await self._prepared(order)
        # Before anything is made in a folder that is refused.
        first = await self._in_thread(order, lambda: writer.look(files))
        await self._in_thread(order, lambda: self._check_room(order, first))
        await self._in_thread(order, writer.open)
        try:
            plan = await self._in_thread(order, lambda: writer.look(files))
            report = await self._reported(order, plan)
            await self._write(order, writer, report)
        finally:
            writer.close()
        report.is_written = True
        return report

    async def _prepared(self, order: TreeOrder) -> tuple[TreeWriter, list[TreeFile]]:
        mirror = order.contents.mirror
        edition = await self._cache.edition(mirror)
        stated = {one.digest: one.updated for one in edition.generation.documents.values()}
        files = tree_files(order.contents, stated)
        writer = TreeWriter(
            order.folder,
            self._cache.storage.store,
            may_link=order.may_link,
            may_be_link=order.may_be_link,
        )
        return writer, files

    async def _reported(self, order: TreeOrder, plan: TreePlan) -> TreeReport:
        edition = await self._cache.edition(order.contents.mirror)
        listed = await self._cache.storage.threads.slow(len, edition.catalog)
        return TreeReport(
            order=order,
            plan=plan,
            lacking=[*plan.lacking],
            unselected=max(0, listed - len(order.contents.items)),
        )

    def _check_room(self, order: TreeOrder, plan: TreePlan) -> None:
        """Raise TreeFault for copies that do not fit."""
        if order.may_link and device(order.folder) == device(self._cache.storage.data_dir):
            return
        free = free_bytes(order.folder)
        if plan.placed_bytes > free:
            raise TreeFault(
                f"{size(plan.placed_bytes)} are to be copied to {order.folder}, and {size(free)} are "
                "free there: free space, or name a folder on the file system of the data directory, where "
                "items are linked"
            )

    async def _write(self, order: TreeOrder, writer: TreeWriter, report: TreeReport) -> None:
        plan, contents = report.plan, order.contents
        documents = [one for one in plan.placed if one.is_document]
        items = [one for one in plan.placed if not one.is_document]
        self._progress.begun(len(plan.placed), plan.placed_bytes)
        await self._in_thread(order, lambda: writer.begin(contents.mirror, contents.generation))
        links: dict[Digest, int] = {}
        try:
            for one in [*items, *(one for one in documents if not one.is_in_streams)]:
                await self._place(order, writer, one, report, links)
            await self._in_thread(order, lambda: self._publish(writer, documents))
            for one in documents:
                self._progress.moved(one.path, one.size_bytes)
                self._progress.ended(one.path, mirror=contents.mirror)
            if order.deletes:
                before = await self._in_thread(order, lambda: self._changed_ns(plan))
                report.changed = await self._in_thread(order, writer.remove_left)
                report.removed = len(plan.left) - len(report.changed)
                links.update(before)
            await self._in_thread(order, writer.finish)
        finally:
            proofs, ledger = self._cache.storage.proofs, self._cache.storage.threads.ledger
            await ended(asyncio.ensure_future(ledger(proofs.carry_over, links)))

    async def _place(
        self,
        order: TreeOrder,
        writer: TreeWriter,
        one: TreeFile,
        report: TreeReport,
        links: dict[Digest, int],
    ) -> None:
        """Put a file into the tree; note in `links` when the blob had changed before it got a name more."""
        mirror, store = order.contents.mirror, self._cache.storage.store

        def work() -> Way:
            before_ns = store.changed_ns(one.digest)
            way = writer.place(one, lambda count: self._moved(one, count))
            if way is Way.LINKED and before_ns is not None:
                links.setdefault(one.digest, before_ns)
            return way

        try:
            way = await self._in_thread(order, work)
        except Gone:
            report.lacking.append(one)
            problem = "it was removed from the cache meanwhile"
            self._progress.ended(one.path, problem, mirror=mirror, missing_bytes=one.size_bytes)
            return
        report.ways[way] = report.ways.get(way, 0) + 1
        self._progress.ended(one.path, mirror=mirror)

    def _publish(self, writer: TreeWriter, documents: Sequence[TreeFile]) -> None:
        try:
            writer.publish(documents)
        except Gone:
            raise StoreFault("a document was removed from the cache meanwhile: run the same again") from None

    def _changed_ns(self, plan: TreePlan) -> dict[Digest, int]:
        store = self._cache.storage.store
        found = {Digest(one.sha256): store.changed_ns(Digest(one.sha256)) for one in plan.left.values()}
        return {digest: changed for digest, changed in found.items() if changed is not None}

    def _moved(self, one: TreeFile, count: int) -> None:
        if self._is_stopped:
            raise _Stopped
        self._progress.moved(one.path, count)

    def _stop(self) -> None:
        self._is_stopped = True

    async def _in_thread(self, order: TreeOrder, work: Callable[[], _Result]) -> _Result:
        """Run what blocks; whoever is cancelled meanwhile has it stop soon, and waits for that."""
        try:
            return await unless_cancelled(self._cache.storage.threads.slow(work), self._stop)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise TreeFault.of(order.folder, error) from error


def check_folder(folder: Path, data_dir: Path) -> None:
    """Raise TreeRefused for a folder whose server would give away the cache's own files, or disturb them."""
    tree, data = folder.resolve(), data_dir.resolve()
    if tree == data or data in tree.parents:
        raise TreeRefused(f"{folder} lies in the data directory {data_dir}: name a folder outside of it")
    if tree in data.parents:
        raise TreeRefused(
            f"the data directory {data_dir} lies in {folder}, whose web server would give it away:"
            " name another folder"
        )
