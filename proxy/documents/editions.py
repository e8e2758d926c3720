"""The generations of one mirror that this worker has loaded, and can serve from.

Two of them matter, and are usually one: the generation that is *served*, and the one that
was *accepted* last. Nothing older than the accepted one is accepted, and checks compare
with it. A generation may be *held*: then it stays served while newer ones are accepted,
until it is let go. No command does that yet.

Replaced generations stay loaded for a while, for the files that the served one no longer
names. Workers learn of each other's generations by the shared facts: whoever accepts or
holds one records it first, and announces it then.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace

from proxy.digest import Digest
from proxy.documents.generation import Edition, Generation, GenerationLost
from proxy.documents.loaded import LoadedEditions
from proxy.documents.mirror_records import MirrorRecords, Recorded
from proxy.documents.shared_facts import Announcements, SharedFacts
from proxy.errors import ProxyError
from proxy.moments import NO_PAUSE, Pause, lies_ahead
from proxy.simplestreams.model import Item
from proxy.store.files import StoreFault

log = logging.getLogger(__name__)

_REPLACED_PAUSE_S = 5.0
"""Until replaced generations are looked for again, after the records could not be read."""


class GenerationUnknown(ProxyError):
    """A generation that is neither served nor accepted, nor was replaced lately."""

    def __init__(self, mirror: str, number: int) -> None:
        super().__init__(f"mirror {mirror} has no generation {number} any more")
        self.number = number


class Editions:
    """Which generations of a mirror are accepted, held and served, here and in all workers."""

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
        self.announcements = Announcements(shared)
        self._retain_s = retain_s
        self._clock = clock
        self.loaded = LoadedEditions(retain_s, clock)
        self.accepted: Edition | None = None
        """The generation accepted last, None unless it may and can be served."""
        self._recorded = Recorded(None, None, "")
        self._is_held = False
        self._is_fixed = False
        """Whether one edition is served here, whatever is recorded."""
        self.knows_replaced = False
        """Whether the generations are loaded that an earlier run or another worker has replaced lately."""
        self._pause = NO_PAUSE
        """During which replaced generations are not looked for."""
        self._loading_replaced = asyncio.Lock()
        self._adoption: asyncio.Task[None] | None = None

    # What they are

    @property
    def served(self) -> Edition | None:
        """The edition that clients get."""
        return self.loaded.served

    def find_digest(self, digest: Digest) -> tuple[Item, bool] | None:
        """Return the document or item with a digest, and whether it is a document."""
        found = self.loaded.find_digest(digest)
        if found is None and self._is_held and self.accepted is not None:
            return self.accepted.find_digest(digest)
        return found

    def accepted_before(self) -> Generation | None:
        """Return what a check compares with: nothing older is accepted.

        Where its documents cannot be used, that is only their dates.
        """
        last, usable = self._recorded.accepted, self.accepted
        if last is None or (usable is not None and usable.generation.number >= last.number):
            return None if usable is None else usable.generation
        return last.dates_only()

    def next_number(self) -> int:
        """Return the number of a generation that is still to be accepted: higher than all known ones."""
        return max(*self.announcements.made(), *self._recorded.numbers) + 1

    def why_unknown(self) -> str:
        """Return why it is not known what was accepted last, "" when it is known, or nothing was."""
        return self._recorded.problem if self.accepted is None else ""

    # How they change

    async def accept(self, generation: Generation) -> None:
        """Make a generation the accepted one: loaded first, then recorded, then announced to all workers.

        It is served from now on, unless another one is held. Raises StoreFault when it cannot be
        recorded; one that says the same as the accepted one confirms that all the same, here if
        not elsewhere.
        """
        previous = self.accepted
        if previous is not None and previous.generation.number == generation.number:
            self._take(replace(previous, generation=generation))
            try:
                await self._records.accept(generation)
            except StoreFault as error:
                log.warning("generation.not_recorded mirror=%s problem=%s", self._mirror, error)
            return
        edition = await self._records.load(generation)
        if previous is not None and not self._is_held:
            await self._records.note_replaced(previous.generation, self._clock(), self._retain_s)
        await self._records.accept(generation)
        self._take(edition)
        self.announcements.announce_accepted(generation.number)
        log.info(
            "generation.accepted mirror=%s number=%d documents=%d absent=%d",
            self._mirror,
            generation.number,
            len(generation.documents),
            len(generation.absent),
        )

    async def hold(self, number: int) -> None:
        """Serve the generation of that number from now on, whatever is accepted.

        All workers do, and later runs. A check may end at the same moment, in any worker: each looks
        at the records again after either announcement. Raises GenerationUnknown when it is not here any
        more, GenerationLost when documents of it are lost, and StoreFault when it cannot be recorded.
        """
        await self.adopt()
        edition = self.loaded.numbered(number)
        if edition is None and self.accepted is not None and self.accepted.generation.number == number:
            edition = self.accepted
        if edition is None:
            raise GenerationUnknown(self._mirror, number)
        await self._records.check_stored(edition.generation)
        await self._note_replaced_by(edition)
        await self._records.hold(edition.generation)
        self._is_held = True
        self._serve(edition)
        self.announcements.announce_held(number)
        log.info("generation.held mirror=%s number=%d", self._mirror, number)

    async def let_go(self) -> None:
        """Serve the generation accepted last again, in all workers. Raises StoreFault."""
        await self.adopt()
        if self.accepted is not None:
            await self._note_replaced_by(self.accepted)
        await self._records.let_go()
        self._is_held = False
        if self.accepted is not None:
            self._serve(self.accepted)
        self.announcements.announce_held(0)
        log.info("generation.let_go mirror=%s", self._mirror)

    def drop_damaged(self) -> None:
        """Forget editions whose lists cannot be read any more; they are loaded again when wanted."""
        if self.accepted is not None and self.accepted.catalog.is_damaged:
            self.accepted = None
        if self.loaded.drop_damaged():
            self.knows_replaced = False

    def fix(self, edition: Edition) -> None:
        """Serve an edition here for as long as this process lives, whatever is accepted meanwhile."""
        self._is_fixed = True
        self.loaded.serve(edition)

    def is_announced_loaded(self) -> bool:
        """Whether this worker serves what all workers were told last."""
        return self._is_fixed or (self.served is not None and self.announcements.are_loaded())

    async def adopt_announced(self) -> None:
        """Load what another worker has announced, or an earlier run has left behind."""
        if self._is_fixed:
            return
        if not self.is_announced_loaded():
            await asyncio.shield(self._begin_adoption())
        elif not self.knows_replaced and not self._pause.is_on(self._clock()):
            self._begin_adoption()  # A client that asks now does not wait for that.

    async def adopt(self) -> None:
        """Load what the records say was accepted last and is held, unless it is loaded already."""
        if self._is_fixed:
            return
        announced = self.announcements.made()
        recorded = await self._records.recorded()
        announced = self.announcements.make_up(announced, recorded.numbers)
        held = await self._held_edition(recorded.held)
        # The accepted one last: of it the records are to say why it is not verified.
        accepted = await self._edition_of(recorded.accepted, self.accepted)
        await self._load_replaced()
        if self.accepted is not None and (
            recorded.accepted is None or self.accepted.generation.number > recorded.accepted.number
        ):
            return  # A newer one was accepted meanwhile.
        if accepted is not None and self.accepted is not None:
            accepted = self._confirmed_last(accepted, self.accepted)  # A check may have ended meanwhile.
        self._recorded = recorded
        self._is_held = held is not None
        self.accepted = accepted or self.accepted
        to_serve = held or accepted
        if to_serve is not None:
            self._serve(to_serve)
            self.announcements.loaded = announced

    async def close(self) -> None:
        """Stop loading."""
        if self._adoption is not None:
            self._adoption.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._adoption

    def _take(self, edition: Edition) -> None:
        """Note what was accepted last, or confirmed; serve it unless another one is held."""
        self.accepted = edition
        self._recorded = self._recorded._replace(accepted=edition.generation, problem="")
        to_serve = self.served if self._is_held else edition
        if to_serve is not None:
            self._serve(to_serve)

    def _serve(self, edition: Edition) -> None:
        """Serve an edition. A held one is as fresh as the last check: until it is let go nothing is newer."""
        if self._is_held and self.accepted is not None:
            checked_at = self.accepted.generation.checked_at
            if edition.generation.checked_at != checked_at:
                edition = replace(edition, generation=replace(edition.generation, checked_at=checked_at))
        if edition is not self.served:
            self.loaded.serve(edition)

    async def _note_replaced_by(self, edition: Edition) -> None:
        served = self.served
        if served is not None and served.generation.number != edition.generation.number:
            await self._records.note_replaced(served.generation, self._clock(), self._retain_s)

    async def _edition_of(self, recorded: Generation | None, loaded: Edition | None) -> Edition | None:
        """Return the edition of a recorded generation as far as it may be served; None if it cannot be."""
        generation = None if recorded is None else await self._records.verified(recorded)
        if generation is None:
            return None
        if loaded is not None and loaded.generation.number == generation.number:
            return self._confirmed_last(replace(loaded, generation=generation), loaded)
        try:
            return await self._records.load(generation)
        except GenerationLost as error:
            log.warning("generation.lost mirror=%s problem=%s", self._mirror, error)
            return None

    async def _held_edition(self, recorded: Generation | None) -> Edition | None:
        """Return the edition that is held, None if there is none, or if documents of it are lost.

        No check brings these back, as it does those of the accepted one.
        """
        held = await self._edition_of(recorded, self.served)
        if held is None:
            return None
        try:
            await self._records.check_stored(held.generation)
        except GenerationLost as error:
            log.warning("generation.lost mirror=%s problem=%s", self._mirror, error)
            return None
        return held

    def _confirmed_last(self, recorded: Edition, loaded: Edition) -> Edition:
        """Return the recorded edition, or the loaded one of that generation if it was confirmed since."""
        checked_at = loaded.generation.checked_at
        is_same = loaded.generation.number == recorded.generation.number
        if is_same and checked_at >= recorded.generation.checked_at:
            return recorded if lies_ahead(checked_at, self._clock()) else loaded
        return recorded

    async def _load_replaced(self) -> None:
        """Load, once, what an earlier run or another worker has replaced lately."""
        async with self._loading_replaced:
            now = self._clock()
            if self.knows_replaced or self._pause.is_on(now):
                return
            try:
                for generation, when in await self._records.replaced(now - self._retain_s):
                    if self.loaded.numbered(generation.number) is None:
                        with contextlib.suppress(GenerationLost):
                            self.loaded.add_replaced(await self._records.load(generation), when)
            except (StoreFault, OSError) as error:
                # Files that only they name are not served; that is less than everything.
                log.warning("generation.retired_unknown mirror=%s problem=%s", self._mirror, error)
                self._pause = Pause(now, _REPLACED_PAUSE_S)
                return
            self.knows_replaced = True

    def _begin_adoption(self) -> asyncio.Task[None]:
        if self._adoption is None:
            self._adoption = asyncio.create_task(self.adopt(), name=f"adopt {self._mirror}")
            self._adoption.add_done_callback(self._end_adoption)
        return self._adoption

    def _end_adoption(self, _: asyncio.Task[None]) -> None:
        self._adoption = None
