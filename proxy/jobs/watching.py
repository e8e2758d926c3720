"""How far a prefetch is: values that a terminal, a log or a page may show, and who is told of them."""

from dataclasses import dataclass, field
from typing import Self

from proxy.jobs.choosing import Chosen
from proxy.jobs.plan import Forecast, Plan, Wanted


@dataclass(slots=True)
class FetchReport:
    """What has come of a prefetch's transfers so far. Sizes in bytes."""

    fetched_bytes: int = 0
    """What arrived from upstream."""
    reused_bytes: int = 0
    """What was here before."""
    shared_bytes: int = 0
    """What several paths share and was needed once."""
    fetched_items: int = 0
    failures: list[tuple[Wanted, str]] = field(default_factory=list)
    """Items that could not be had, and why."""
    absent: list[Wanted] = field(default_factory=list)
    """Those of them that no origin has."""
    untried: str | None = None
    """Why no transfer was tried at all, although items are missing."""

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """Return the report on a plan of which nothing is done yet."""
        return cls(reused_bytes=plan.held_bytes, shared_bytes=plan.shared_bytes)


def failure_text(wanted: Wanted, problem: str) -> str:
    """Return what is said of an item that failed, where its mirror is known."""
    return f"{wanted.item.path}: {problem}"


class Watcher:
    """Somebody who looks on; this one reacts to nothing. Called in the event loop, and must not block."""

    def unchecked(self, mirror: str, problem: str) -> None:
        """Take note that a mirror's lists could not be checked, and are used as they were."""

    def chosen(self, chosen: Chosen) -> None:
        """Take note of what the selection means."""

    def planned(self, plan: Plan, forecast: Forecast) -> None:
        """Take note of the plan, and of what it would do; it may not fit."""

    def begun(self, plan: Plan) -> None:
        """Take note that the transfers begin."""

    def moved(self, wanted: Wanted, filled_bytes: int) -> None:
        """Take note that an item is here up to `filled_bytes`."""

    def absent(self, wanted: Wanted, problem: str) -> None:
        """Take note that an item has failed since no origin has it."""
        self.ended(wanted, problem)

    def ended(self, wanted: Wanted, problem: str | None) -> None:
        """Take note that an item is here, or has failed for the reason given."""
