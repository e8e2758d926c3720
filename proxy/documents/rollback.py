"""What may not replace what was accepted: an older document, or another stream. Pure decisions.

A document states a date, and its signature bears one. Neither may go back. A date that
lies in the future when a document is accepted proves nothing about the documents that
follow: compared with it, every honest one would be refused. The dates that counted before
are compared instead, and the date of the signature where that is believable.

One key signs several streams: of releases, of daily images, of candidates. Whoever stands
between a mirror and its origin could send another stream, newer and validly signed. A
mirror's stream is what its first index named, and what has overlapped with that since.
"""

from collections.abc import Collection
from dataclasses import replace

from proxy.documents.generation import Document
from proxy.errors import ProxyError

TOLERANCE_S = 600.0
"""How far ahead of ours a publisher's clock may be without being wrong."""
_MOST_LISTED = 3


class RollbackError(ProxyError):
    """A validly signed document that is older than one already accepted."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path} is older than the one already accepted: {problem}")
        self.path = path


class AnotherStream(RollbackError):
    """A validly signed index that has nothing in common with the one accepted before."""

    def __init__(self, path: str, found: Collection[str], accepted: Collection[str]) -> None:
        ProxyError.__init__(
            self,
            f"{path} is of another stream: it names {_listed(found)}, and no list that was accepted before, "
            f"as {_listed(accepted)}",
        )
        self.path = path


def check_same_stream(path: str, found: Collection[str], accepted: Collection[str]) -> None:
    """Raise AnotherStream when an index names lists, and none of those known.

    Streams gain lists and lose some; none changes all of them at once.
    """
    if found and accepted and set(found).isdisjoint(accepted):
        raise AnotherStream(path, found, accepted)


def is_ahead(document: Document, now: float) -> bool:
    """Whether either date of a document lies in the future. `now` is in Unix seconds."""
    return any(
        date is not None and date > now + TOLERANCE_S for date in (document.updated, document.signed_at)
    )


def dated(new: Document, accepted: Document | None, now: float) -> Document:
    """Return a document that replaces `accepted`; if a date of it is ahead, with what counts instead."""
    if not is_ahead(new, now):
        return new
    updated, signed_at = (None, None) if accepted is None else _bounds(accepted, now)
    return replace(
        new,
        is_ahead=True,
        least_updated=_believable(new.updated, now) or updated,
        least_signed_at=_believable(new.signed_at, now) or signed_at,
    )


def check_not_older(new: Document, accepted: Document, now: float) -> None:
    """Raise RollbackError when a document states, or its signature bears, too early a date.

    While the dates of both lie in the future they are compared as any two.
    """
    if accepted.is_ahead and is_ahead(accepted, now) and not is_ahead(new, now):
        _check_not_older_than_the_last_believable(new, accepted, now)
        return
    if new.updated is not None and accepted.updated is not None and new.updated != accepted.updated:
        if new.updated < accepted.updated:
            raise RollbackError(new.path, "its 'updated' lies before")
        return
    if _is_before(new.signed_at, accepted.signed_at):
        raise RollbackError(new.path, "its signature was made before")


def _check_not_older_than_the_last_believable(new: Document, accepted: Document, now: float) -> None:
    updated, signed_at = _bounds(accepted, now)
    if _is_before(new.updated, updated):
        raise RollbackError(
            new.path, "its 'updated' lies before that of the last one not dated in the future"
        )
    is_newer = _is_before(updated, new.updated) and _believable(accepted.updated, now) is not None
    if not is_newer and _is_before(new.signed_at, signed_at):
        raise RollbackError(new.path, "its signature was made before")


def _bounds(document: Document, now: float) -> tuple[float | None, float | None]:
    """Return the dates that a document must not fall behind if it is to replace this one."""
    if not document.is_ahead:
        return document.updated, document.signed_at
    return (
        _believable(document.updated, now) or document.least_updated,
        _believable(document.signed_at, now) or document.least_signed_at,
    )


def _is_before(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and one < other


def _believable(date: float | None, now: float) -> float | None:
    return date if date is not None and date <= now + TOLERANCE_S else None


def _listed(names: Collection[str]) -> str:
    first = sorted(names)[:_MOST_LISTED]
    return ", ".join(first) + (" ..." if len(names) > _MOST_LISTED else "")
