"""Bringing files of a tree into the store: each hashed once, one after the other, and kept if it is wanted.

While the next one is hashed the disk makes the ones before durable.
"""

import errno
from collections.abc import Iterable, Mapping
from functools import partial

from proxy.digest import Digest
from proxy.fills.errors import NoRoom
from proxy.fills.first_bytes import FirstBytes
from proxy.jobs.importing.commits import CommitsInFlight
from proxy.jobs.trees.folder import Adopting, Changed, TreeFolder
from proxy.jobs.trees.matching import Candidate, Matched, Wanted
from proxy.jobs.trees.report import TreeImportReport
from proxy.progress import Progress
from proxy.simplestreams.model import Item
from proxy.store.files import StoreFault
from proxy.store.storage import Storage
from proxy.system.same_bytes import Way
from proxy.trees.leftovers import Kind

_OF_STORE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
"""Errors that reading a file cannot have."""


class Adopter:
    """Takes the files of one tree, and notes in the report what becomes of each."""

    def __init__(
        self,
        storage: Storage,
        first_bytes: FirstBytes,
        folder: TreeFolder,
        report: TreeImportReport,
        progress: Progress,
    ) -> None:
        self._storage = storage
        self._first_bytes = first_bytes
        self._threads = storage.threads
        self._folder = folder
        self._report = report
        self._progress = progress
        self._commits = CommitsInFlight()

    async def take(self, matched: Matched, wanted: Wanted) -> list[Item]:
        """Take what proves to be wanted; return that, and what was so named and is something else.

        Raises NoRoom, StoreFault and TreeFault, which end the import.
        """
        store = self._storage.store
        self._report.held_files = len({one.digest for one in matched.held})
        size_bytes = sum(one.entry.size_bytes for one in matched.candidates)
        self._progress.begun(len(matched.candidates), size_bytes)
        taken: list[Item] = []
        try:
            for candidate in matched.candidates:
                of_size = wanted.by_size[candidate.entry.size_bytes].values()
                lacking = [one for one in of_size if not store.is_whole(one.digest, one.size_bytes)]
                if candidate.is_named and candidate.item not in lacking:
                    self._report.held_files += 1
                    self._progress.ended(candidate.item.path, missing_bytes=candidate.entry.size_bytes)
                    taken.append(candidate.item)
                elif not lacking:
                    self._leave(candidate, candidate.otherwise)
                else:
                    taken += await self._take_one(candidate, lacking)
            await self._commits.finish()
        finally:
            await self._commits.stop()
        return taken

    async def _take_one(self, candidate: Candidate, lacking: Iterable[Item]) -> list[Item]:
        """Hash a file, and have it kept if it is wanted; return what it is, and what it should be."""
        named = [candidate.item] if candidate.is_named else []
        try:
            adopting = await self._folder.adopt(candidate.entry, self._storage.store, self._first_bytes)
        except (Changed, FileNotFoundError):
            self._leave(candidate, Kind.CHANGED)
            return named
        except OSError as error:
            self._unread(candidate, error)
            return named
        needs_room = self._needs_room(adopting)
        found = None
        try:
            if needs_room:
                await self._make_room(candidate.item)
            found = await self._hash(candidate, adopting, {one.digest: one for one in lacking})
        except OSError as error:
            self._unread(candidate, error)
        finally:
            if found is None:
                await self._end(candidate, adopting, needs_room=needs_room)
        if found is None:
            return named
        commit = partial(self._commit, candidate, adopting, found, needs_room=needs_room)
        try:
            await self._commits.begin(commit, f"adopt {found.path}")
        except BaseException:
            await self._end(candidate, adopting, needs_room=needs_room)
            raise
        return [found, *named]

    async def _hash(
        self, candidate: Candidate, adopting: Adopting, lacking: Mapping[Digest, Item]
    ) -> Item | None:
        """Return which of the items that are lacking a file is. Raises OSError."""
        while count := await self._folder.hash_on(adopting):
            self._progress.moved(candidate.item.path, count)
        found = lacking.get(adopting.adoption.digest)
        if found is None:
            self._leave(candidate, candidate.otherwise)
        return found

    async def _commit(
        self, candidate: Candidate, adopting: Adopting, found: Item, *, needs_room: bool
    ) -> None:
        """Make a file a blob that lasts."""
        way = adopting.adoption.way
        try:
            await self._threads.sync(adopting.adoption.commit)
            settle = self._storage.reservations.settle
            await self._threads.ledger(settle, found.digest, found.size_bytes)
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise StoreFault.of(f"{found.path} cannot be stored", error) from error
            self._leave(candidate, Kind.CHANGED)
            return
        finally:
            await self._end(candidate, adopting, needs_room=needs_room)
        self._report.ways[way] = self._report.ways.get(way, 0) + 1
        self._report.bytes += found.size_bytes
        self._progress.ended(candidate.item.path)

    async def _end(self, candidate: Candidate, adopting: Adopting, *, needs_room: bool) -> None:
        if needs_room:
            await self._threads.ledger(self._storage.reservations.give_back, candidate.item.digest)
        await adopting.end()

    def _needs_room(self, adopting: Adopting) -> bool:
        """Whether room is to be set aside: what is linked or cloned takes none of the disk."""
        has_limit = self._storage.reservations.limits.limit_bytes is not None
        return has_limit or adopting.adoption.way is Way.COPIED

    async def _make_room(self, item: Item) -> None:
        if not await self._storage.room.reserve(item.digest, item.size_bytes, item.path):
            raise NoRoom(item)

    def _unread(self, candidate: Candidate, error: OSError) -> None:
        """Note a file that cannot be read. Raises StoreFault if it is the store that fails."""
        is_below = str(self._storage.data_dir) in str(error.filename)
        if error.errno in _OF_STORE or is_below:
            raise StoreFault.of(f"{candidate.item.path} cannot be stored", error) from error
        self._leave(candidate, Kind.UNREADABLE, error.strerror or str(error))

    def _leave(self, candidate: Candidate, kind: Kind, why: str = "") -> None:
        self._report.leftovers.add(kind, candidate.entry.path, why)
        problem = f"{candidate.entry.path}: {why or kind.value}" if kind.is_damage else None
        self._progress.ended(candidate.item.path, problem)
