"""Drafts: what origins publish now, verified, and which of them to accept. Pure.

A draft with all lists is better than one that lacks some. A draft that would take away
something that is served is held back for a while, in case its origin is only about to
publish.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from proxy.documents.generation import Document, Generation
from proxy.documents.rollback import RollbackError
from proxy.documents.trouble import HeldBack
from proxy.documents.vetting import DocumentRefused, Vetted
from proxy.simplestreams.model import PRODUCTS_FORMAT
from proxy.sources.errors import OriginAbsent, OriginError, OriginForbidden, OriginGarbled, OriginUnreachable
from proxy.sources.origin import Origin

DocumentProblem = OriginError | DocumentRefused | RollbackError
"""Why one document of several is not in a draft."""

_MOST_ODDITIES = 20
_BROKEN = (OriginUnreachable, OriginGarbled)
"""Problems that say nothing about the document that was asked for."""


@dataclass(kw_only=True)
class Draft:
    """What one origin publishes: a generation unless it is rejected."""

    index_path: str
    documents: dict[str, Document] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    """What the origin says that it does not have."""
    gaps: list[str] = field(default_factory=list)
    """Why the origin seems to be in the middle of publishing, or in trouble, in words."""
    refused: dict[str, DocumentProblem] = field(default_factory=dict)
    """Lists that could not be verified, or not be fetched."""
    oddities: list[str] = field(default_factory=list)
    """What is wrong with entries of its indexes, in words."""
    content_ids: list[str] = field(default_factory=list)
    """The lists that its index names."""
    unproved: dict[str, str] = field(default_factory=dict)
    """Entry points, and files that indexes name, that nothing proves or that were not given, and why."""
    refused_flavours: dict[str, DocumentRefused | OriginError] = field(default_factory=dict)
    """Flavours that could not be verified, or that the origin has and does not give."""

    def add(self, vetted: Vetted) -> None:
        """Add a verified document, with its signature when that is a file of its own."""
        self.documents[vetted.document.path] = vetted.document
        if vetted.signature is not None:
            self.documents[vetted.signature.path] = vetted.signature

    def leave_out(self, path: str, problem: DocumentProblem, current: Generation | None) -> None:
        """Do without a list that the index names.

        If `current` has the list, or does not know it, the origin may be in the middle of
        publishing: note a gap. If `current` does without it already, nothing has changed.
        """
        self._note_absence(path, problem)
        if not isinstance(problem, OriginAbsent):
            self.refused[path] = problem
        if current is None or path in current.refused:
            return
        if isinstance(problem, OriginAbsent):
            if path in current.documents:
                self.gaps.append(f"{path} is named by the index and has vanished")
        elif isinstance(problem, OriginError):
            self.gaps.append(f"{path} cannot be had: {problem.problem}")
        else:
            self.gaps.append(str(problem))

    def leave_out_flavour(self, path: str, problem: DocumentRefused | OriginError) -> None:
        """Do without another flavour of a document."""
        self._note_absence(path, problem)
        if not isinstance(problem, OriginAbsent):
            self.refused_flavours[path] = problem

    def _note_absence(self, path: str, problem: DocumentProblem) -> None:
        if isinstance(problem, (OriginAbsent, OriginForbidden)):
            # Object stores say 403 for what they do not have. What the origin said is kept all the same.
            self.absent.append(path)

    def date_as(self, accepted: Generation) -> None:
        """Restore the dates of documents that were compared without them, and have not changed."""
        for path, document in self.documents.items():
            former = accepted.documents.get(path)
            if former is not None and former.digest == document.digest:
                self.documents[path] = replace(
                    former, origin=document.origin, etag=document.etag, last_modified=document.last_modified
                )

    @property
    def problems(self) -> tuple[DocumentProblem, ...]:
        """Why lists and flavours are left out, but for those that the origin says are absent."""
        return (*self.refused.values(), *self.refused_flavours.values())

    @property
    def lacking(self) -> set[str]:
        """The lists that the index names and that are left out."""
        return {*self.refused, *self.absent}

    @property
    def has_lists(self) -> bool:
        """Whether there is any products list in it."""
        return any(document.format == PRODUCTS_FORMAT for document in self.documents.values())

    def accepted(self, number: int, keyring: str, now: float, known: Generation | None) -> Generation:
        """Return the generation that a draft becomes; `known` is the one accepted before."""
        problems = {**self.refused, **self.refused_flavours}
        named = {*self.content_ids} or (known.stream if known else set())
        had = {document.content_id for document in self.documents.values() if document.content_id}
        return Generation(
            number=number,
            keyring=keyring,
            accepted_at=now,
            checked_at=now,
            index_path=self.index_path,
            documents=self.documents,
            absent=tuple(sorted(self.absent)),
            gaps=tuple(sorted(self.gaps)),
            refused={path: str(problem) for path, problem in problems.items()},
            broken=tuple(sorted(path for path, problem in problems.items() if isinstance(problem, _BROKEN))),
            oddities=tuple(self.oddities[:_MOST_ODDITIES]),
            content_ids=() if named == had else tuple(sorted(named)),
            left={} if known is None else known.left_by(self.documents),
            unproved=self.unproved,
        )

    def is_worth_its_gaps(self, current: Generation) -> bool:
        """Whether clients gain something by it, or the origin itself took back the lists that it lacks.

        If an origin merely fails to deliver one list, and all else stays the same, nobody
        gains by forgetting that list. An origin whose index names lists, and that has none
        of them, is broken.
        """
        if self.lacking and not self.has_lists:
            return False
        if all(path in self.absent for path in self.lacking):
            return True
        held = {path: document.digest for path, document in current.documents.items()}
        return any(held.get(path) != document.digest for path, document in self.documents.items())

    def may_be_completed(self, known_absent: Collection[str]) -> bool:
        """Whether another origin should be asked for what is lacking."""
        return bool(self.refused or self.gaps) or not set(self.absent) <= set(known_absent)


class Offer(NamedTuple):
    """A draft, and the origin that publishes it."""

    origin: Origin
    draft: Draft

    @property
    def updated(self) -> float:
        """The date that the index states."""
        return self.draft.documents[self.draft.index_path].updated or 0.0


class Choice(NamedTuple):
    """The offer to accept, if any, and why others are held back."""

    offer: Offer | None
    held_back: tuple[HeldBack, ...]


def choose_offer(offers: Sequence[Offer], current: Generation | None, *, is_over: bool) -> Choice:
    """Choose among offers, given in the order in which to prefer them.

    `is_over` says that new lists were held back for long enough.
    """
    held_back: list[HeldBack] = []
    ready: list[Offer] = []
    for offer in offers:
        why = _why_not_yet(offer.draft, current, is_over=is_over)
        if why is None:
            ready.append(offer)
        else:
            held_back.append(why)
    if not ready:
        return Choice(None, tuple(held_back))
    if current is not None:
        return Choice(max(ready, key=lambda one: (one.updated, -len(one.draft.lacking))), tuple(held_back))
    fullest = min(ready, key=lambda one: len(one.draft.lacking))
    passed_over = [one for one in ready if one.updated > fullest.updated]
    return Choice(fullest, tuple(HeldBack(_gaps(one.draft), one.draft.problems) for one in passed_over))


def _why_not_yet(draft: Draft, current: Generation | None, *, is_over: bool) -> HeldBack | None:
    """Return why a draft must not replace the current generation yet, None when it may."""
    if current is None:
        return None
    gaps = [gap for gap in draft.gaps if gap not in current.gaps]
    if not gaps or (is_over and draft.is_worth_its_gaps(current)):
        return None
    return HeldBack(gaps, draft.problems)


def _gaps(draft: Draft) -> list[str]:
    return draft.gaps or [f"{path} is missing" for path in sorted(draft.lacking)]
