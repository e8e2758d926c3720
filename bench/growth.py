"""What a service's processes take over time: memory and descriptors, sampled, compared and drawn."""

import statistics
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import pygal
import stage  # noqa: F401 - makes `support` importable
from support.process_tree import Process, descriptors, memory, processes, thread_count

_MIB = 1024 * 1024
_LEDGER = "ledger"


class Sample(NamedTuple):
    """One process at a moment."""

    at_s: float
    process: Process
    rss_mib: float
    pss_mib: float


class Window(NamedTuple):
    """A span of time, in seconds since the beginning."""

    since_s: float
    until_s: float


class Idle(NamedTuple):
    """What a process has open while nobody wants anything of it."""

    descriptors: int
    """Without those of the ledger, of which each thread that asked it has some."""
    ledger_descriptors: int
    threads: int


class Growth(NamedTuple):
    """A process in an early window, and in a late one."""

    process: Process
    rss_mib: tuple[float, float]
    pss_mib: tuple[float, float]
    idle: tuple[Idle, Idle]

    @property
    def share(self) -> float:
        """How much more resident memory it has later, as a share of what it had."""
        return self.rss_mib[1] / self.rss_mib[0] - 1

    def told(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "process": f"{self.process.role} {self.process.pid}",
            "rss_mib": self.rss_mib,
            "pss_mib": self.pss_mib,
            "growth": round(self.share, 4),
            "idle": [one._asdict() for one in self.idle],
        }


@dataclass
class Record:
    """The samples of all processes below one supervisor."""

    pid: int
    data_dir: Path
    samples: list[Sample] = field(default_factory=list)
    phases: list[tuple[float, str]] = field(default_factory=list)
    _began_s: float = field(default_factory=time.monotonic)

    def now_s(self) -> float:
        """Return the seconds since the beginning."""
        return time.monotonic() - self._began_s

    def begin(self, phase: str) -> None:
        """Note that a phase begins."""
        self.phases.append((self.now_s(), phase))

    def look(self) -> None:
        """Take a sample of each process."""
        for process in processes(self.pid):
            if (taken := memory(process.pid)) is not None:
                rss_mib, pss_mib = taken.rss_bytes / _MIB, taken.pss_bytes / _MIB
                self.samples.append(Sample(self.now_s(), process, rss_mib, pss_mib))

    def open_now(self) -> dict[Process, Counter[str]]:
        """Return what each process has open, by kind."""
        return {one: descriptors(one.pid, self.data_dir) for one in processes(self.pid)}

    def idle(self) -> dict[Process, Idle]:
        """Return what each process has open; for a moment when it is idle."""
        return {
            process: Idle(found.total() - found[_LEDGER], found[_LEDGER], thread_count(process.pid))
            for process, found in self.open_now().items()
        }

    def growth(
        self, windows: tuple[Window, Window], idle: tuple[dict[Process, Idle], dict[Process, Idle]]
    ) -> list[Growth]:
        """Compare the processes that were there all the time."""
        growths = []
        for process in [one for one in idle[0] if one in idle[1]]:
            early, late = (self._median(process, window) for window in windows)
            growths.append(
                Growth(
                    process,
                    (early.rss_mib, late.rss_mib),
                    (early.pss_mib, late.pss_mib),
                    (idle[0][process], idle[1][process]),
                )
            )
        return growths

    def _median(self, process: Process, window: Window) -> Sample:
        found = [
            one
            for one in self.samples
            if one.process == process and window.since_s <= one.at_s <= window.until_s
        ]
        return Sample(
            window.since_s,
            process,
            round(statistics.median(one.rss_mib for one in found), 2),
            round(statistics.median(one.pss_mib for one in found), 2),
        )

    def draw(self, path: Path) -> None:
        """Write the resident memory of every process over time as an SVG."""
        chart = pygal.XY(title="Resident memory, MiB", x_title="minutes", dots_size=0, js=[])
        highest = max(one.rss_mib for one in self.samples)
        for at_s, phase in self.phases:
            chart.add(phase, [(at_s / 60, 0), (at_s / 60, highest)], stroke_style={"dasharray": "3, 3"})
        ordered = sorted(self.samples, key=lambda one: (one.process.role, one.process.pid, one.at_s))
        for process, samples in groupby(ordered, key=lambda one: one.process):
            points = [(one.at_s / 60, one.rss_mib) for one in samples]
            chart.add(f"{process.role} {process.pid}", points)
        path.write_bytes(chart.render())
