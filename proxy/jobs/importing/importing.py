"""An import step by step: read what is claimed, verify documents, take items, serve what is complete.

Each generation waits until all that its bundle selected is here, and is served as a whole. What
waits is tried again after each import, so bundles and their parts may come in any order.
What arrived stays when the work is interrupted, and the next run goes on from there.
"""

import asyncio
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from proxy.bundles.contents import ContentsUnreadable
from proxy.bundles.oci import LayoutUnreadable
from proxy.bundles.reading.errors import ArchiveCut, ArchiveRefused, MediumFault
from proxy.bundles.reading.heads import Head, read_heads
from proxy.bundles.reading.layouts import Blob, Layout
from proxy.digest import Digest
from proxy.jobs.importing.activating import Activation
from proxy.jobs.importing.bundles import Bundle, UnknownMirror, joined
from proxy.jobs.importing.examining import Examined, Examiner, NotTaken
from proxy.jobs.importing.outcomes import Outcome, Report, State
from proxy.jobs.importing.taking import Taking
from proxy.jobs.importing.trust import Operators
from proxy.jobs.importing.waiting import Waiting
from proxy.jobs.prefetch import foresee_room, make_sure_of_room
from proxy.progress import Progress
from proxy.service.cache import Cache
from proxy.simplestreams.model import Item
from proxy.sources.carried.import_origin import ImportOrigin
from proxy.store.protocols import PruneStore, ReadStore

_CONTRADICTS = "it says of its images what its signed lists do not"
_WAITS = "it is served once all that it names is here, or with --activate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """How somebody wants things imported."""

    renamed: str | None = None
    """The mirror that is meant, whatever the bundle calls it."""
    accepts_older: bool = False
    """Whether what is older may replace what is served, this once."""
    activates: bool = False
    """Whether a generation is served although items of it are missing."""
    hold_s: float
    """How long items stay that an earlier bundle brought and that are not wanted any more."""


class Import:
    """One import, and what has come of it so far."""

    def __init__(
        self,
        cache: Cache,
        origins: Mapping[str, ImportOrigin],
        operators: Operators,
        order: Order,
        progress: Progress,
        report: Report,
    ) -> None:
        """Import for the mirrors that have such an origin, and add what comes of it to a report."""
        self.report = report
        self._storage = cache.storage
        self._threads = cache.storage.threads
        self._trusts = {name: f"trust {one.value}" for name, one in operators.trusts.items()}
        self._order = order
        self._progress = progress
        forced, hold_s = order.activates, order.hold_s
        self._activation = Activation(cache, origins, self.report, hold_s, is_forced=forced)
        self._examiner = Examiner(cache, operators, self._activation, accepts_older=order.accepts_older)
        self._taking = Taking(cache.storage, cache.first_bytes, progress, self.report.taken)

    async def take(self, layouts: Sequence[Layout]) -> None:
        """Take what is in some bundles, or parts of them, and serve what is complete.

        Raises NoSpace before anything is taken that does not fit, StoreFault and OSError.
        """
        heads = await self._read_heads(layouts)
        found = await self._examine_all(heads)
        wanted = _wanted(found)
        needs = await self._threads.slow(_needs, heads, wanted, self._storage.store)
        await make_sure_of_room(self._storage, needs.bytes, wanted)
        self._progress.begun(len(needs.missing), needs.bytes)
        for one, _ in found:
            await self._keep(one)
        await self._take_items(_named(heads), wanted)
        await self._serve_complete(found)

    async def rehearse(self, layouts: Sequence[Layout], real: PruneStore) -> None:
        """Do in a copy of what a cache knows what `take` would do to it, and take no items.

        `real` is the store of the cache that is meant: what is in it counts, and what fits into it.
        """
        heads = await self._read_heads(layouts)
        found = await self._examine_all(heads)
        wanted, taken = _wanted(found), self.report.taken
        needs = await self._threads.slow(_needs, heads, wanted, real)
        room = self._storage.room_in(real)
        self.report.forecast = await foresee_room(self._threads, room, needs.bytes, wanted)
        taken.files, taken.bytes = len(needs.missing), sum(needs.missing.values())
        taken.held_files, taken.held_bytes = len(needs.held), sum(needs.held.values())
        taken.digests |= needs.missing.keys()
        self._activation.is_here = lambda digest, size_bytes: (
            needs.missing.get(digest) == size_bytes or real.is_whole(digest, size_bytes)
        )
        for one, _ in found:
            await self._keep(one)
        await self._serve_complete(found)
        for mirror in _mirrors(found):
            self.report.left_waiting += await self._activation.left_waiting(mirror)

    async def _serve_complete(self, found: Sequence[tuple[Examined, Outcome]]) -> None:
        """Serve what is complete, and report what became of each."""
        for mirror in _mirrors(found):
            await self._activation.serve_complete(mirror)
        await self._report_missing()
        for one, outcome in found:
            if outcome.state is State.OLDER:
                outcome.used_files = len(self.report.taken.digests & one.wanted.keys())
                outcome.leaves_gap = bool(outcome.used_files) and await self._activation.is_gap_left(
                    outcome.mirror
                )
        self._forgive_what_came_with_newer()

    async def resume(self, mirrors: Iterable[str]) -> None:
        """Serve what earlier imports brought and is complete by now, and report what waits still."""
        for mirror in mirrors:
            await self._activation.report_waiting(mirror)
            await self._activation.serve_complete(mirror)
        await self._report_missing()

    async def _report_missing(self) -> None:
        for outcome in self.report.outcomes:
            if outcome.state is State.WAITING and await self._activation.is_served(
                outcome.mirror, outcome.contents
            ):
                outcome.state = State.SERVED  # By another process that imported the same.
            if outcome.state in {State.WAITING, State.SERVED}:
                outcome.missing = tuple(await self._activation.missing(outcome.contents, outcome.unprovable))
            if outcome.state is State.WAITING:
                outcome.why = outcome.why or _WAITS

    def _forgive_what_came_with_newer(self) -> None:
        """Refuse nothing for its age where what is newer came along: nobody goes back by that."""
        came = {one.mirror for one in self.report.outcomes if one.state in {State.SERVED, State.WAITING}}
        for outcome in self.report.outcomes:
            if outcome.state is State.OLDER and not outcome.used_files and outcome.mirror in came:
                outcome.state, outcome.why = State.SUPERSEDED, ""

    async def _examine_all(self, heads: Sequence[Head]) -> list[tuple[Examined, Outcome]]:
        """Return the bundles of which something may be taken, and report what is to become of all."""
        found = []
        for bundle in self._joined(heads):
            outcome = self._begun(bundle)
            try:
                found.append((await self._examined(bundle, outcome), outcome))
            except NotTaken as error:
                outcome.state, outcome.why, outcome.missing = error.state, str(error), error.missing
        return found

    def _begun(self, bundle: Bundle) -> Outcome:
        """Return what has become of a generation: another part of it may have been here before."""
        outcome = Outcome(
            mirror=bundle.mirror,
            bundle=bundle.sources,
            contents=bundle.contents,
            digest=bundle.digest,
            state=State.WAITING,
        )
        others = self.report.outcomes
        same = [one for one in others if (one.mirror, one.digest) == (bundle.mirror, bundle.digest)]
        if same:
            outcome.bundle = f"{same[0].bundle}, {bundle.sources}"
            outcome.is_new = same[0].is_new
            others.remove(same[0])
        others.append(outcome)
        return outcome

    # What is claimed

    async def _read_heads(self, layouts: Sequence[Layout]) -> list[Head]:
        heads: list[Head] = []
        for layout in layouts:
            try:
                heads += await self._threads.slow(read_heads, layout)
            except (LayoutUnreadable, ContentsUnreadable, ArchiveRefused) as error:
                self.report.problems.append((layout.name, str(error)))
            except (MediumFault, ArchiveCut) as error:
                self.report.cut.append((layout.name, str(error)))
            else:
                if layout.damage:
                    self.report.cut.append((layout.name, layout.damage))
        return heads

    def _joined(self, heads: Iterable[Head]) -> list[Bundle]:
        """Return the generations that were carried here, of all mirrors, the oldest first."""
        found: dict[str, list[Head]] = {}
        for head in heads:
            found.setdefault(head.contents.mirror, []).append(head)
        bundles: list[Bundle] = []
        if self._order.renamed is not None and len(found) > 1:
            if self._order.renamed not in found:
                names = ", ".join(f"{name!r:.100}" for name in found)
                told = f"there are several mirrors ({names}), and --mirror takes one of these"
                self.report.problems.append((next(iter(found.values()))[0].layout.name, told))
                return []
            found = {self._order.renamed: found[self._order.renamed]}
        for of_mirror in found.values():
            try:
                bundles += joined(of_mirror, self._trusts, self._order.renamed)
            except UnknownMirror as error:
                known = next((name for name in found if name in self._trusts), None)
                alone = f". Or take the other one alone: --mirror {known}" if known is not None else ""
                self.report.problems.append((of_mirror[0].layout.name, f"{error}{alone}"))
        return sorted(bundles, key=lambda one: one.age)

    async def _examined(self, bundle: Bundle, outcome: Outcome) -> Examined:
        """Return what may be taken of a bundle, and report what not. Raises NotTaken and StoreFault."""
        examined = await self._examiner.examine(bundle)
        outcome.vouched = "" if examined.vouched is None else str(examined.vouched)
        outcome.unprovable = tuple(examined.unprovable)
        if examined.mislabelled:
            # Who says something false of one item may say so of what is missing: its images are of use yet.
            self.report.mislabelled += examined.mislabelled
            examined.edition, outcome.state, outcome.why = None, State.REFUSED, _CONTRADICTS
        if examined.too_old:
            outcome.state, outcome.why = State.OLDER, examined.too_old
        return examined

    # Items

    async def _keep(self, one: Examined) -> None:
        """Have what is about to be taken stay, and a generation wait until it is complete."""
        bundle, edition = one.bundle, one.edition
        if edition is None:
            await self._threads.ledger(self._storage.pins.pin_all, bundle.pin, one.wanted.keys())
        else:
            await self._activation.pin(bundle.pin, bundle.text, edition.generation, one.wanted)
            waiting = Waiting(
                contents=bundle.digest,
                generation=bundle.contents.generation,
                updated=bundle.contents.updated,
                accepted_at=bundle.contents.accepted_at,
                pin=bundle.pin,
                bundle=bundle.sources,
                since=self._storage.ledger.clock(),
                unprovable=tuple(one.unprovable),
                accepts_older=self._order.accepts_older,
            )
            await self._activation.keep(bundle.mirror, waiting)

    async def _take_items(
        self, layouts: Sequence[tuple[Layout, set[Digest]]], wanted: Mapping[Digest, Item]
    ) -> None:
        """Take what is wanted of bundles that could be read, each with the blobs that it names."""
        try:
            for layout, named in layouts:
                await self._take_from(layout, named, wanted)
            await self._taking.finish()
        finally:
            await self._taking.stop()

    async def _take_from(self, layout: Layout, named: set[Digest], wanted: Mapping[Digest, Item]) -> None:
        blobs = self._of_use(layout, named, wanted)
        turn = asyncio.Lock()

        async def work() -> None:
            while True:
                async with turn:
                    blob = await self._threads.slow(next, blobs, None)
                if blob is None:
                    return
                try:
                    await self._take_blob(blob, wanted[blob.digest])
                finally:
                    await self._threads.disk(blob.close)

        workers = [asyncio.create_task(work()) for _ in range(layout.blobs_at_once)]
        try:
            await asyncio.gather(*workers)
        except (MediumFault, ArchiveCut) as error:
            self.report.cut.append((layout.name, str(error)))
        except (LayoutUnreadable, ArchiveRefused) as error:
            self.report.problems.append((layout.name, str(error)))
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    def _of_use(self, layout: Layout, named: set[Digest], wanted: Container[Digest]) -> Iterator[Blob]:
        """Yield the blobs that are wanted; pass over the others, which may be many. Blocks."""
        for blob in layout.blobs():
            if blob.digest in wanted:
                yield blob
                continue
            if blob.digest not in named:
                self.report.taken.unnamed_files += 1
                self.report.taken.unnamed_bytes += blob.size_bytes
            blob.close()

    async def _take_blob(self, blob: Blob, item: Item) -> None:
        store = self._storage.store
        if await self._threads.disk(store.is_whole, item.digest, item.size_bytes):
            self.report.taken.held_files += 1
            self.report.taken.held_bytes += item.size_bytes
        else:
            await self._taking.take(blob, item)


@dataclass(frozen=True, slots=True)
class _Needs:
    """The items that are to come, with their sizes."""

    missing: Mapping[Digest, int]
    held: Mapping[Digest, int]
    bytes: int
    """What is still to arrive of those that are missing."""


def _needs(heads: Sequence[Head], wanted: Mapping[Digest, Item], store: ReadStore) -> _Needs:
    """Return what of the items that are to come is in a store. Blocks."""
    expected = {digest: wanted[digest].size_bytes for head in heads for digest in _expected(head, wanted)}
    held = {digest: size for digest, size in expected.items() if store.is_whole(digest, size)}
    missing = {digest: size for digest, size in expected.items() if digest not in held}
    arrived_bytes = sum(store.stored_bytes(digest, size) for digest, size in missing.items())
    return _Needs(missing, held, sum(missing.values()) - arrived_bytes)


def _wanted(found: Iterable[tuple[Examined, Outcome]]) -> dict[Digest, Item]:
    return {digest: item for one, _ in found for digest, item in one.wanted.items()}


def _mirrors(found: Iterable[tuple[Examined, Outcome]]) -> list[str]:
    return list(dict.fromkeys(one.bundle.mirror for one, _ in found))


def _named(heads: Sequence[Head]) -> list[tuple[Layout, set[Digest]]]:
    """Return bundles, or parts of them, each with the blobs that it names."""
    named: dict[int, tuple[Layout, set[Digest]]] = {}
    for head in heads:
        named.setdefault(id(head.layout), (head.layout, set()))[1].update(head.named)
    return list(named.values())


def _expected(head: Head, wanted: Container[Digest]) -> Iterator[Digest]:
    """Yield the items that come from a bundle, as far as one can know before. Blocks."""
    layout, contents = head.layout, head.contents
    for file in contents.items:
        if file.sha256 in wanted:
            is_to_come = layout.is_passing and contents.parts == 1 and file.is_carried
            if is_to_come or _size_of(layout, file.sha256) == file.size:
                yield file.sha256


def _size_of(layout: Layout, digest: Digest) -> int | None:
    """Return how large a blob is; None for one that is not there, or of which its reader will be told."""
    try:
        return layout.size_bytes(digest)
    except (LayoutUnreadable, MediumFault):
        return None
