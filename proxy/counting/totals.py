"""The sums of what all processes have counted, those that are gone included."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from proxy.counting.earlier import read_earlier
from proxy.counting.subjects import NAMES
from proxy.counting.tally import STEP_S, STEPS, Counts, read_counts

COUNTS = "counts "
"""Before the name of each file. A release that changes the form of the files takes another word."""


class Sums:
    """The counters of one subject, over all processes, by name."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._totals = [0] * len(names)
        self._rows: dict[int, list[int]] = defaultdict(lambda: [0] * len(names))

    def add(self, counts: Counts) -> None:
        """Add what one process counted."""
        self._totals = [a + b for a, b in zip(self._totals, counts.totals, strict=True)]
        for row in counts.rows:
            self._rows[row.number] = [a + b for a, b in zip(self._rows[row.number], row.counts, strict=True)]

    def total(self) -> dict[str, int]:
        """Return the counts of all time."""
        return self._named(self._totals)

    def since(self, now: float, seconds: float) -> dict[str, int]:
        """Return the counts of the last `seconds`, in whole steps; a day at most."""
        last = int(now) // STEP_S
        steps = min(STEPS, round(seconds / STEP_S))
        rows = [row for number, row in self._rows.items() if last - steps < number <= last]
        return self._named([sum(column) for column in zip(*rows, strict=True)])

    def series(self, now: float, steps: int) -> list[tuple[float, dict[str, int]]]:
        """Return the counts of each of the last steps: its start in Unix seconds, and counts."""
        last = int(now) // STEP_S
        numbers = range(last - steps + 1, last + 1)
        return [(float(number * STEP_S), self._named(self._rows.get(number))) for number in numbers]

    def _named(self, counts: list[int] | None) -> dict[str, int]:
        return dict(zip(self._names, counts or [0] * len(self._names), strict=True))


class Totals:
    """The sums of all subjects."""

    def __init__(self) -> None:
        self.store = Sums(NAMES["store"])
        self.limits = Sums(NAMES["limits"])
        self.transfers = Sums(NAMES["transfers"])
        self.parts = Sums(NAMES["parts"])
        self.cuts = Sums(NAMES["cuts"])
        self.log = Sums(NAMES["log"])
        self.of_all = {
            "store": self.store,
            "limits": self.limits,
            "transfers": self.transfers,
            "parts": self.parts,
            "cuts": self.cuts,
            "log": self.log,
        }
        """By the names of their files."""
        self.mirrors: dict[str, Sums] = defaultdict(lambda: Sums(NAMES["mirror"]))
        self.origins: dict[str, Sums] = defaultdict(lambda: Sums(NAMES["origin"]))
        self.all_mirrors = Sums(NAMES["mirror"])
        """Those that are configured no more included."""


def read_totals(directory: Path) -> Totals:
    """Sum up what all processes have counted, those that are gone included. Blocks."""
    totals = Totals()
    for file in sorted(directory.glob("*/*")):
        is_ours = file.name.startswith(COUNTS)
        kind, _, name = unquote(file.name.removeprefix(COUNTS)).partition(" ")
        counts = None
        if kind in NAMES:
            counts = read_counts(file, NAMES[kind]) if is_ours else read_earlier(file, kind, NAMES[kind])
        if counts is None:
            continue
        match kind:
            case "mirror":
                totals.mirrors[name].add(counts)
                totals.all_mirrors.add(counts)
            case "origin":
                totals.origins[name].add(counts)
            case _:
                totals.of_all[kind].add(counts)
    return totals
