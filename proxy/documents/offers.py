"""Which origin's draft to accept: a pure decision.

A draft with all lists is better than one that lacks some. One that would lose
what is served waits for a while, in case the origin is only about to publish.
"""

from collections.abc import Sequence
from typing import NamedTuple

from proxy.documents.draft import Draft
from proxy.documents.generation import Generation
from proxy.documents.trouble import HeldBack
from proxy.sources.http.origin import Origin


class Offer(NamedTuple):
    """What one origin has now."""

    origin: Origin
    draft: Draft

    @property
    def updated(self) -> float:
        """The date that the index states."""
        return self.draft.documents[self.draft.index_path].updated or 0.0


class Choice(NamedTuple):
    """The offer to accept, if any, and what keeps others waiting."""

    offer: Offer | None
    held_back: tuple[HeldBack, ...]


def choose_offer(offers: Sequence[Offer], current: Generation | None, *, is_over: bool) -> Choice:
    """Choose among offers, made in the order in which to prefer them.

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
    return Choice(fullest, tuple(HeldBack(_gaps(one.draft), one.draft.losses) for one in passed_over))


def _why_not_yet(draft: Draft, current: Generation | None, *, is_over: bool) -> HeldBack | None:
    """Return what keeps a draft from replacing the generation that is served."""
    if current is None:
        return None
    gaps = [gap for gap in draft.gaps if gap not in current.gaps]
    if not gaps or (is_over and draft.is_worth_a_loss(current)):
        return None
    return HeldBack(gaps, draft.losses)


def _gaps(draft: Draft) -> list[str]:
    return draft.gaps or [f"{path} is missing" for path in sorted(draft.lacking)]
