"""One check of a mirror: ask its origins, choose among what they publish, and accept that, or record why not.

Whatever goes wrong with one origin is noted, and the next one is asked. A generation
replaces another as a whole. A check that fails changes nothing but the record of trouble.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from proxy.documents.assembling import Assembler
from proxy.documents.draft import Draft, Offer, choose_offer
from proxy.documents.editions import Editions
from proxy.documents.freshness import FreshnessPolicy
from proxy.documents.generation import Edition, Generation, GenerationLost
from proxy.documents.mirror_records import MirrorRecords
from proxy.documents.trouble import Trouble, rollbacks
from proxy.documents.unforeseen import blamed_on
from proxy.errors import ProxyError
from proxy.sources.document import FetchOptions
from proxy.sources.errors import OriginError
from proxy.sources.freshness import Freshness
from proxy.sources.origin import DocumentSource, Origin
from proxy.sources.route import Route
from proxy.store.files import StoreFault

log = logging.getLogger(__name__)


class AcceptedUnknown(ProxyError):
    """Something was accepted before, and nothing of its record can be read, so anything may be older."""

    def __init__(self, mirror: str, problem: str) -> None:
        super().__init__(
            f"the record of what mirror {mirror} accepted last cannot be read ({problem}), so nothing shows "
            f"whether what its origins publish is older; if that may be accepted: "
            f"sstream-proxy refresh --accept-older {mirror}"
        )


class Answers(NamedTuple):
    """What the origins that were asked publish, and why others gave nothing."""

    offers: list[Offer]
    problems: list[ProxyError]


async def ask_origins(
    route: Route,
    assembler: Assembler,
    known: Generation | None,
    flavours: frozenset[str],
    freshness: Freshness,
) -> Answers:
    """Ask one origin after the other until one has all that its index names.

    `known` is what was accepted last, `flavours` those of documents that clients ask for.
    """
    answers = Answers([], [])
    origins = route.order()
    for origin in origins:
        is_last = origin is origins[-1]
        options = FetchOptions(freshness, is_replaceable=not is_last, is_held=known is not None)
        try:
            with blamed_on(origin.name):
                draft = await assembler.assemble(DocumentSource(origin, options), known, flavours)
        except StoreFault as error:
            # No other origin's lists could be stored either; those that are here are served on.
            answers.problems.append(error)
            break
        except ProxyError as error:
            answers.problems.append(error)
            if isinstance(error, OriginError):
                route.failed(origin)
            continue
        answers.offers.append(Offer(origin, draft))
        if not draft.may_be_completed(() if known is None else known.absent):
            break
    return answers


class OriginCheck:
    """Checks one mirror with its origins. Whoever calls has the mirror's lock."""

    def __init__(
        self,
        mirror: str,
        route: Route,
        assembler: Assembler,
        records: MirrorRecords,
        editions: Editions,
        policy: FreshnessPolicy,
        clock: Callable[[], float],
    ) -> None:
        self._mirror = mirror
        self._route = route
        self._assembler = assembler
        self._records = records
        self._editions = editions
        self._policy = policy
        self._clock = clock
        self.trouble = Trouble()
        """What went wrong with the last checks, as far as this worker knows."""

    async def read_trouble(self) -> None:
        """Read what went wrong with the last checks of any worker."""
        self.trouble = await self._records.trouble()

    async def run(self, *, past_caches: bool, accepts_older: bool) -> bool:
        """Ask the origins, and return whether one of them confirmed or replaced what was accepted.

        `past_caches` asks past caches on the way. `accepts_older` lets what they publish replace
        what was accepted though it is older.
        """
        unknown = self._editions.why_unknown()
        if unknown and not accepts_older:
            await self.note_failure([AcceptedUnknown(self._mirror, unknown)])
            return False
        known = self._editions.accepted_before()
        flavours = await self._records.flavours()
        freshness = self._freshness_needed(past_caches=past_caches)
        offers, problems = await ask_origins(self._route, self._assembler, known, flavours, freshness)
        choice = choose_offer(offers, self.generation, is_over=self._is_held_back_long())
        is_too_old = choice.offer is None or rollbacks(choice.offer.draft.problems)
        if known is not None and accepts_older and is_too_old:
            accepted, known = known, known.unbound()
            offers, problems = await ask_origins(self._route, self._assembler, known, flavours, freshness)
            for offer in offers:
                offer.draft.date_as(accepted)
            choice = choose_offer(offers, self.generation, is_over=True)
        problems += choice.held_back
        for problem in problems:
            log.warning("mirror.origin_rejected mirror=%s problem=%s", self._mirror, problem)
        if choice.offer is not None:
            try:
                await self._accept(choice.offer.draft, known, problems)
            except (StoreFault, GenerationLost) as error:
                log.warning("mirror.not_stored mirror=%s problem=%s", self._mirror, error)
                problems.append(error)
            else:
                self._route.worked(choice.offer.origin)
                return True
        await self.note_failure(problems)
        return False

    async def examine(self, origin: Origin, *, accepts_older: bool) -> Edition:
        """Return what an origin publishes, verified and compared as for `run`, and accept nothing.

        Raises RollbackError for what is older than what was accepted, unless that is accepted now, and
        whatever else keeps it from being accepted.
        """
        unknown = self._editions.why_unknown()
        if unknown and not accepts_older:
            raise AcceptedUnknown(self._mirror, unknown)
        known = self._editions.accepted_before()
        if known is not None and accepts_older:
            known = known.unbound()
        flavours = await self._records.flavours()
        route = Route([origin], time.monotonic)
        answers = await ask_origins(route, self._assembler, known, flavours, Freshness.ANEW)
        if not answers.offers:
            raise answers.problems[0]
        draft = answers.offers[0].draft
        if older := rollbacks(draft.problems):
            raise older[0]
        number, keyring = self._editions.next_number(), self._records.keyring_identity
        return await self._records.load(draft.accepted(number, keyring, self._clock(), known))

    async def note_failure(self, problems: Sequence[ProxyError]) -> None:
        """Record why a check failed."""
        await self._note_trouble(self.trouble.after_failure(problems, self._clock()))

    @property
    def generation(self) -> Generation | None:
        """The generation accepted last, None unless it may and can be served."""
        accepted = self._editions.accepted
        return None if accepted is None else accepted.generation

    def why_unverified(self) -> str:
        """Return why the generation to serve may not be served, "" when it may be."""
        return self._records.why_unverified()

    def _freshness_needed(self, *, past_caches: bool) -> Freshness:
        """Ask past caches on the way also when they may be to blame for what is wrong."""
        generation = self.generation
        is_wrong = self.trouble.failures or (generation is not None and generation.refused)
        return Freshness.ANEW if is_wrong or past_caches else Freshness.CONFIRMED

    def _is_held_back_long(self) -> bool:
        since = self.trouble.held_back_since
        held_back_s = 0.0 if since is None else self._clock() - since
        return held_back_s >= self._policy.hold_back_s

    async def _accept(self, draft: Draft, known: Generation | None, problems: Sequence[ProxyError]) -> None:
        """Accept a draft; `problems` are what kept other origins from being used."""
        current = self.generation
        for problem in draft.problems:
            log.warning("mirror.document_refused mirror=%s problem=%s", self._mirror, problem)
        number, keyring = self._editions.next_number(), self._records.keyring_identity
        now = self._clock()
        generation = draft.accepted(number, keyring, now, known)
        if current is not None and current.says_the_same(generation):
            generation = replace(generation, number=current.number, accepted_at=current.accepted_at)
        await self._editions.accept(generation)
        trouble = self.trouble.held_back(problems, now).after_success([*problems, *draft.problems])
        await self._note_trouble(trouble)

    async def _note_trouble(self, trouble: Trouble) -> None:
        if trouble != self.trouble:
            self.trouble = trouble
            try:
                await self._records.note_trouble(trouble)
            except StoreFault as error:
                log.warning("mirror.trouble_not_written mirror=%s problem=%s", self._mirror, error)
