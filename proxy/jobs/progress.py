"""How far a prefetch is: values that a terminal, a log or a page may show."""

from dataclasses import dataclass, field
from typing import Protocol, Self

from proxy.jobs.plan import Plan, Wanted


@dataclass(slots=True)
class Summary:
    """What a finished prefetch came to. Sizes in bytes."""

    fetched_bytes: int = 0
    """What arrived from upstream."""
    reused_bytes: int = 0
    """What was here before."""
    shared_bytes: int = 0
    """What several paths share and was needed once."""
    fetched_items: int = 0
    failures: list[tuple[Wanted, str]] = field(default_factory=list)
    """Items that could not be had, and why."""

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """Return the summary of a plan of which nothing is done yet."""
        return cls(reused_bytes=plan.held_bytes, shared_bytes=plan.shared_bytes)

    @property
    def is_complete(self) -> bool:
        """Whether everything that was wanted is here."""
        return not self.failures


class Watcher(Protocol):
    """Somebody who looks on. Called in the event loop; must not block."""

    def planned(self, plan: Plan) -> None:
        """Take note of the plan; the work begins."""

    def moved(self, wanted: Wanted, filled_bytes: int) -> None:
        """Take note that an item is here up to `filled_bytes`."""

    def ended(self, wanted: Wanted, problem: str | None) -> None:
        """Take note that an item is here, or has failed for the reason given."""


class Nobody:
    """A watcher for work that nobody looks at."""

    def planned(self, plan: Plan) -> None:
        """Show nothing."""

    def moved(self, wanted: Wanted, filled_bytes: int) -> None:
        """Show nothing."""

    def ended(self, wanted: Wanted, problem: str | None) -> None:
        """Show nothing."""
