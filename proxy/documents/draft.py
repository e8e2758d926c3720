"""A draft: what one origin publishes now, proved, before it is decided whether that is accepted."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from proxy.documents.age import RollbackError
from proxy.documents.generation import Document, Generation
from proxy.documents.vetting import DocumentRefused, Vetted
from proxy.simplestreams.model import PRODUCTS_FORMAT
from proxy.sources.errors import OriginAbsent, OriginError, OriginForbidden, OriginGarbled, OriginUnreachable

Loss = OriginError | DocumentRefused | RollbackError
"""Why one document of several is not in a draft."""

_MOST_ODDITIES = 20
_BROKEN = (OriginUnreachable, OriginGarbled)
"""Losses that say nothing of what was asked for."""


@dataclass(kw_only=True)
class Draft:
    """A generation in the making."""

    index_path: str
    documents: dict[str, Document] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    """What the origin says that it does not have."""
    gaps: list[str] = field(default_factory=list)
    """Why the origin seems to be in the middle of publishing, or in trouble, in words."""
    refused: dict[str, Loss] = field(default_factory=dict)
    """Lists that cannot be believed, or not be had."""
    oddities: list[str] = field(default_factory=list)
    """What is wrong with entries of its indexes, in words."""
    content_ids: list[str] = field(default_factory=list)
    """The lists that its index names."""
    refused_siblings: dict[str, DocumentRefused | OriginError] = field(default_factory=dict)
    """Flavours that cannot be believed, or that the origin has and does not give."""

    def add(self, vetted: Vetted) -> None:
        """Take a proved document in, with its signature when that is a file of its own."""
        self.documents[vetted.document.path] = vetted.document
        if vetted.signature is not None:
            self.documents[vetted.signature.path] = vetted.signature

    def lose(self, path: str, loss: Loss, current: Generation | None) -> None:
        """Go on without a list that the index names.

        Who said yes to it before, or never heard of it, may have caught the origin
        in the middle of publishing; what is known to be lost is no news.
        """
        self._note_absence(path, loss)
        if not isinstance(loss, OriginAbsent):
            self.refused[path] = loss
        if current is None or path in current.refused:
            return
        if isinstance(loss, OriginAbsent):
            if path in current.documents:
                self.gaps.append(f"{path} is named by the index and has vanished")
        elif isinstance(loss, OriginError):
            self.gaps.append(f"{path} cannot be had: {loss.problem}")
        else:
            self.gaps.append(str(loss))

    def lose_sibling(self, path: str, loss: DocumentRefused | OriginError) -> None:
        """Go on without another flavour of a document."""
        self._note_absence(path, loss)
        if not isinstance(loss, OriginAbsent):
            self.refused_siblings[path] = loss

    def _note_absence(self, path: str, loss: Loss) -> None:
        if isinstance(loss, (OriginAbsent, OriginForbidden)):
            # Object stores say 403 for what they do not have. What was said is kept all the same.
            self.absent.append(path)

    def date_as(self, accepted: Generation) -> None:
        """Give the dates back to what was compared without them, and is what it was."""
        for path, document in self.documents.items():
            former = accepted.documents.get(path)
            if former is not None and former.digest == document.digest:
                self.documents[path] = replace(
                    former, origin=document.origin, etag=document.etag, last_modified=document.last_modified
                )

    @property
    def losses(self) -> tuple[Loss, ...]:
        """Why lists and flavours are not in it, but for those that the origin says are absent."""
        return (*self.refused.values(), *self.refused_siblings.values())

    @property
    def lacking(self) -> set[str]:
        """The lists that the index names and that are not here."""
        return {*self.refused, *self.absent}

    @property
    def has_lists(self) -> bool:
        """Whether there is any products list in it."""
        return any(document.format == PRODUCTS_FORMAT for document in self.documents.values())

    def accepted(self, number: int, keyring: str, now: float, known: Generation | None) -> Generation:
        """Return the generation that a draft becomes; `known` is the one accepted before."""
        losses = {**self.refused, **self.refused_siblings}
        return Generation(
            number=number,
            keyring=keyring,
            accepted_at=now,
            checked_at=now,
            index_path=self.index_path,
            documents=self.documents,
            absent=tuple(sorted(self.absent)),
            gaps=tuple(sorted(self.gaps)),
            refused={path: str(loss) for path, loss in losses.items()},
            broken=tuple(sorted(path for path, loss in losses.items() if isinstance(loss, _BROKEN))),
            oddities=tuple(self.oddities[:_MOST_ODDITIES]),
            content_ids=tuple(sorted(self.content_ids or (known.stream if known else ()))),
            left={} if known is None else known.left_by(self.documents),
        )

    def is_worth_a_loss(self, current: Generation) -> bool:
        """Whether it has anything to give for lists that it lacks, or the origin took these back.

        An origin that merely does not deliver one list, of an index that stays the
        same, gains nobody anything by having that list forgotten. One that names
        lists and has none of them is broken.
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
