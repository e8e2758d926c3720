"""Which origins may be asked for one item, and in which order.

Keeps what a transfer finds out about them: which do not have the item, which have a wrong
copy, which refuse to give it. Asks nobody, and waits for nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from proxy.sources.errors import (
    ItemAbsent,
    OriginAbsent,
    OriginError,
    OriginForbidden,
    WrongCopy,
    WrongLength,
)
from proxy.sources.origin import Origin
from proxy.sources.route import Route

_REFUSALS = 2
"""How often an origin refuses until it is believed."""
_REFUSED_PAUSE_S = 2.0
"""An origin that lets only so many requests through a second may give the item after that."""


class Source(NamedTuple):
    """Where an item can be had: a mirror's origins, and the item's path there."""

    route: Route
    path: str
    turn: int = 0
    """With which origin to begin, where all are used alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubts:
    """What earlier transfers of an item have found out about its origins."""

    wrong_at: Mapping[str, str] = field(default_factory=dict)
    """Why the copy of each of these origins was found wrong a short while ago; they are not asked.

    A key may also be the URL that an origin had redirected to: that is not followed.
    """
    is_mixed: bool = False
    """Whether the bytes of several origins together were wrong: now all have to come from one."""
    is_suspect: bool = False
    """Whether wrong bytes came before: a cache on the way may keep those."""


class Candidate(NamedTuple):
    """An origin, and the source that names it."""

    origin: Origin
    source: Source


class Candidates:
    """The origins of one item's sources, during one transfer. Sources may be added meanwhile."""

    def __init__(self, sources: Sequence[Source], doubts: Doubts) -> None:
        self._sources = sources
        self._wrong_at = doubts.wrong_at
        self._useless: dict[tuple[Origin, str], OriginError] = {}
        self._refusals: dict[Candidate, int] = {}
        """How often in a row each origin has refused to give the item."""
        self._remark = ""
        """What else the latest refusal may mean."""
        self.bad_places = set(doubts.wrong_at)
        """The URLs that redirects have led to, and whose copies are wrong."""

    @property
    def path(self) -> str:
        """What the item is called in messages."""
        return self._sources[0].path

    @property
    def remark(self) -> str:
        """What else the latest refusal may mean."""
        return self._remark

    @property
    def wrong_lengths(self) -> list[WrongLength]:
        """What was found out about copies of another size."""
        return [error for error in self._useless.values() if isinstance(error, WrongLength)]

    def absent_at(self, path: str) -> set[str]:
        """Return the names of the origins that say that they have nothing at a path."""
        return {
            origin.name
            for (origin, asked), error in self._useless.items()
            if asked == path and isinstance(error, OriginAbsent)
        }

    def able(self) -> list[Candidate]:
        """Return the origins that may have the item, the best first; none when all have proved useless."""
        return [
            Candidate(origin, source)
            for source in self._sources
            for origin in source.route.order(source.turn)
            if (origin, source.path) not in self._useless and origin.name not in self._wrong_at
        ]

    def exhausted(self) -> ItemAbsent | WrongCopy:
        """Return what it means that no origin is able any more."""
        for error in self._useless.values():
            if isinstance(error, WrongCopy):
                return error
        for name, problem in self._wrong_at.items():
            return WrongCopy(name, problem)
        return ItemAbsent(self.path)

    def note(self, candidate: Candidate, error: OriginError, *, contradicts_itself: bool) -> None:
        """Decide by an error whether an origin is asked again, and when.

        An origin that has sent a part and now says something else contradicts itself: a login page
        may hide what it has.
        """
        if error.is_about_question:
            return
        if isinstance(error, OriginForbidden):
            self._refusals[candidate] = self._refusals.get(candidate, 0) + 1
            self._remark = error.remark
            return
        self._refusals.pop(candidate, None)
        if isinstance(error, WrongLength) and error.place and error.place not in self.bad_places:
            # A redirector may choose another mirror the next time.
            self.bad_places.add(error.place)
        elif isinstance(error, OriginAbsent) or (isinstance(error, WrongCopy) and not contradicts_itself):
            self._useless[candidate.origin, candidate.source.path] = error
        else:
            candidate.source.route.failed(candidate.origin)

    def all_refuse(self) -> bool:
        """Say whether all that may have the item refuse to give it, as far as can be believed."""
        return all(self._refusals.get(one, 0) >= _REFUSALS for one in self.able())

    def least_pause_s(self) -> float:
        """Return how long to wait at least before all are asked once more."""
        return _REFUSED_PAUSE_S if all(one in self._refusals for one in self.able()) else 0.0
