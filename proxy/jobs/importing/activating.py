"""Serving generations that were imported: each as a whole, once all that it names is here, oldest first.

Until then a generation waits. One waits no longer once something newer is served.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from proxy.bundles.contents import Contents, File
from proxy.digest import Digest, digest_of
from proxy.documents.documents import NoGeneration
from proxy.documents.generation import SIBLING, Edition, Generation
from proxy.documents.rollback import RollbackError
from proxy.errors import ProxyError
from proxy.jobs.importing.bundles import CarriedDocuments, pin_beginning, stored_reader
from proxy.jobs.importing.lacking import stored_contents
from proxy.jobs.importing.outcomes import Outcome, Report, State
from proxy.jobs.importing.waiting import Waiting, end_waiting, keep_waiting, waiting_generations
from proxy.service.cache import Cache
from proxy.sources.carried.import_origin import ImportOrigin
from proxy.store.files import StoreFault

_NEWER_SERVED = "something newer is served"


class Activation:
    """The generations that wait, of all mirrors, and what becomes of them in one import."""

    def __init__(
        self,
        cache: Cache,
        origins: Mapping[str, ImportOrigin],
        report: Report,
        hold_s: float,
        *,
        is_forced: bool,
    ) -> None:
        """Serve by these origins.

        `hold_s` is how long items stay that an earlier bundle brought and that are not wanted any more.
        `is_forced` has what was given to this import served although items of it are missing.
        """
        self._cache = cache
        self._origins = origins
        self._report = report
        self._hold_s = hold_s
        self._is_forced = is_forced
        self._storage = cache.storage
        self._threads = cache.storage.threads
        self.is_here: Callable[[Digest, int], bool] = cache.storage.store.is_whole
        """Says whether an item is here as a whole, which blocks. A rehearsal counts what would come, too."""

    async def pin(self, pin: str, text: bytes, generation: Generation, items: Iterable[Digest]) -> Digest:
        """Have the documents of a generation stay, the text of what it needs, and its items, here or to come.

        Returns the digest of the text, which is in the store then.
        """
        storage = self._storage
        documents = {await self._threads.slow(storage.store.put, text), *blobs_of(generation)}
        await self._threads.ledger(storage.pins.pin_all, pin, {*documents, *items})
        await self._threads.ledger(self._count, documents)
        return digest_of(text)

    async def keep(self, mirror: str, one: Waiting) -> None:
        """Have a generation wait."""
        await self._threads.ledger(keep_waiting, self._storage.ledger, mirror, one)

    async def report_waiting(self, mirror: str) -> None:
        """Report the generations of a mirror that wait, as if they were given to this import."""
        for waiting in await self._waiting(mirror):
            contents = await self._contents_of(waiting)
            if contents is not None:
                self._told(mirror, waiting, contents)

    async def serve_complete(self, mirror: str) -> None:
        """Serve those generations of a mirror that are complete, the oldest first."""
        served: dict[str, Contents] = {}
        for waiting in await self._waiting(mirror):
            contents = await self._contents_of(waiting)
            if contents is None:
                await self._end(mirror, waiting)  # The store has lost what says what it needs.
                continue
            missing = await self.missing(contents, waiting.unprovable)
            recorded = await self._cache.recorded(mirror)
            given = self._given(mirror, waiting)
            if missing and recorded is not None and is_of(recorded, contents):
                (given or self._told(mirror, waiting, contents)).state = State.SERVED
                await self._end(mirror, waiting)
            elif missing and recorded is not None and not (self._is_forced and given):
                sizes = {one.sha256: one.size for one in missing}
                size_bytes = sum(sizes.values())
                await self.keep(mirror, replace(waiting, missing_files=len(sizes), missing_bytes=size_bytes))
            elif await self._serve(mirror, waiting, contents):
                served[waiting.pin] = contents
        if served:
            await self._end_replaced(mirror)
        for pin, contents in served.items():
            await self._let_go(mirror, pin, contents)
        await self._note_what_others_ended(mirror)

    async def missing(self, contents: Contents, unprovable: Collection[str] = ()) -> list[File]:
        """Return the items that a generation names and that are not in the store.

        `unprovable` are those that nothing proves, and that are not waited for.
        """

        def look() -> list[File]:
            return [
                one
                for one in contents.items
                if one.path not in unprovable and not self.is_here(one.sha256, one.size)
            ]

        return await self._threads.slow(look)

    async def is_gap_left(self, mirror: str) -> bool:
        """Whether something waits, or lacks what was imported for it of what is served."""
        if await self._waiting(mirror):
            return True
        try:
            edition = await self._cache.edition(mirror)
        except NoGeneration:
            return False
        pinned = await self._threads.ledger(self._storage.pins.names)
        beginning = pin_beginning(mirror)

        def look() -> bool:
            imported = (
                digest for digest, names in pinned.items() if any(one.startswith(beginning) for one in names)
            )
            items = (edition.catalog.find_digest(digest) for digest in imported)
            return any(one is not None and not self.is_here(one.digest, one.size_bytes) for one in items)

        return await self._threads.slow(look)

    async def left_waiting(self, mirror: str) -> list[Outcome]:
        """Return the generations of earlier imports that wait still, with what they lack."""
        found = []
        for waiting in await self._waiting(mirror):
            contents = await self._contents_of(waiting)
            if contents is not None and self._given(mirror, waiting) is None:
                outcome = _outcome(mirror, waiting, contents)
                outcome.missing = tuple(await self.missing(contents, waiting.unprovable))
                found.append(outcome)
        return found

    async def editions(self, mirror: str) -> list[Edition]:
        """Return the generations of a mirror that wait, ready to be asked what they name."""
        found = [await self._edition_of(mirror, waiting) for waiting in await self._waiting(mirror)]
        return [one for one in found if one is not None]

    async def is_served(self, mirror: str, contents: Contents) -> bool:
        """Say whether a generation is the one that clients get."""
        served = await self._cache.recorded(mirror)
        return served is not None and is_of(served, contents)

    async def _serve(self, mirror: str, waiting: Waiting, contents: Contents) -> bool:
        """Serve a generation that waits; say whether it is served now."""
        before = await self._cache.recorded(mirror)
        problem = None
        if before is None or not has_more_than(before, contents):
            with self._origins[mirror].giving(self._stored(waiting, contents).origin):
                problem = await self._cache.refresh(mirror, accept_older=waiting.accepts_older)
        after = await self._cache.recorded(mirror)
        if after is None or not is_of(after, contents):
            if not await self._end_if_replaced(mirror, waiting):
                outcome = self._told(mirror, waiting, contents)
                outcome.why = f"it is complete, and cannot be served: {problem or 'it was not accepted'}"
            return False
        outcome = self._told(mirror, waiting, contents)
        outcome.state, outcome.why = State.SERVED, ""
        outcome.is_new |= before is None or before.number != after.number
        await self._end(mirror, waiting)
        return True

    async def _note_what_others_ended(self, mirror: str) -> None:
        """Note in the report what waits no longer since another import has served it, or something newer."""
        waiting = {one.contents for one in await self._waiting(mirror)}
        recorded = await self._cache.recorded(mirror)
        for outcome in self._report.outcomes:
            is_ended = outcome.state is State.WAITING and outcome.digest not in waiting
            if outcome.mirror == mirror and is_ended and recorded is not None:
                if is_of(recorded, outcome.contents):
                    outcome.state = State.SERVED
                else:
                    outcome.state, outcome.why = State.REPLACED, _NEWER_SERVED

    async def _end_replaced(self, mirror: str) -> None:
        for waiting in await self._waiting(mirror):
            await self._end_if_replaced(mirror, waiting)

    async def _end_if_replaced(self, mirror: str, waiting: Waiting) -> bool:
        """Have a generation wait no longer if something newer is served; say whether that is so."""
        contents = await self._contents_of(waiting)
        if contents is None:
            return False
        try:
            await self._examine(mirror, waiting, contents)
        except RollbackError:
            outcome = self._told(mirror, waiting, contents)
            outcome.state, outcome.why = State.REPLACED, _NEWER_SERVED
            await self._end(mirror, waiting)
            return True
        except StoreFault:
            raise
        except ProxyError:
            return False
        return False

    async def _end(self, mirror: str, waiting: Waiting) -> None:
        await self._threads.ledger(end_waiting, self._storage.ledger, mirror, [waiting.contents])

    async def _let_go(self, mirror: str, pin: str, served: Contents) -> None:
        """Have a pin keep what is served now, and what still waits, of what was imported by that name."""
        kept = {one.sha256 for one in served.items}
        for waiting in await self._waiting(mirror):
            contents = await self._contents_of(waiting)
            if waiting.pin == pin and contents is not None:
                kept |= {waiting.contents, *(one.sha256 for one in contents.files())}
                edition = await self._edition_of(mirror, waiting)
                kept |= blobs_of(edition.generation) if edition is not None else set()
        await self._threads.ledger(self._storage.pins.repin, pin, kept, self._hold_s)

    def _count(self, documents: Iterable[Digest]) -> None:
        """Count documents among the blobs, as items are, not only once they are served. Blocks."""
        blobs, store = self._storage.blobs, self._storage.store
        with blobs.transaction():
            for digest in documents:
                size_bytes = store.size_bytes(digest)
                if size_bytes is not None:
                    blobs.add(digest, size_bytes)

    # What waits

    async def _waiting(self, mirror: str) -> tuple[Waiting, ...]:
        return await self._threads.ledger(waiting_generations, self._storage.ledger, mirror)

    async def _contents_of(self, waiting: Waiting) -> Contents | None:
        return await self._threads.slow(stored_contents, self._storage.store, waiting.contents)

    async def _edition_of(self, mirror: str, waiting: Waiting) -> Edition | None:
        contents = await self._contents_of(waiting)
        try:
            return None if contents is None else await self._examine(mirror, waiting, contents)
        except StoreFault:
            raise
        except ProxyError:
            return None

    async def _examine(self, mirror: str, waiting: Waiting, contents: Contents) -> Edition:
        origin = self._stored(waiting, contents).origin
        return await self._cache.examine(mirror, origin, (), accept_older=waiting.accepts_older)

    def _stored(self, waiting: Waiting, contents: Contents) -> CarriedDocuments:
        name = f"bundle {waiting.bundle}: "
        return CarriedDocuments(name, contents, stored_reader(self._storage.store), self._threads)

    # What is told

    def _given(self, mirror: str, waiting: Waiting) -> Outcome | None:
        """Return the outcome of a generation that was given to this import."""
        found = (one for one in self._report.outcomes if one.mirror == mirror)
        return next((one for one in found if one.digest == waiting.contents), None)

    def _told(self, mirror: str, waiting: Waiting, contents: Contents) -> Outcome:
        """Return the outcome of a generation, which may be from an earlier import."""
        outcome = self._given(mirror, waiting)
        if outcome is None:
            outcome = _outcome(mirror, waiting, contents)
            self._report.outcomes.append(outcome)
        return outcome


def _outcome(mirror: str, waiting: Waiting, contents: Contents) -> Outcome:
    """Return what has become until now of a generation of an earlier import."""
    return Outcome(
        mirror=mirror,
        bundle=waiting.bundle,
        contents=contents,
        digest=waiting.contents,
        state=State.WAITING,
        unprovable=waiting.unprovable,
        waited_since=waiting.since,
    )


def blobs_of(generation: Generation) -> set[Digest]:
    """Return the blobs of a generation's documents."""
    return {digest for one in generation.documents.values() for digest in (one.digest, one.text)}


def is_of(generation: Generation, contents: Contents) -> bool:
    """Whether all documents of a generation are those of a bundle, but for flavours that the bundle lacks."""
    carried = {one.path: one.sha256 for one in contents.documents}
    return all(
        carried.get(path) == one.digest or (path not in carried and one.format == SIBLING)
        for path, one in generation.documents.items()
    )


def has_more_than(generation: Generation, contents: Contents) -> bool:
    """Whether a generation has all documents of a bundle, and further flavours of them."""
    paths = {one.path for one in contents.documents}
    return is_of(generation, contents) and paths < generation.documents.keys()
