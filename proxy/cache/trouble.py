"""What went wrong with a mirror's checks: a value, and how it changes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from proxy.cache.vetting import DocumentRefused, RollbackError
from proxy.errors import ProxyError


class HeldBack(ProxyError):
    """A new index whose lists are not all there yet."""

    def __init__(self, gaps: Iterable[str]) -> None:
        self.gaps = tuple(gaps)
        super().__init__(f"the new index is held back: {'; '.join(self.gaps)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Times are Unix seconds."""

    failures: int = 0
    """Failed checks in a row."""
    since: float | None = None
    last_problem: str = ""
    refusals: int = 0
    """Documents ever refused for their signature, form or age."""
    last_refusal: str = ""
    held_back_since: float | None = None

    def after_failure(self, problems: Sequence[ProxyError], now: float) -> "Trouble":
        """Return the trouble after a check that no origin passed."""
        refusals = _refusals(problems)
        held_back_since = self.held_back_since
        if held_back_since is None and any(isinstance(error, HeldBack) for error in problems):
            held_back_since = now
        return Trouble(
            failures=self.failures + 1,
            since=now if self.since is None else self.since,
            last_problem="; ".join(map(str, problems)),
            refusals=self.refusals + len(refusals),
            last_refusal=refusals[-1] if refusals else self.last_refusal,
            held_back_since=held_back_since,
        )

    def after_success(self, problems: Sequence[ProxyError]) -> "Trouble":
        """Return the trouble after a check that some origin passed, in spite of `problems`."""
        refusals = _refusals(problems)
        return Trouble(
            refusals=self.refusals + len(refusals),
            last_refusal=refusals[-1] if refusals else self.last_refusal,
        )


def _refusals(problems: Iterable[ProxyError]) -> list[str]:
    return [str(error) for error in problems if isinstance(error, (DocumentRefused, RollbackError))]
