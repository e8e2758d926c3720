"""`sstream-proxy prefetch` beside sstream-mirror, from an origin with latency and limited bandwidth.

  parallel     many items, each connection slow: wall time beside sstream-mirror
  capped       many items, the origin's whole link limited: how much of it is used
  nothing-new  all is here already: wall time beside sstream-mirror, and what the origin is asked
  plan         a list of 10,000 items: how long a dry run takes
  kill         killed half way and run again: how much is fetched twice

Ours syncs every item to disk before it counts as fetched; sstream-mirror does
not. Where CPU seconds come near the wall time, the command is what limits.
"""

import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from commands import Run, run, started
from figures import Bar, Effort, Finding, Row, alternate
from remarks import note_left_out
from servers import Pace, Seen, SlowOrigin, slow_origin, write_config
from stage import Stage, stage

NEEDS = ("gpgv",)
MB = 1_000_000
_MBIT_PER_S = MB / 8
_LATENCY_S = 0.03
_BIN = Path(sys.executable).parent
_MIRROR = "sstream-mirror"
_SSTREAM_MIRROR = _BIN / _MIRROR

_PARALLEL_ITEMS_BYTES = [5 * MB] * 40
_CAPPED_ITEMS_BYTES = [12 * MB] * 40
_CAPPED_BYTES_PER_S = 1000 * _MBIT_PER_S
_CAPPED_JOBS = 32
_PLAN_ITEMS = 10_000
_KILL_ITEMS_BYTES = [25 * MB] * 8
_KILL_POLL_S = 0.02


Tool = Callable[[Stage, SlowOrigin, Path], Run]


def measure(effort: Effort) -> Iterator[Finding]:
    """Yield the figures of all parts."""
    for part in (_parallel, _capped, _nothing_new, _plan, _kill):
        yield from part(effort)


def _parallel(effort: Effort) -> Iterator[Finding]:
    """Fetch everything into empty folders, over connections that are slow one by one."""
    pace = Pace(_LATENCY_S, connection_bytes_per_s=200 * _MBIT_PER_S)
    items_bytes = _PARALLEL_ITEMS_BYTES[: effort.scaled(len(_PARALLEL_ITEMS_BYTES))]
    with stage(items_bytes) as ready, slow_origin(ready.root, pace) as origin:

        def one_run(name: str, _: int) -> Mapping[str, float]:
            with _empty_folder(ready) as work:
                return _tools()[name](ready, origin, work).figures()

        rounds = alternate(list(_tools()), effort.rounds, one_run)
    yield from rounds.rows("parallel", lambda figures: 1 / figures["wall s"])
    if _MIRROR in _tools():
        ratio = rounds.ratio("wall s", _MIRROR, "prefetch")
        yield Bar("parallel: times as fast as sstream-mirror", ratio, at_least=6)


def _capped(effort: Effort) -> Iterator[Finding]:
    """Fetch everything over a link that all connections share, and see how full it is."""
    pace = Pace(_LATENCY_S, total_bytes_per_s=_CAPPED_BYTES_PER_S)
    items_bytes = _CAPPED_ITEMS_BYTES[: effort.scaled(len(_CAPPED_ITEMS_BYTES))]
    shortest_s = sum(items_bytes) / _CAPPED_BYTES_PER_S
    with stage(items_bytes) as ready, slow_origin(ready.root, pace) as origin:

        def one_run(_: str, __: int) -> Mapping[str, float]:
            before_s = origin.cpu_s()
            with _empty_folder(ready) as work:
                run = _prefetch(ready, origin, work, "--jobs", str(_CAPPED_JOBS))
            return {
                **run.figures(),
                "share of the link": shortest_s / _transfer_s(origin.requests(run.started_s)),
                "origin CPU s": origin.cpu_s() - before_s,
            }

        rounds = alternate(["prefetch"], effort.rounds, one_run)
    yield from rounds.rows("capped")
    share = rounds.median("prefetch", "share of the link")
    yield Bar("capped: share of the link, first request to last byte", share, at_least=0.9)


def _nothing_new(effort: Effort) -> Iterator[Finding]:
    """Run both again when all is here; three times a round, since they are short."""
    seen: dict[str, list[Seen]] = {}
    items_bytes = _PARALLEL_ITEMS_BYTES[: effort.scaled(len(_PARALLEL_ITEMS_BYTES))]
    with stage(items_bytes) as ready, slow_origin(ready.root, Pace(_LATENCY_S)) as origin:

        def one_run(name: str, _: int) -> Mapping[str, float]:
            work = ready.work / name
            work.mkdir(exist_ok=True)
            run = _tools()[name](ready, origin, work)
            seen[name] = origin.requests(run.started_s)
            return run.figures()

        for name in _tools():
            one_run(name, 0)
        rounds = alternate(list(_tools()), 3 * effort.rounds, one_run)
    yield from rounds.rows("nothing new", lambda figures: 1 / figures["wall s"])
    conditional = [one for one in seen["prefetch"] if _is_document(one) and one.is_conditional]
    asked = {
        "requests": len(seen["prefetch"]),
        "conditional, for documents": len(conditional),
        "of them answered 304": sum(one.status == 304 for one in conditional),
    }
    yield Row("nothing new, asked", "prefetch", asked)
    if _MIRROR in seen:
        yield Row("nothing new, asked", _MIRROR, {"requests": len(seen[_MIRROR])})
    others = len(seen["prefetch"]) - len(conditional)
    yield Bar("nothing new: requests but conditional ones for documents", others, at_most=0)


def _plan(effort: Effort) -> Iterator[Finding]:
    """Plan a long list: with an empty cache, then with the list in it."""
    case = "plan"
    runs: dict[str, list[Run]] = {"dry run, empty cache": [], "dry run, list cached": []}
    listed = effort.scaled(_PLAN_ITEMS)
    with stage([], listed_only=listed) as ready, slow_origin(ready.root, Pace(_LATENCY_S)) as origin:
        for _ in range(effort.rounds):
            with _empty_folder(ready) as work:
                for ones in runs.values():
                    ones.append(_prefetch(ready, origin, work, "--dry-run"))
    for name, ones in runs.items():
        wall_s = statistics.median(one.wall_s for one in ones)
        cpu_s = statistics.median(one.cpu_s for one in ones)
        yield Row(case, name, {"wall s": wall_s, "CPU s": cpu_s})
        yield Bar(f"plan: {name}, s", wall_s, at_most=2)


def _kill(effort: Effort) -> Iterator[Finding]:
    """Kill a prefetch when half of everything was sent, and run it again."""
    tree_bytes = sum(_KILL_ITEMS_BYTES)
    killed_at_bytes: list[int] = []
    twice_bytes: list[int] = []
    pace = Pace(_LATENCY_S, connection_bytes_per_s=200 * _MBIT_PER_S)
    with stage(_KILL_ITEMS_BYTES) as ready, slow_origin(ready.root, pace) as origin:
        for _ in range(effort.rounds):
            before_bytes = _sent_bytes(origin)
            with _empty_folder(ready) as work:
                with started(_prefetch_command(ready, origin, work)) as process:
                    while process.poll() is None and _sent_bytes(origin) < before_bytes + tree_bytes // 2:
                        time.sleep(_KILL_POLL_S)
                    if process.poll() is not None:
                        raise SystemExit("the prefetch ended before it could be killed")
                    process.kill()
                killed_at_bytes.append(_sent_bytes(origin) - before_bytes)
                _prefetch(ready, origin, work)
            twice_bytes.append(_sent_bytes(origin) - before_bytes - tree_bytes)
    yield Row("kill", "prefetch", {"MB before the kill": statistics.median(killed_at_bytes) / MB})
    yield Bar("kill: MB fetched twice, worst round", max(twice_bytes) / MB, at_most=25)


def _mirror(ready: Stage, origin: SlowOrigin, work: Path) -> Run:
    """Run sstream-mirror with no filter: everything, verified as ours is."""
    return run([str(_SSTREAM_MIRROR), f"--keyring={ready.keyring}", origin.base, str(work / "mirror")])


def _prefetch(ready: Stage, origin: SlowOrigin, work: Path, *options: str) -> Run:
    """Run our prefetch with no filter."""
    return run([*_prefetch_command(ready, origin, work), *options])


def _prefetch_command(ready: Stage, origin: SlowOrigin, work: Path) -> list[str]:
    """Return the command line of our prefetch, with its data below `work`."""
    config = write_config(work, [origin.base], ready.keyring)
    return [str(_BIN / "sstream-proxy"), "prefetch", "--config", str(config)]


def _tools() -> dict[str, Tool]:
    """Return what is compared, as far as it is installed."""
    if _SSTREAM_MIRROR.exists():
        return {_MIRROR: _mirror, "prefetch": _prefetch}
    note_left_out(_MIRROR, "it is not installed: pip install -e . --group test")
    return {"prefetch": _prefetch}


@contextlib.contextmanager
def _empty_folder(ready: Stage) -> Iterator[Path]:
    """Make a folder for one run, and remove it."""
    with tempfile.TemporaryDirectory(dir=ready.work) as folder:
        yield Path(folder)


def _is_document(seen: Seen) -> bool:
    """Whether an index or a list was asked for, not an item."""
    return seen.path.startswith("streams/")


def _transfer_s(seen: list[Seen]) -> float:
    """Return the time from the first request for an item to the last byte of one."""
    items = [one for one in seen if not _is_document(one)]
    return max(one.ended_s for one in items) - min(one.came_s for one in items)


def _sent_bytes(origin: SlowOrigin) -> int:
    """Return how many bytes of items an origin has sent so far."""
    return sum(one.sent_bytes for one in origin.requests() if not _is_document(one))
