"""`sstream-proxy prefetch` beside `sstream-mirror`, against an origin with latency and limited bandwidth.

The scenarios, of which the command line may name some:

  parallel     many items, each connection slow: wall time beside sstream-mirror
  capped       many items, the origin's whole link limited: how much of it is used
  nothing-new  all is here already: wall time beside sstream-mirror, and what the origin is asked
  plan         a list of 10,000 items: how long a dry run takes
  kill         killed half way and run again: how much is fetched twice

Rounds alternate between the tools, so that a machine that changes its speed
changes it for both. The figures are medians.
"""

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from servers import Pace, Seen, SlowOrigin, slow_origin, write_config
from stage import Stage, stage

MB = 1_000_000
MBIT_PER_S = MB / 8
LATENCY_S = 0.03
BIN = Path(sys.executable).parent

PARALLEL_ITEMS_BYTES = [5 * MB] * 40
CAPPED_ITEMS_BYTES = [12 * MB] * 40
CAPPED_BYTES_PER_S = 1000 * MBIT_PER_S
CAPPED_JOBS = 32
PLAN_ITEMS = 10_000
KILL_ITEMS_BYTES = [25 * MB] * 8
KILL_POLL_S = 0.02
ERROR_CHARACTERS = 2000


@dataclass(frozen=True)
class Figure:
    """One measured value, and the bar that it should clear."""

    scenario: str
    name: str
    value: float
    at_least: float | None = None
    below: float | None = None

    @property
    def bar(self) -> str:
        """The bar in words, nothing where there is none."""
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return "" if self.below is None else f"< {self.below:g}"

    @property
    def verdict(self) -> str:
        """Whether the value clears its bar, nothing where there is none."""
        if not self.bar:
            return ""
        is_high_enough = self.at_least is None or self.value >= self.at_least
        is_low_enough = self.below is None or self.value < self.below
        return "ok" if is_high_enough and is_low_enough else "MISSED"


@dataclass(frozen=True)
class Run:
    """What a finished command took."""

    started_s: float
    """On the monotonic clock."""
    wall_s: float
    cpu_s: float
    """Of the process and of the children it waited for."""


Tool = Callable[[Stage, SlowOrigin, Path], Run]


def main() -> None:
    """Run the scenarios that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="default: all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()
    if unknown := set(options.scenarios) - set(SCENARIOS):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}; there are: {', '.join(SCENARIOS)}")
    print(f"# {Path(__file__).name}: loopback only, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.2f}")
    print_row("scenario", "figure", "value", "bar", "verdict")
    figures: list[Figure] = []
    for name in options.scenarios or SCENARIOS:
        for figure in SCENARIOS[name](options.rounds):
            figures.append(figure)
            print_figure(figure)
    if options.json is not None:
        rows = [asdict(figure) | {"verdict": figure.verdict} for figure in figures]
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def print_figure(figure: Figure) -> None:
    """Write one line of the table."""
    print_row(figure.scenario, figure.name, f"{figure.value:.4g}", figure.bar, figure.verdict)


def print_row(scenario: str, name: str, value: str, bar: str, verdict: str) -> None:
    """Write one line of the table, at once."""
    print(f"{scenario:12} {name:44} {value:>8}  {bar:6}  {verdict}".rstrip(), flush=True)


def parallel(rounds: int) -> Iterator[Figure]:
    """Fetch everything into empty folders, over connections that are slow one by one."""
    runs: dict[str, list[Run]] = {name: [] for name in TOOLS}
    pace = Pace(LATENCY_S, connection_bytes_per_s=200 * MBIT_PER_S)
    with stage(PARALLEL_ITEMS_BYTES) as ready, slow_origin(ready.root, pace) as origin:
        for _ in range(rounds):
            for name, tool in TOOLS.items():
                with empty_folder(ready) as work:
                    runs[name].append(tool(ready, origin, work))
    yield from times("parallel", runs)
    speedup = median_wall_s(runs["sstream-mirror"]) / median_wall_s(runs["prefetch"])
    yield Figure("parallel", "times as fast as sstream-mirror", speedup, at_least=4)


def capped(rounds: int) -> Iterator[Figure]:
    """Fetch everything over a link that all connections share, and see how full it is."""
    runs: list[Run] = []
    transfers_s: list[float] = []
    pace = Pace(LATENCY_S, total_bytes_per_s=CAPPED_BYTES_PER_S)
    with stage(CAPPED_ITEMS_BYTES) as ready, slow_origin(ready.root, pace) as origin:
        cpu_before_s = origin.cpu_s()
        for _ in range(rounds):
            with empty_folder(ready) as work:
                runs.append(prefetch(ready, origin, work, "--jobs", str(CAPPED_JOBS)))
            transfers_s.append(transfer_s(origin.requests(runs[-1].started_s)))
        origin_cpu_s = (origin.cpu_s() - cpu_before_s) / rounds
    shortest_s = sum(CAPPED_ITEMS_BYTES) / CAPPED_BYTES_PER_S
    share = shortest_s / statistics.median(transfers_s)
    yield Figure("capped", "share of the link, first request to last byte", share, at_least=0.9)
    yield Figure("capped", "share of the link, whole command", shortest_s / median_wall_s(runs))
    yield Figure("capped", "MB/s, first request to last byte", share * CAPPED_BYTES_PER_S / MB)
    yield from times("capped", {"prefetch": runs})
    yield Figure("capped", "origin CPU s", origin_cpu_s)


def nothing_new(rounds: int) -> Iterator[Figure]:
    """Run both again when all is here; three times a round, since they are short."""
    runs: dict[str, list[Run]] = {name: [] for name in TOOLS}
    seen: dict[str, list[Seen]] = {}
    with stage(PARALLEL_ITEMS_BYTES) as ready, slow_origin(ready.root, Pace(LATENCY_S)) as origin:
        for number in range(3 * rounds + 1):
            for name, tool in TOOLS.items():
                work = ready.work / name
                work.mkdir(exist_ok=True)
                one = tool(ready, origin, work)
                seen[name] = origin.requests(one.started_s)
                if number:
                    runs[name].append(one)
    yield from times("nothing-new", runs)
    ratio = median_wall_s(runs["prefetch"]) / median_wall_s(runs["sstream-mirror"])
    yield Figure("nothing-new", "prefetch to sstream-mirror, wall", ratio)
    yield Figure("nothing-new", "sstream-mirror requests", len(seen["sstream-mirror"]))
    conditional = [one for one in seen["prefetch"] if is_document(one) and one.is_conditional]
    yield Figure("nothing-new", "prefetch conditional requests for documents", len(conditional))
    yield Figure("nothing-new", "... of them answered 304", sum(one.status == 304 for one in conditional))
    yield Figure("nothing-new", "prefetch other requests", len(seen["prefetch"]) - len(conditional), below=1)


def plan(rounds: int) -> Iterator[Figure]:
    """Plan a long list: with an empty cache, then with the list in it."""
    runs: dict[str, list[Run]] = {"cold dry run": [], "cached dry run": []}
    with stage([], listed_only=PLAN_ITEMS) as ready, slow_origin(ready.root, Pace(LATENCY_S)) as origin:
        for _ in range(rounds):
            with empty_folder(ready) as work:
                for one in runs.values():
                    one.append(prefetch(ready, origin, work, "--dry-run"))
    yield from times("plan", runs, below_s=2)


def kill(rounds: int) -> Iterator[Figure]:
    """Kill a prefetch when half of everything was sent, and run it again."""
    tree_bytes = sum(KILL_ITEMS_BYTES)
    killed_at_bytes: list[int] = []
    twice_bytes: list[int] = []
    pace = Pace(LATENCY_S, connection_bytes_per_s=200 * MBIT_PER_S)
    with stage(KILL_ITEMS_BYTES) as ready, slow_origin(ready.root, pace) as origin:
        for _ in range(rounds):
            before_bytes = sent_bytes(origin)
            with empty_folder(ready) as work:
                with started(prefetch_command(ready, origin, work)) as process:
                    while process.poll() is None and sent_bytes(origin) < before_bytes + tree_bytes // 2:
                        time.sleep(KILL_POLL_S)
                    if process.poll() is not None:
                        raise SystemExit("the prefetch ended before it could be killed")
                    process.kill()
                killed_at_bytes.append(sent_bytes(origin) - before_bytes)
                prefetch(ready, origin, work)
            twice_bytes.append(sent_bytes(origin) - before_bytes - tree_bytes)
    yield Figure("kill", "MB sent before the kill", statistics.median(killed_at_bytes) / MB)
    yield Figure("kill", "MB fetched twice, worst round", max(twice_bytes) / MB, below=25)


def mirror(ready: Stage, origin: SlowOrigin, work: Path) -> Run:
    """Run sstream-mirror with no filter: everything, verified as ours is."""
    return run([str(BIN / "sstream-mirror"), f"--keyring={ready.keyring}", origin.base, str(work / "mirror")])


def prefetch(ready: Stage, origin: SlowOrigin, work: Path, *options: str) -> Run:
    """Run our prefetch with no filter."""
    return run([*prefetch_command(ready, origin, work), *options])


def prefetch_command(ready: Stage, origin: SlowOrigin, work: Path) -> list[str]:
    """Return the command line of our prefetch, with its data below `work`."""
    config = write_config(work, origin.base, ready.keyring)
    return [str(BIN / "sstream-proxy"), "prefetch", "--config", str(config)]


TOOLS: dict[str, Tool] = {"sstream-mirror": mirror, "prefetch": prefetch}

SCENARIOS: dict[str, Callable[[int], Iterator[Figure]]] = {
    "parallel": parallel,
    "capped": capped,
    "nothing-new": nothing_new,
    "plan": plan,
    "kill": kill,
}


@contextlib.contextmanager
def empty_folder(ready: Stage) -> Iterator[Path]:
    """Make a folder for one run, and remove it."""
    with tempfile.TemporaryDirectory(dir=ready.work) as folder:
        yield Path(folder)


def run(command: list[str]) -> Run:
    """Run a command to its end, once all that earlier ones wrote has reached the disk."""
    os.sync()
    cpu_before_s = children_cpu_s()
    started_s = time.monotonic()
    with started(command) as process:
        _, problems = process.communicate()
    wall_s = time.monotonic() - started_s
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{problems[-ERROR_CHARACTERS:]}")
    return Run(started_s, wall_s, children_cpu_s() - cpu_before_s)


def started(command: list[str]) -> subprocess.Popen[str]:
    """Start a command that asks the origin itself, whatever proxy the environment names."""
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    )


def children_cpu_s() -> float:
    """Return the CPU seconds of all ended children so far, and of theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def times(scenario: str, runs: dict[str, list[Run]], *, below_s: float | None = None) -> Iterator[Figure]:
    """Yield wall and CPU time of each kind of run."""
    for name, ones in runs.items():
        yield Figure(scenario, f"{name} s", median_wall_s(ones), below=below_s)
        yield Figure(scenario, f"{name} CPU s", statistics.median(one.cpu_s for one in ones))


def median_wall_s(runs: list[Run]) -> float:
    """Return the median of the wall times."""
    return statistics.median(one.wall_s for one in runs)


def is_document(seen: Seen) -> bool:
    """Whether an index or a list was asked for, not an item."""
    return seen.path.startswith("streams/")


def transfer_s(seen: list[Seen]) -> float:
    """Return the time from the first request for an item to the last byte of one."""
    items = [one for one in seen if not is_document(one)]
    return max(one.ended_s for one in items) - min(one.came_s for one in items)


def sent_bytes(origin: SlowOrigin) -> int:
    """Return how many bytes of items an origin has sent so far."""
    return sum(one.sent_bytes for one in origin.requests() if not is_document(one))


if __name__ == "__main__":
    main()
