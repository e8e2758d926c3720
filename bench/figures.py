"""What a scenario finds: rows of figures, and the bars that they are held to."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from remarks import note_left_out


@dataclass(frozen=True)
class Effort:
    """How much work a scenario puts into its figures."""

    rounds: int = 5
    seconds: float = 2.0
    """How long a load lasts, in each round."""
    share: float = 1.0
    """Of the full size of what is served; bars are meant for 1."""

    def scaled(self, full: int) -> int:
        """Return so much of a number of bytes, items or clients, at least one."""
        return max(1, int(full * self.share))


@dataclass(frozen=True)
class Row:
    """One server in one case. The first row of a case is what the others are compared with."""

    case: str
    server: str
    figures: Mapping[str, float]
    """Medians by name, which ends in the unit."""
    speed: float | None = None
    """In any unit, higher is faster: what the plot compares."""


@dataclass(frozen=True)
class Bar:
    """A value that matters, and the limit that it is held to, if any."""

    what: str
    value: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def limit(self) -> str:
        """The limits in signs, nothing where there is none."""
        signs = ((">=", self.at_least), ("<=", self.at_most))
        return ", ".join(f"{sign} {limit:g}" for sign, limit in signs if limit is not None)

    @property
    def is_met(self) -> bool:
        """Whether the value keeps to all of its limits."""
        is_high_enough = self.at_least is None or self.value >= self.at_least
        return is_high_enough and (self.at_most is None or self.value <= self.at_most)

    @property
    def verdict(self) -> str:
        """Whether the limit is kept, in words; nothing where there is none."""
        if not self.limit:
            return ""
        return "met" if self.is_met else "NOT MET"


@dataclass(frozen=True)
class Note:
    """Something that the reader of the figures must know, such as what is not installed."""

    text: str


Finding = Row | Bar | Note


class Rounds:
    """The figures of each server, round by round."""

    def __init__(self) -> None:
        self._figures: dict[str, list[Mapping[str, float]]] = {}

    def add(self, server: str, figures: Mapping[str, float]) -> None:
        """Note what one round of a server came to."""
        self._figures.setdefault(server, []).append(figures)

    @property
    def servers(self) -> list[str]:
        """Those that have figures."""
        return list(self._figures)

    def values(self, server: str, figure: str) -> list[float]:
        """Return a figure of each round."""
        return [one[figure] for one in self._figures[server]]

    def median(self, server: str, figure: str) -> float:
        """Return the median over all rounds."""
        return statistics.median(self.values(server, figure))

    def worst(self, server: str, figure: str) -> float:
        """Return the largest of all rounds."""
        return max(self.values(server, figure))

    def ratio(self, figure: str, subject: str, reference: str) -> float:
        """Return the median of the ratios within each round, so that a drifting machine cancels out."""
        pairs = zip(self._figures[subject], self._figures[reference], strict=True)
        return statistics.median(mine[figure] / theirs[figure] for mine, theirs in pairs)

    def rows(self, case: str, speed: Callable[[Mapping[str, float]], float] | None = None) -> list[Row]:
        """Return the medians of every server, in the order in which they were first added."""
        rows = []
        for server, rounds in self._figures.items():
            medians = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
            rows.append(Row(case, server, medians, None if speed is None else speed(medians)))
        return rows


def alternate(
    servers: Sequence[str], rounds: int, measure: Callable[[str, int], Mapping[str, float]]
) -> Rounds:
    """Measure the servers in turn, `rounds` times; each round begins with another one.

    One that fails is left out from then on, with all of its rounds.
    """
    found: dict[str, list[Mapping[str, float]]] = {server: [] for server in servers}
    for number in range(rounds):
        first = number % len(servers)
        for server in [*servers[first:], *servers[:first]]:
            if server not in found:
                continue
            try:
                found[server].append(measure(server, number))
            except (SystemExit, RuntimeError, OSError, ValueError) as error:
                del found[server]
                note_left_out(server, f"it failed in round {number + 1}: {error}")
    result = Rounds()
    for server, figures in found.items():
        for one in figures:
            result.add(server, one)
    return result


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that `share` of all values do not exceed (the nearest rank)."""
    ordered = sorted(values)
    rank = -int(-share * len(ordered) // 1)
    return ordered[max(rank, 1) - 1]
