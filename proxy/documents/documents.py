"""The documents of one mirror: what clients find, and checking that it is current.

Checking happens in one worker at a time (the board's lock) and, once there is a
generation, behind the clients' backs. A generation replaces another as a whole.
What fails changes nothing but the record of failures.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from proxy.digest import Digest, digest_of
from proxy.documents.assembling import PLAIN_INDEX, Assembler
from proxy.documents.draft import Draft, choose_offer
from proxy.documents.editions import Editions
from proxy.documents.flavours import PLAIN_SUFFIX, SIGNED_INDEX, flavour_of
from proxy.documents.freshness import FreshnessPolicy, Verdict, decide, recheck_after_s, retry_pause_s
from proxy.documents.generation import Edition, Generation, GenerationLost
from proxy.documents.inquiry import ask_origins
from proxy.documents.mirror_records import MirrorRecords
from proxy.documents.mirror_status import Refusal, lists_in_trouble, mirror_status, refusal
from proxy.documents.shared_facts import SharedFacts
from proxy.documents.trouble import Trouble, rollbacks
from proxy.documents.unforeseen import UnforeseenError
from proxy.errors import ProxyError
from proxy.mirror import Mirror
from proxy.moments import NO_PAUSE, Pause, within
from proxy.simplestreams.listing import ListingDamaged
from proxy.simplestreams.model import Item, Products
from proxy.sources.document import FetchOptions, Validators
from proxy.sources.errors import OriginError
from proxy.sources.freshness import Freshness
from proxy.sources.offline import OfflineSwitch
from proxy.sources.route import Route
from proxy.store.files import StoreFault

log = logging.getLogger(__name__)

_INDEX_PATHS = (SIGNED_INDEX, PLAIN_INDEX)

_OTHER_WORKER_POLL_S = 0.05
_BRIEF_WAIT_S = 5.0
_FIRST_WAIT_S = 25.0
"""Longest wait for a first generation; MAAS allows its whole metadata pass 30 s."""


class NoGeneration(ProxyError):
    """A mirror of which no verified generation exists yet."""

    def __init__(self, mirror: str, reason: str) -> None:
        super().__init__(f"mirror {mirror} has no verified documents yet: {reason}")
        self.mirror = mirror
        self.reason = reason


class FlavourUnknown(ProxyError):
    """A flavour of a document that upstream may have, while upstream does not answer."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path} cannot be asked for now: {reason}")
        self.path = path


class Documents:
    """What one mirror serves, kept current."""

    def __init__(
        self,
        mirror: Mirror,
        route: Route,
        assembler: Assembler,
        records: MirrorRecords,
        shared: SharedFacts,
        policy: FreshnessPolicy,
        clock: Callable[[], float],
        offline: OfflineSwitch,
    ) -> None:
        self.mirror = mirror
        self.route = route
        self._assembler = assembler
        self._records = records
        self.unproved = records.why_unproved
        self._shared = shared
        self._policy = policy
        self._clock = clock
        self._offline = offline
        self._editions = Editions(mirror.name, records, shared, policy.retain_s, clock)
        self._check: asyncio.Task[None] | None = None
        self._rest = NO_PAUSE
        """In which origins that have just failed are not asked."""
        self._demands = 0
        self._demands_met = 0
        self._asked_at = -math.inf
        self._doubt_rest = NO_PAUSE
        """In which another doubt about what is listed brings nothing."""
        self._is_doubtful = False
        self._accepts_older = False
        self._trouble = Trouble()

    # What clients get

    async def current(self) -> Edition:
        """Return the edition to serve now; wait for the first one if there is none.

        Raises NoGeneration when none can be had.
        """
        self._asked_at = now = self._clock()
        await self._editions.adopt_announced()
        checked_at = None if self._generation is None else self._generation.checked_at
        verdict = decide(checked_at, now, self._policy)
        if verdict is not Verdict.FRESH or self._lacks_something(now):
            self._begin_check()
        if self._editions.current is None:
            await self._wait_for_first()
        if self._editions.current is None:
            raise NoGeneration(self.mirror.name, self._reason())
        return self._editions.current

    async def find(self, path: str, client: str) -> tuple[Item, Edition] | None:
        """Return the document at `path` and its edition, None when the mirror has none there.

        A client that just read an index gets the lists that belong to it, even
        when a newer generation has arrived in between.
        """
        current = await self.current()
        if path in _INDEX_PATHS:
            self._editions.note_reader(client, current)
            belonging = current
        else:
            belonging = self._editions.read_by(client) or current
        for edition in (belonging, current):
            item = edition.document(path)
            if item is not None:
                return item, edition
        return await self._add_sibling(path) or self._retired_document(path, current.generation)

    def currency(self, item: Item, edition: Edition | None) -> Callable[[str], bool]:
        """Return what says whether a client that asks for a document or an item is to get this now.

        An item changes with the generation: a publisher may have put another file in its place.
        """
        if edition is not None:
            return partial(self._is_current, item.path, edition)
        served = self._number if self._names(item) else None
        return lambda _: self._is_settled() and served == self._number

    def _names(self, item: Item) -> bool:
        with contextlib.suppress(ListingDamaged):
            return self.find_item(item.path) == item
        return False

    @property
    def _number(self) -> int | None:
        generation = self._generation
        return None if generation is None else generation.number

    def _is_settled(self) -> bool:
        """Whether what is served needs no look at what others have announced, nor a check."""
        return self._editions.is_announced_loaded() and not self._offline.is_on

    def _is_current(self, path: str, edition: Edition, client: str) -> bool:
        if not self._is_settled():
            return False
        if path in _INDEX_PATHS:
            if edition is not self._editions.current:
                return False
            self._editions.note_reader(client, edition)
            return True
        return (self._editions.read_by(client) or self._editions.current) is edition

    async def lists(self) -> tuple[Edition, list[Products]]:
        """Return the current edition and its products lists in full. Raises NoGeneration."""
        edition = await self.current()
        try:
            return edition, await self._records.lists(edition.generation)
        except GenerationLost as error:
            self.doubt()
            raise NoGeneration(self.mirror.name, str(error)) from error

    def refusal(self, path: str) -> Refusal | None:
        """Return why the current generation has to do without a list or flavour, None when it has not."""
        return None if self._generation is None else refusal(path, self._generation)

    def find_item(self, path: str) -> Item | None:
        """Return a listed item: of the current edition, or of one replaced lately. Raises ListingDamaged."""
        try:
            return self._editions.item(path)
        except ListingDamaged:
            self._editions.drop_damaged()
            raise

    def find_digest(self, digest: Digest) -> tuple[Item, bool] | None:
        """Return the document or item with a digest, and whether it is a document."""
        return self._editions.find_digest(digest)

    async def knows_what_it_lists(self) -> bool:
        """Whether its lists are loaded, or there have never been any; not when they are lost."""
        await self._editions.adopt_announced()
        if not self._editions.knows_retired:
            return False
        return self._editions.current is not None or await self._records.accepted() is None

    def is_unverifiable(self, path: str) -> bool:
        """Whether a list names `path` without anything that could prove it."""
        return self._editions.current is not None and self._editions.current.catalog.is_unverifiable(path)

    def is_stale(self, edition: Edition) -> bool:
        """Whether an edition is older than the policy likes."""
        checked_at = edition.generation.checked_at
        return decide(checked_at, self._clock(), self._policy) is not Verdict.FRESH

    @property
    def _generation(self) -> Generation | None:
        edition = self._editions.current
        return None if edition is None else edition.generation

    # Keeping current

    async def revalidate(self) -> None:
        """Check with the origins now, however fresh the generation is; `status` says what came of it."""
        if self._offline.is_on:
            return
        self._demands = mine = self._demands + 1
        while self._demands_met < mine:
            self._rest = NO_PAUSE
            self._begin_check()
            check = self._check
            if check is not None:
                await asyncio.wait([check])
                if check.cancelled() or check.exception() is not None:
                    return

    async def add_plain_flavours(self) -> None:
        """From the next check on, fetch plain flavours of the documents too."""
        await self._records.add_siblings({PLAIN_SUFFIX})

    async def confirm(self, *, accept_older: bool = False) -> str | None:
        """Check with the origins now; return why they did not confirm all that is served, or None.

        `accept_older` lets what they have replace what is served though it is older, this once.
        """
        before = self._generation
        self._is_doubtful = True
        self._accepts_older |= accept_older
        try:
            await self.revalidate()
        finally:
            # Whatever came of it: what is checked later was not meant.
            self._accepts_older &= not accept_older
        generation = self._generation
        if generation is not None and generation is not before and not self._trouble.failures:
            return "; ".join(lists_in_trouble(generation).values()) or None
        return self._reason()

    async def recorded(self) -> Generation | None:
        """Return what may be served of the generation accepted last, whether or not it is still here."""
        return await self._records.current()

    async def ask_briefly(self) -> None:
        """Check with the origins for a client that waits, unless they have just failed."""
        if self._offline.is_on or self._rest.is_on(self._clock()):
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_BRIEF_WAIT_S):
                await self.revalidate()

    async def fetch_again(self, document: Item) -> bytes | None:
        """Return a document's bytes as an origin has them now, None if none has those that were proved."""
        for origin in self.route.order():
            with contextlib.suppress(OriginError):
                fetched = await origin.fetch(document.path, Validators(), FetchOptions(Freshness.ANEW))
                if fetched is not None and digest_of(fetched.data) == document.digest:
                    return fetched.data
        return None

    def doubt(self) -> None:
        """Check soon: what is listed turned out to be gone, upstream or here."""
        now = self._clock()
        if not self._offline.is_on and not self._doubt_rest.is_on(now):
            self._doubt_rest = Pause(now, self._policy.retry_after_s)
            self._is_doubtful = True
            self._rest = NO_PAUSE
            self._demands += 1
            self._begin_check()

    async def watch(self) -> None:
        """Check for as long as clients use the mirror, so that they find it fresh."""
        while True:
            await asyncio.sleep(self._policy.fresh_for_s)
            if self._clock() - self._asked_at < self._policy.idle_after_s:
                try:
                    await self.current()
                except Exception as error:  # noqa: BLE001 - the next look may go well
                    log.warning("mirror.not_checked mirror=%s problem=%s", self.mirror.name, error)

    async def status(self) -> dict[str, Any]:
        """Return the mirror's state as JSON values, the same from every worker."""
        await self._editions.adopt_announced()
        trouble = self._trouble
        with contextlib.suppress(StoreFault):
            trouble = await self._records.trouble()
        edition = self._editions.current
        is_stale = edition is not None and self.is_stale(edition)
        status = {
            "origins": [origin.name for origin in self.route.order()],
            "trust": self.mirror.trust.value,
            **mirror_status(self._generation, trouble, self._clock(), is_stale=is_stale),
        }
        if edition is not None:
            status["items"] = await self._records.count_items(edition)
            status["conflicts"] = await self._records.conflicts(edition)
        return status

    async def close(self) -> None:
        """Stop what runs in the background."""
        if self._check is not None:
            self._check.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._check
        await self._editions.close()
        self._shared.close()

    def _lacks_something(self, now: float) -> bool:
        """Whether it is time to ask for what the index names and the origin did not give, or gave wrong.

        Other flavours of the documents may be absent for good.
        """
        generation = self._generation
        if generation is None:
            return False
        absent = [path for path in generation.absent if flavour_of(path, generation) is None]
        pause_s = recheck_after_s(generation.checked_at - generation.accepted_at, self._policy)
        return bool(generation.refused or absent) and not within(generation.checked_at, now, pause_s)

    def _begin_check(self) -> None:
        if self._offline.is_on or self._check is not None or self._rest.is_on(self._clock()):
            return
        self._check = asyncio.create_task(self._check_once(), name=f"check {self.mirror.name}")
        self._check.add_done_callback(self._end_check)

    def _end_check(self, _: asyncio.Task[None]) -> None:
        self._check = None

    async def _wait_for_first(self) -> None:
        if self._check is not None:
            await asyncio.wait([self._check], timeout=_FIRST_WAIT_S)
            await self._editions.adopt_announced()

    async def _check_once(self) -> None:
        """Check, and see to it that whatever goes wrong is told, and tried again."""
        try:
            await self._check_alone()
        except Exception as error:  # noqa: BLE001 - a mirror must not stand still in silence
            problem = error if isinstance(error, ProxyError) else UnforeseenError(error)
            log.error("mirror.check_failed mirror=%s problem=%s", self.mirror.name, problem)  # noqa: TRY400
            self._demands_met = self._demands
            await self._note_failure([problem])

    async def _check_alone(self) -> None:
        if not self._shared.try_lock():
            await self._await_other_worker()
            return
        try:
            await self._editions.adopt()
            self._trouble = await self._records.trouble()
            is_demanded = self._demands_met < self._demands
            self._demands_met = self._demands
            edition = self._editions.current
            is_due = edition is None or self.is_stale(edition) or self._lacks_something(self._clock())
            if is_demanded or is_due:
                await self._ask_origins()
        finally:
            self._shared.unlock()

    async def _await_other_worker(self) -> None:
        while not self._shared.try_lock():  # noqa: ASYNC110 - the event is in another process
            await asyncio.sleep(_OTHER_WORKER_POLL_S)
        self._shared.unlock()
        await self._editions.adopt()
        self._trouble = await self._records.trouble()

    async def _ask_origins(self) -> None:
        known = await self._known()
        siblings = await self._records.siblings()
        freshness = self._freshness_needed()
        ask = partial(ask_origins, self.route, self._assembler, siblings=siblings, freshness=freshness)
        offers, problems = await ask(known)
        choice = choose_offer(offers, self._generation, is_over=self._is_held_back_long())
        accepts_older, self._accepts_older = self._accepts_older, False
        is_too_old = choice.offer is None or rollbacks(choice.offer.draft.problems)
        if known is not None and accepts_older and is_too_old:
            accepted, known = known, known.unbound()
            offers, problems = await ask(known)
            for offer in offers:
                offer.draft.date_as(accepted)
            choice = choose_offer(offers, self._generation, is_over=True)
        problems += choice.held_back
        for problem in problems:
            log.warning("mirror.origin_rejected mirror=%s problem=%s", self.mirror.name, problem)
        if choice.offer is not None:
            try:
                await self._accept(choice.offer.draft, known, problems)
            except (StoreFault, GenerationLost) as error:
                log.warning("mirror.not_stored mirror=%s problem=%s", self.mirror.name, error)
                problems.append(error)
            else:
                self.route.worked(choice.offer.origin)
                return
        await self._note_failure(problems)

    def _freshness_needed(self) -> Freshness:
        """Ask past caches on the way when they may be to blame, or when somebody wants to be sure."""
        generation = self._generation
        is_wrong = self._trouble.failures or (generation is not None and generation.refused)
        is_doubtful, self._is_doubtful = self._is_doubtful, False
        return Freshness.ANEW if is_wrong or is_doubtful else Freshness.CONFIRMED

    def _is_held_back_long(self) -> bool:
        since = self._trouble.held_back_since
        held_back_s = 0.0 if since is None else self._clock() - since
        return held_back_s >= self._policy.hold_back_s

    async def _known(self) -> Generation | None:
        """Return what was accepted last: nothing older will be."""
        accepted, generation = await self._records.accepted(), self._generation
        if accepted is None or (generation is not None and generation.number >= accepted.number):
            return generation
        return accepted.dates_only()

    async def _accept(self, draft: Draft, known: Generation | None, problems: Sequence[ProxyError]) -> None:
        """Serve a draft from now on; `problems` are what kept other origins from being used."""
        current = self._generation
        for problem in draft.problems:
            log.warning("mirror.document_refused mirror=%s problem=%s", self.mirror.name, problem)
        number, keyring = self._editions.next_number(), self._records.keyring_identity
        now = self._clock()
        generation = draft.accepted(number, keyring, now, known)
        if current is not None and current.says_the_same(generation):
            generation = replace(generation, number=current.number, accepted_at=current.accepted_at)
        await self._editions.install(generation)
        trouble = self._trouble.held_back(problems, now).after_success([*problems, *draft.problems])
        await self._write_trouble(trouble)

    # Other flavours

    async def _add_sibling(self, path: str) -> tuple[Item, Edition] | None:
        """Fetch, from now on, a flavour that somebody asks for the first time; return it if there is one.

        Raises FlavourUnknown when no origin could say whether there is.
        """
        generation = self._generation
        suffix = None if generation is None else flavour_of(path, generation)
        if suffix is None or generation is None or self._offline.is_on:
            return None
        if path in generation.absent or path in generation.refused:
            return None
        await self._records.add_siblings({suffix, PLAIN_SUFFIX})
        await self.ask_briefly()
        edition = self._editions.current
        item = None if edition is None else edition.document(path)
        if edition is not None and item is not None:
            return item, edition
        if self._trouble.failures or self._check is not None:
            raise FlavourUnknown(path, self._reason())
        return None

    def _retired_document(self, path: str, current: Generation) -> tuple[Item, Edition] | None:
        """Return a list that left the index lately. Nothing else outlives its generation."""
        if path in _INDEX_PATHS or flavour_of(path, current) is not None:
            return None
        return self._editions.retired_document(path)

    # Failures

    def _reason(self) -> str:
        problem = "the proxy is offline" if self._offline.is_on else self._trouble.last_problem
        return "; ".join(filter(None, (problem or "its origins did not answer in time", self.unproved())))

    async def _note_failure(self, problems: Sequence[ProxyError]) -> None:
        now = self._clock()
        trouble = self._trouble.after_failure(problems, now)
        self._rest = Pause(now, retry_pause_s(trouble.failures, self._policy))
        await self._write_trouble(trouble)

    async def _write_trouble(self, trouble: Trouble) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            try:
                await self._records.note_trouble(trouble)
            except StoreFault as error:
                log.warning("mirror.trouble_not_written mirror=%s problem=%s", self.mirror.name, error)
