"""The generations of one mirror that this worker has loaded, and can serve from.

One is current; those it replaced stay for a while, for what they named and it
does not. Workers learn of each other's generations by the board: whoever
accepts one records it first and announces it then.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace

from proxy.digest import Digest
from proxy.documents.generation import Edition, Generation, GenerationLost
from proxy.documents.mirror_records import MirrorRecords
from proxy.documents.shared_facts import SharedFacts
from proxy.moments import NO_PAUSE, Pause, lies_ahead
from proxy.simplestreams.model import Item
from proxy.store.files import StoreFault

log = logging.getLogger(__name__)

_SAME_READER_S = 60.0
"""A client that read an index gets that generation's lists for this long."""
_RETIRED_PAUSE_S = 5.0
"""After those replaced could not be known."""


class Editions:
    """The current edition of a mirror, and those replaced lately."""

    def __init__(
        self,
        mirror: str,
        records: MirrorRecords,
        shared: SharedFacts,
        retain_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._mirror = mirror
        self._records = records
        self._shared = shared
        self._retain_s = retain_s
        self._clock = clock
        self.current: Edition | None = None
        self._retired: list[Edition] = []
        self.knows_retired = False
        """Whether what an earlier run or another worker has replaced lately is loaded."""
        self._rest = NO_PAUSE
        """After those replaced could not be known."""
        self._loading_retired = asyncio.Lock()
        self._seen_number = -1
        self._adoption: asyncio.Task[None] | None = None

    # What they hold

    def retired_document(self, path: str) -> tuple[Item, Edition] | None:
        """Return the document that was at `path` in an edition replaced lately."""
        found = ((edition.document(path), edition) for edition in self._all())
        return next(((item, edition) for item, edition in found if item is not None), None)

    def item(self, path: str) -> Item | None:
        """Return the item that the current edition names at `path`, or one replaced lately did."""
        found = (edition.catalog.find(path) for edition in self._all())
        return next((item for item in found if item is not None), None)

    def find_digest(self, digest: Digest) -> tuple[Item, bool] | None:
        """Return the document or item with a digest, and whether it is a document."""
        for edition in self._all():
            for document in edition.generation.documents.values():
                if digest in {document.digest, document.text}:
                    return document.item, True
            item = edition.catalog.find_digest(digest)
            if item is not None:
                return item, False
        return None

    def note_reader(self, client: str, edition: Edition) -> None:
        """Remember that a client has just read the index of an edition."""
        self._shared.note_reader(client, edition.generation.number, self._clock())

    def read_by(self, client: str) -> Edition | None:
        """Return the edition whose index a client read last, if that was a short while ago."""
        number = self._shared.reader(client, self._clock(), _SAME_READER_S)
        editions = (self.current, *self._retired)
        return next((one for one in editions if one is not None and one.generation.number == number), None)

    # How they change

    async def install(self, generation: Generation) -> None:
        """Make a generation current: loaded first, then recorded, then announced to all workers.

        Raises StoreFault when it cannot be recorded; one that says the same as the current one
        confirms that all the same, here if not elsewhere.
        """
        previous = self.current
        if previous is not None and previous.generation.number == generation.number:
            self.current = replace(previous, generation=generation)
            try:
                await self._records.install(generation)
            except StoreFault as error:
                log.warning("generation.not_recorded mirror=%s problem=%s", self._mirror, error)
            return
        edition = await self._records.load(generation)
        if previous is not None:
            await self._records.retire(previous.generation, self._clock(), self._retain_s)
        await self._records.install(generation)
        self._show(edition)
        self._announce(generation.number)
        log.info(
            "generation.accepted mirror=%s number=%d documents=%d absent=%d",
            self._mirror,
            generation.number,
            len(generation.documents),
            len(generation.absent),
        )

    def next_number(self) -> int:
        """Return the number of a generation that is still to be accepted."""
        return self._shared.number() + 1

    def drop_damaged(self) -> None:
        """Let go of editions whose lists cannot be read any more; they are loaded again when wanted."""
        if self.current is not None and self.current.catalog.is_damaged:
            self.current = None
        whole = [old for old in self._retired if not old.catalog.is_damaged]
        self.knows_retired &= len(whole) == len(self._retired)
        self._retired = whole

    def is_announced_loaded(self) -> bool:
        """Whether what all workers were told last is what this one serves."""
        return self.current is not None and self._seen_number == self._shared.number()

    async def adopt_announced(self) -> None:
        """Take over what another worker has announced, or an earlier run has left behind."""
        if not self.is_announced_loaded():
            await asyncio.shield(self._begin_adoption())
        elif not self.knows_retired and not self._rest.is_on(self._clock()):
            self._begin_adoption()  # What is asked for now does not wait for that.

    async def adopt(self) -> None:
        """Load what was accepted last, as far as it may be served, unless it is loaded already."""
        number = self._shared.number()
        accepted = await self._records.accepted()
        if accepted is not None and number < accepted.number:
            # The board's file is new, or its worker died before it could announce.
            number = accepted.number
            self._shared.announce(number)
        generation = None if accepted is None else await self._records.proved(accepted)
        await self._load_retired()
        if generation is None:
            return
        if self.current is not None and self.current.generation.number == generation.number:
            checked_at = self.current.generation.checked_at
            if checked_at < generation.checked_at or lies_ahead(checked_at, self._clock()):
                self.current = replace(self.current, generation=generation)
        else:
            try:
                edition = await self._records.load(generation)
            except GenerationLost as error:
                log.warning("generation.lost mirror=%s problem=%s", self._mirror, error)
                return
            if self.current is not None and self.current.generation.number > generation.number:
                return  # A newer one was accepted meanwhile.
            self._show(edition)
        self._seen_number = number

    async def close(self) -> None:
        """Stop loading."""
        if self._adoption is not None:
            self._adoption.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._adoption

    def _all(self) -> Iterator[Edition]:
        """Yield the current edition and those whose names are still served."""
        if self.current is not None:
            yield self.current
        since = self._clock() - self._retain_s
        yield from (old for old in self._retired if (old.retired_at or 0.0) > since)

    def _show(self, edition: Edition) -> None:
        """Serve from `edition`; keep the replaced ones for what it no longer names."""
        now = self._clock()
        kept_s = max(self._retain_s, _SAME_READER_S)
        replaced = [] if self.current is None else [replace(self.current, retired_at=now)]
        self.current = edition
        self._retired = [
            replace(old, retired_at=min(old.retired_at or 0.0, now))
            for old in (*replaced, *self._retired)
            if now - (old.retired_at or 0.0) < kept_s and old.generation.number != edition.generation.number
        ]

    def _announce(self, number: int) -> None:
        self._shared.announce(number)
        self._seen_number = number

    async def _load_retired(self) -> None:
        """Load, once, what an earlier run or another worker has replaced lately."""
        async with self._loading_retired:
            now = self._clock()
            if self.knows_retired or self._rest.is_on(now):
                return
            try:
                for generation, when in await self._records.retired(now - self._retain_s):
                    if all(one.generation.number != generation.number for one in self._all()):
                        with contextlib.suppress(GenerationLost):
                            old = await self._records.load(generation)
                            self._retired.append(replace(old, retired_at=min(when, now)))
            except (StoreFault, OSError) as error:
                # What they name and the current one does not is missed; that is less than everything.
                log.warning("generation.retired_unknown mirror=%s problem=%s", self._mirror, error)
                self._rest = Pause(now, _RETIRED_PAUSE_S)
                return
            self.knows_retired = True

    def _begin_adoption(self) -> asyncio.Task[None]:
        if self._adoption is None:
            self._adoption = asyncio.create_task(self.adopt(), name=f"adopt {self._mirror}")
            self._adoption.add_done_callback(self._end_adoption)
        return self._adoption

    def _end_adoption(self, _: asyncio.Task[None]) -> None:
        self._adoption = None
