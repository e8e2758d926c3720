"""What went wrong with a mirror's checks: a value, and how it changes. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from proxy.documents.generation import GenerationLost
from proxy.documents.rollback import RollbackError
from proxy.documents.vetting import DocumentRefused
from proxy.errors import ProxyError
from proxy.moments import lies_ahead
from proxy.signatures.keyhome import HomeFault
from proxy.signatures.keyring import GpgFailed, GpgMissing
from proxy.simplestreams.clearsign import EnvelopeError
from proxy.simplestreams.parse import FormatError
from proxy.sources.errors import OriginError
from proxy.store.files import StoreFault


class HeldBack(ProxyError):
    """A new index whose lists are not all there yet; `refusals` are of documents that came with it."""

    def __init__(self, gaps: Iterable[str], refusals: Sequence[ProxyError] = ()) -> None:
        self.gaps = tuple(gaps)
        self.refusals = tuple(refusals)
        super().__init__(f"the new index is held back: {'; '.join(self.gaps)}")


_LOCAL = (StoreFault, GenerationLost, HomeFault, GpgFailed, GpgMissing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Times are Unix seconds."""

    failures: int = 0
    """Failed checks in a row."""
    since: float | None = None
    last_problem: str = ""
    is_local: bool = False
    """Whether this machine is at fault: its disk, its ledger, its gpg."""
    refusals: int = 0
    """Documents ever refused for their signature, form or age."""
    last_refusal: str = ""
    held_back_since: float | None = None
    causes: tuple[str, ...] = ()
    """What was at fault in the last check, if it failed: "local", "refused", or an origin's Cause."""
    too_old: str = ""
    """What the last check refused for being older than what was accepted, or of another stream."""

    def after_failure(self, problems: Sequence[ProxyError], now: float) -> "Trouble":
        """Return the trouble after a check that no origin passed."""
        refusals = _refusals(problems)
        return Trouble(
            failures=self.failures + 1,
            since=now if self.since is None else min(self.since, now),
            last_problem="; ".join(map(str, problems)),
            is_local=any(isinstance(error, _LOCAL) for error in problems),
            refusals=self.refusals + len(refusals),
            last_refusal=refusals[-1] if refusals else self.last_refusal,
            held_back_since=self.held_back(problems, now).held_back_since,
            too_old="; ".join(map(str, rollbacks(problems))),
            causes=tuple(dict.fromkeys(filter(None, map(_cause, problems)))),
        )

    def held_back(self, problems: Sequence[ProxyError], now: float) -> "Trouble":
        """Return the trouble with since when a new index is held back, if `problems` say that one is."""
        since = self.held_back_since
        is_new = (since is None or lies_ahead(since, now)) and _holds_back(problems)
        return replace(self, held_back_since=now) if is_new else self

    def after_success(self, problems: Sequence[ProxyError]) -> "Trouble":
        """Return the trouble after a check that some origin passed, in spite of `problems`.

        What one origin is held back for while another confirms what is served goes on counting.
        """
        refusals = _refusals(problems)
        return Trouble(
            refusals=self.refusals + len(refusals),
            last_refusal=refusals[-1] if refusals else self.last_refusal,
            held_back_since=self.held_back_since if _holds_back(problems) else None,
            too_old="; ".join(map(str, rollbacks(problems))),
        )


def _cause(error: ProxyError) -> str:
    """Return what is at fault, "" when that is not known."""
    if isinstance(error, _LOCAL):
        return "local"
    if isinstance(error, DocumentRefused) and isinstance(error.cause, (EnvelopeError, FormatError)):
        return "nonsense"
    if isinstance(error, (DocumentRefused, RollbackError)):
        return "refused"
    return error.cause if isinstance(error, OriginError) else ""


def _holds_back(problems: Iterable[ProxyError]) -> bool:
    return any(isinstance(error, HeldBack) for error in problems)


def rollbacks(problems: Iterable[ProxyError]) -> list[RollbackError]:
    """Return what was refused for its age, also among what came with a new index that is held back."""
    return [error for error in _each(problems) if isinstance(error, RollbackError)]


def _refusals(problems: Iterable[ProxyError]) -> list[str]:
    return [str(error) for error in _each(problems) if isinstance(error, (DocumentRefused, RollbackError))]


def _each(problems: Iterable[ProxyError]) -> Iterator[ProxyError]:
    for error in problems:
        yield from error.refusals if isinstance(error, HeldBack) else (error,)
