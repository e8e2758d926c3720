"""What the status pages and `ready` say of a mirror's documents. Pure."""

from dataclasses import asdict
from typing import Any, NamedTuple

from proxy.documents.flavours import FLAVOURS, flavour_of
from proxy.documents.generation import Generation
from proxy.documents.rollback import is_ahead
from proxy.documents.trouble import Trouble
from proxy.documents.vetting import SIGNED_SUFFIX


class Refusal(NamedTuple):
    """Why a document that an index names is not served."""

    why: str
    is_broken: bool
    """Whether the origin gave no answer at all, so that it may be better soon."""


def mirror_status(
    generation: Generation | None, trouble: Trouble, now: float, *, is_stale: bool
) -> dict[str, Any]:
    """Return the state of what is served, and of the checks, as JSON values. Times are Unix seconds."""
    said: dict[str, Any] = {**asdict(trouble), "is_ready": generation is not None, "is_stale": is_stale}
    if generation is None:
        return said
    return said | {
        "generation": generation.number,
        "updated": generation.updated,
        "index_age_s": None if generation.updated is None else max(0, round(now - generation.updated)),
        "accepted_at": generation.accepted_at,
        "checked_at": generation.checked_at,
        "checked_s_ago": round(now - generation.checked_at),
        "signed_by": generation.documents[generation.index_path].fingerprint,
        "documents": len(generation.documents),
        "absent": list(generation.absent),
        "refused": generation.refused,
        "lacking": _lacking(generation),
        "oddities": list(generation.oddities),
        "ahead": [path for path, document in generation.documents.items() if is_ahead(document, now)],
    }


def _lacking(generation: Generation) -> dict[str, str]:
    """Return what the index names and is not here, and the flavours that the origin broke off, and why."""
    return {
        path: why
        for path, why in generation.refused.items()
        if path in generation.broken or flavour_of(path, generation) is None
    }


def lists_in_trouble(generation: Generation) -> dict[str, str]:
    """Return the lists that the index names and that could not be had, and why.

    Not those that the origin says, or may mean to say, it does not have.
    """
    return {path: why for path, why in _lacking(generation).items() if _is_list(path, generation)}


def _is_list(path: str, generation: Generation) -> bool:
    return path not in generation.absent and flavour_of(path, generation) is None


def refusal(path: str, generation: Generation) -> Refusal | None:
    """Return why a generation has to do without a list, or without a flavour of a document."""
    signed = next((path.removesuffix(one) for one in FLAVOURS if path.endswith(one)), path)
    is_signed = generation.index_path.endswith(SIGNED_SUFFIX)
    if is_signed and signed + SIGNED_SUFFIX in generation.refused:
        path = signed + SIGNED_SUFFIX
    elif path in generation.absent and (signed != path or flavour_of(path, generation)):
        return None
    why = generation.refused.get(path) or generation.unproved.get(path)
    return None if why is None else Refusal(why, is_broken=path in generation.broken)
