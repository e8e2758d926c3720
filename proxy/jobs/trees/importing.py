"""Turning a tree that somebody else has left into cache content: documents first, then what they prove.

Documents are verified as if they were fetched. Then each file that may be an item, wherever it
lies, is hashed once, and kept if a list that counts wants it. What the tree was to have makes a
generation like that of a bundle: it is served as a whole once all of it is here.
"""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from proxy import __version__
from proxy.bundles.contents import Contents, File, write_contents
from proxy.documents.documents import NoGeneration
from proxy.documents.flavours import flavour_of
from proxy.documents.generation import Edition, read_lists
from proxy.documents.rollback import AnotherStream, RollbackError
from proxy.errors import ProxyError
from proxy.jobs.choosing import choose_from_lists
from proxy.jobs.importing.activating import Activation
from proxy.jobs.importing.outcomes import Outcome, State
from proxy.jobs.importing.waiting import Waiting
from proxy.jobs.prefetch import foresee_room, make_sure_of_room
from proxy.jobs.selection import Selection
from proxy.jobs.trees.adopting import Adopter
from proxy.jobs.trees.folder import TreeFolder
from proxy.jobs.trees.matching import Matched, Wanted, match
from proxy.jobs.trees.report import TreeImportReport
from proxy.mirror import Trust
from proxy.progress import Progress
from proxy.readable import printable
from proxy.service.cache import Cache
from proxy.simplestreams.model import Item
from proxy.sources.carried.import_origin import ImportOrigin
from proxy.sources.errors import OriginUnreachable
from proxy.store.files import StoreFault
from proxy.store.protocols import PruneStore, ReadStore
from proxy.system.file_systems import device
from proxy.trees.finding import names_of

_SIGNED = (".sjson", ".gpg")


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeImportOrder:
    """What is to be taken, and how."""

    mirror: str
    trust: Trust
    selection: Selection | None
    """None is all that the tree has."""
    most_document_bytes: int
    accepts_older: bool = False
    """Whether what is older may replace what is served, this once."""
    activates: bool = False
    """Whether a generation is served although items of it are missing."""
    hold_s: float
    """How long items stay that an earlier import brought and that are not wanted any more."""


class _Found(NamedTuple):
    """What is in a tree, and what of it counts."""

    edition: Edition | None
    """What its documents say; None if they do not count."""
    selected: list[Item] | None
    """None is all that the tree has."""
    wanted: Wanted
    matched: Matched


class TreeImport:
    """One import of one tree."""

    def __init__(
        self,
        cache: Cache,
        origins: Mapping[str, ImportOrigin],
        folder: TreeFolder,
        order: TreeImportOrder,
        progress: Progress,
    ) -> None:
        self.report = TreeImportReport()
        self._cache = cache
        self._storage = cache.storage
        self._threads = cache.storage.threads
        self._folder = folder
        self._order = order
        self._progress = progress
        forced, hold_s = order.activates, order.hold_s
        self._activation = Activation(cache, origins, self.report.generation, hold_s, is_forced=forced)
        self._pin = ""

    async def run(self) -> None:
        """Take what is there.

        Raises NoSpace before anything is taken that does not fit; TreeRefused, TreeFault, StoreFault
        and OSError.
        """
        found = await self._look(self._storage.store)
        if found is None:
            return
        matched = found.matched
        wanted_digests = {one.item.digest for one in matched.candidates} | {
            one.digest for one in matched.held
        }
        await self._make_sure_of_room(matched)
        await self._threads.ledger(self._storage.pins.pin_all, self._pin, wanted_digests)
        adopter = Adopter(self._storage, self._cache.first_bytes, self._folder, self.report, self._progress)
        taken = await adopter.take(matched, found.wanted)
        await self._serve(found, taken)

    async def rehearse(self, real: PruneStore, data_dir: Path) -> None:
        """Do in a copy of what a cache knows what `run` would do to it, and hash and take no files.

        `real` is the store of the cache that is meant, in its data directory: what is in it counts, and
        what fits into it. A file counts as what it is by its name. Raises TreeRefused and TreeFault.
        """
        report, room = self.report, self._storage.room_in(real)
        found = await self._look(real)
        if found is None:
            report.generation.forecast = await foresee_room(self._threads, room, 0, ())
            return
        matched = found.matched
        coming = [one.item for one in matched.candidates if one.is_named]
        sizes = {one.digest: one.size_bytes for one in coming}
        report.foreseen_files, report.bytes = len(sizes), sum(sizes.values())
        report.doubtful_files = len(matched.candidates) - len(coming)
        report.held_files = len({one.digest for one in matched.held})
        needed_bytes = await self._needed_bytes(data_dir, report.bytes)
        kept = {*sizes, *(one.digest for one in matched.held)}
        report.generation.forecast = await foresee_room(self._threads, room, needed_bytes, kept)
        self._activation.is_here = lambda digest, size_bytes: (
            sizes.get(digest) == size_bytes or real.is_whole(digest, size_bytes)
        )
        await self._serve(found, coming)

    async def _look(self, store: ReadStore) -> "_Found | None":
        """Return what is in the tree and what a store lacks of it; None, and why, where nothing proves it."""
        report, order = self.report, self._order
        await self._folder.look()
        edition = await self._verified()
        served = await self._served()
        waiting = await self._activation.editions(order.mirror)
        counting = [one for one in (edition, served, *waiting) if one is not None]
        if not counting:
            report.is_refused = not report.generation.cut
            return None
        selected = await self._selected(edition or served)
        wanted_here = None if selected is None else {item.digest for item in selected}
        wanted = await self._threads.slow(lambda: Wanted(counting, wanted_here))
        matched = await self._matched(wanted, store)
        self._pin = f"import {order.mirror}: {printable(_selection(order, str(self._folder.root))):.100}"
        return _Found(edition, selected, wanted, matched)

    async def _serve(self, found: "_Found", taken: Iterable[Item]) -> None:
        """Have the tree's generation wait, serve what is complete, and report what is not."""
        report, matched, selected = self.report, found.matched, found.selected
        meant = selected if selected is not None else [*matched.held, *matched.damaged, *taken]
        if found.edition is not None:
            await self._keep(found.edition, meant)
        await self._activation.serve_complete(self._order.mirror)
        await self._tell_missing(meant)
        if selected is None and report.only_blobs and report.is_nothing and not report.is_incomplete:
            report.is_refused = True  # Such as a disk that is not mounted: nobody meant to take nothing.

    # Documents

    async def _verified(self) -> Edition | None:
        """Return what the tree's documents say, None if they do not count; says why in the report."""
        folder, order, report = self._folder, self._order, self.report
        if order.trust is Trust.TLS:
            report.only_blobs = f"mirror {order.mirror} trusts its servers, and not their files"
            return None
        if not folder.has_tree:
            advice = "; it is a bundle: leave --tree out" if folder.is_bundle else ""
            report.only_blobs = f"there is no streams/v1/ in {folder.folder}{advice}"
            return None
        origin, paths = folder.documents(order.most_document_bytes), folder.document_paths
        try:
            edition = await self._cache.examine(order.mirror, origin, paths, accept_older=order.accepts_older)
        except StoreFault:
            raise
        except ProxyError as error:
            report.only_blobs = str(error)
            if isinstance(error, OriginUnreachable):  # They were written meanwhile, or cannot be read.
                report.generation.cut.append((str(folder.root), report.only_blobs))
                return None
            is_older = isinstance(error, RollbackError)
            report.is_refused = is_older or any(path.endswith(_SIGNED) for path in paths)
            if not report.is_refused:
                report.only_blobs = "its lists are not signed"
            elif is_older and not isinstance(error, AnotherStream):
                report.only_blobs += "; if that is meant: --accept-older"
            return None
        lacking = _lists_lacking(edition)
        if lacking and await self._cache.recorded(order.mirror) is not None:
            report.only_blobs = f"the tree is half updated: {'; '.join(lacking)}"
            report.generation.cut.append((str(folder.root), report.only_blobs))
            return None
        return edition

    async def _served(self) -> Edition | None:
        with contextlib.suppress(NoGeneration):
            return await self._cache.edition(self._order.mirror)
        return None

    async def _selected(self, target: Edition | None) -> list[Item] | None:
        """Return the items that are selected; None for all that the tree has."""
        selection = self._order.selection
        if selection is None or target is None:
            return None
        store = self._storage.store
        mirror = self._order.mirror

        def choose() -> list[Item]:
            lists = {mirror: (target, list(read_lists(store, target.generation)))}
            return [one.item for one in choose_from_lists(lists, selection).wanted]

        return list({one.path: one for one in await self._threads.slow(choose)}.values())

    # Items

    async def _matched(self, wanted: Wanted, store: ReadStore) -> Matched:
        folder = self._folder

        def look() -> Matched:
            here = {
                digest: item.size_bytes
                for digest, item in wanted.by_digest.items()
                if store.is_whole(digest, item.size_bytes)
            }
            entries = [one for one in folder.entries if not _is_document(one.path, wanted)]
            return match(entries, wanted, here, self.report.leftovers)

        return await self._threads.slow(look)

    async def _make_sure_of_room(self, matched: Matched) -> None:
        """Raise NoSpace if what is to come does not fit."""
        coming = {one.item.digest: one.item.size_bytes for one in matched.candidates if one.is_named}
        wanted = {*coming, *(one.digest for one in matched.held)}
        needed_bytes = await self._needed_bytes(self._storage.data_dir, sum(coming.values()))
        await make_sure_of_room(self._storage, needed_bytes, wanted)

    async def _needed_bytes(self, data_dir: Path, coming_bytes: int) -> int:
        """Return how much room is needed: none for links to the same disk, unless a limit counts them."""
        root, limit_bytes = self._folder.root, self._storage.reservations.limits.limit_bytes
        is_linked = await self._threads.slow(lambda: device(data_dir) == device(root))
        return 0 if is_linked and limit_bytes is None else coming_bytes

    # The generation

    async def _keep(self, edition: Edition, meant: Iterable[Item]) -> None:
        """Have what the tree is to have wait, to be served as a whole."""
        order = self._order
        items = {one.path: one for one in meant if edition.served(one.path) == one}
        contents = _contents(order, str(self._folder.root), edition, items.values())
        text = write_contents(contents)
        digests = (one.digest for one in items.values())
        put = await self._activation.pin(self._pin, text, edition.generation, digests)
        source = f"tree {self._folder.root}"
        outcome = Outcome(
            mirror=order.mirror, bundle=source, contents=contents, digest=put, state=State.WAITING
        )
        self.report.generation.outcomes.append(outcome)
        waiting = Waiting(
            contents=put,
            generation=contents.generation,
            updated=contents.updated,
            accepted_at=contents.accepted_at,
            pin=self._pin,
            bundle=source,
            since=self._storage.ledger.clock(),
            accepts_older=order.accepts_older,
        )
        await self._activation.keep(order.mirror, waiting)

    async def _tell_missing(self, meant: Iterable[Item]) -> None:
        """Note what was to be in the tree, or is selected, and is not here."""
        for outcome in self.report.generation.outcomes:
            outcome.missing = tuple(await self._activation.missing(outcome.contents))
        is_here, items = self._activation.is_here, dict.fromkeys(meant)
        self.report.missing = await self._threads.slow(
            lambda: [one for one in items if not is_here(one.digest, one.size_bytes)]
        )


def _is_document(path: str, wanted: Wanted) -> bool:
    return wanted.is_document(names_of(path))


def _lists_lacking(edition: Edition) -> list[str]:
    """Say which lists the index names that the tree lacks, or has in another state."""
    generation = edition.generation
    absent = [path for path in generation.absent if flavour_of(path, generation) is None]
    refused = {path: why for path, why in generation.refused.items() if flavour_of(path, generation) is None}
    return [*(f"{path} is missing" for path in absent if path not in refused), *refused.values()]


def _contents(order: TreeImportOrder, source: str, edition: Edition, items: Iterable[Item]) -> Contents:
    """Return what the tree is to have, alike each time that it is asked for the same."""
    generation = edition.generation
    return Contents(
        mirror=order.mirror,
        generation=0,
        index_path=generation.index_path,
        updated=generation.updated,
        accepted_at=generation.accepted_at if generation.updated is None else generation.updated,
        written_by=f"sstream-proxy {__version__}",
        selection=_selection(order, source),
        documents=tuple(File.of(one.item) for one in generation.documents.values()),
        items=tuple(File.of(one) for one in sorted(items)),
    )


def _selection(order: TreeImportOrder, source: str) -> str:
    return f"what is in {source}" if order.selection is None else str(order.selection)
