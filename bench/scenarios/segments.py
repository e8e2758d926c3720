"""One large cold item over several connections, from origins that are slow on each.

  alone     256 MiB; the origin sends 50 Mbit/s a connection and 200 in all, 30 ms away
  link      the same with 100 Mbit/s a connection: the link is what limits
  two       a second client wants another item while the first one's comes
  origins   two origins of 100 Mbit/s each, beside one of them
  lying     one of two origins sends other bytes of the right length from the middle on
  dying     one of two origins breaks all connections once it has sent a quarter

Every reply is hashed. Each run begins with an empty store. What one connection
gives is measured once, with ours set to it and by a client without any proxy, both
at a time, for it hardly varies.
"""

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from clients import Download, download
from figures import Bar, Effort, Finding, Rounds, Row
from remarks import Switch, note_left_out
from servers import Pace, SlowOrigin, ours, slow_origin
from servers.names import OURS
from stage import INDEX_PATH, Stage, stage
from support.tree import TreeItem

MIB = 1024 * 1024
_ITEM_BYTES = 256 * MIB
_MBIT_PER_S = 1_000_000 / 8
_LATENCY_S = 0.03
_LINK_BYTES_PER_S = 200 * _MBIT_PER_S
_PACE = Pace(_LATENCY_S, 50 * _MBIT_PER_S, _LINK_BYTES_PER_S)
_ONE_CONNECTION = Switch("upstream.connections_per_item", "1", "4", "what is compared")
_OFF = f"{OURS}, one connection"
_NO_PROXY = "a client alone, one connection"
_MOST_ROUNDS = 3
_WINDOW_MIB = 64
"""Most that may be under way ahead of what is delivered, and so be fetched for nothing."""
_MOST_ATTEMPTS = 5
_SECOND_COMES_S = 2.0
_POLL_S = 0.2


def measure(effort: Effort) -> Iterator[Finding]:
    """Yield the figures of all parts."""
    rounds = min(effort.rounds, _MOST_ROUNDS)
    with stage([effort.scaled(_ITEM_BYTES)] * 2) as ready:
        yield from _alone(ready, rounds)
        yield from _link(ready, rounds)
        yield from _two(ready, rounds)
        yield from _origins(ready, rounds)
        yield from _lying(ready)
        yield from _dying(ready)


def _alone(ready: Stage, rounds: int) -> Iterator[Finding]:
    """Compare several connections with one."""
    found = Rounds()
    item = ready.items[0]
    slow = _one_connection(ready, item)
    for _ in range(rounds):
        found.add(OURS, _one_run(ready, item, [_PACE]).figures())
    case = "50 Mbit/s a connection"
    for name, run in slow.items():
        yield Row(case, name, run.figures(), 1 / run.seconds)
    yield from found.rows(case, lambda figures: 1 / figures["wall s"])
    for name, run in slow.items():
        ratio = run.seconds / found.median(OURS, "wall s")
        yield Bar(f"alone: times as fast as {name}", ratio, at_least=3.5)


def _link(ready: Stage, rounds: int) -> Iterator[Finding]:
    """See how full a link is that two connections would fill."""
    found = Rounds()
    pace = Pace(_LATENCY_S, 100 * _MBIT_PER_S, _LINK_BYTES_PER_S)
    for _ in range(rounds):
        run = _one_run(ready, ready.items[0], [pace])
        found.add(OURS, {**run.figures(), "share of the link": run.share_of(_LINK_BYTES_PER_S)})
    yield from found.rows("100 Mbit/s a connection")
    share = found.median(OURS, "share of the link")
    yield Bar("link: share of 200 Mbit/s, first request to last byte", share, at_least=0.95)


def _two(ready: Stage, rounds: int) -> Iterator[Finding]:
    """Let a second client come, and see what each gets while both wait."""
    found = Rounds()
    for _ in range(rounds):
        found.add(OURS, _share_of_each(ready))
    yield from found.rows("a second client, another item")
    least = found.median(OURS, "least share of the link")
    yield Bar("two: share of the link of who gets less", least, at_least=0.4)


def _origins(ready: Stage, rounds: int) -> Iterator[Finding]:
    """Compare two origins with one of them."""
    found = Rounds()
    pace = Pace(_LATENCY_S, total_bytes_per_s=100 * _MBIT_PER_S)
    item = ready.items[0]
    one = _one_run(ready, item, [pace])
    for _ in range(rounds):
        found.add(f"{OURS}, two origins", _one_run(ready, item, [pace, pace]).figures())
    case = "origins of 100 Mbit/s"
    yield Row(case, f"{OURS}, one origin", one.figures(), 1 / one.seconds)
    yield from found.rows(case, lambda figures: 1 / figures["wall s"])
    ratio = one.seconds / found.median(f"{OURS}, two origins", "wall s")
    yield Bar("origins: two, times as fast as one of them", ratio, at_least=1.8)


def _lying(ready: Stage) -> Iterator[Finding]:
    """Let one of two origins lie from the middle of the item on."""
    pace = Pace(_LATENCY_S, total_bytes_per_s=100 * _MBIT_PER_S)
    item = ready.items[0]
    with _liar(ready, item) as root:
        for case, roots in (
            ("the first of two origins lies", (root, ready.root)),
            ("the second of two origins lies", (ready.root, root)),
        ):
            run = _one_run(ready, item, [pace, pace], roots)
            yield Row(case, OURS, run.figures())
            yield from _kept(case, run, run.sent_bytes[roots.index(root)])


def _dying(ready: Stage) -> Iterator[Finding]:
    """Let one of two origins die midway."""
    item = ready.items[0]
    living = Pace(_LATENCY_S, total_bytes_per_s=100 * _MBIT_PER_S)
    dying = Pace(_LATENCY_S, total_bytes_per_s=100 * _MBIT_PER_S, dies_after_bytes=item.size / 4)
    for case, paces in (
        ("the first of two origins dies", (dying, living)),
        ("the second of two origins dies", (living, dying)),
    ):
        run = _one_run(ready, item, paces)
        yield Row(case, OURS, run.figures())
        yield from _kept(case, run, 0)
        yield Bar(f"{case}: attempts of the client", run.attempts, at_most=1)


class _Run(NamedTuple):
    """What came of fetching one item."""

    seconds: float
    """From the first request of the client to its last byte."""
    upstream_s: float
    """From the first request for the item to its last byte."""
    size_bytes: int
    sent_bytes: Sequence[int]
    """By each origin, of this item."""
    attempts: int
    """How often the client had to ask."""
    wrong_replies: int
    """Whole replies with other bytes."""

    def figures(self) -> Mapping[str, float]:
        """Return them as a row has them."""
        return {
            "wall s": self.seconds,
            "MiB/s": self.size_bytes / self.seconds / MIB,
            "MiB fetched": sum(self.sent_bytes) / MIB,
            "attempts": self.attempts,
        }

    def share_of(self, link_bytes_per_s: float) -> float:
        """Return how much of a link was used."""
        return self.size_bytes / self.upstream_s / link_bytes_per_s


def _kept(case: str, run: _Run, lies_bytes: int) -> Iterator[Finding]:
    """Yield the bars on what one bad origin of two may cost."""
    surplus_bytes = sum(run.sent_bytes) - run.size_bytes - lies_bytes
    yield Bar(f"{case}: whole replies with wrong bytes", run.wrong_replies, at_most=0)
    yield Bar(f"{case}: MiB fetched twice", max(0, surplus_bytes) / MIB, at_most=_WINDOW_MIB)


def _one_connection(ready: Stage, item: TreeItem) -> dict[str, _Run]:
    """Fetch an item over one connection, through ours and without a proxy, both at a time."""
    with ThreadPoolExecutor(2) as pool:
        off = pool.submit(_one_run, ready, item, [_PACE], switches=[_ONE_CONNECTION])
        alone = pool.submit(_without_proxy, ready, item)
        found = {_NO_PROXY: alone.result()}
        try:
            found[_OFF] = off.result()
        except (SystemExit, RuntimeError, OSError) as error:
            note_left_out(_OFF, str(error))
    return found


def _without_proxy(ready: Stage, item: TreeItem) -> _Run:
    with slow_origin(ready.root, _PACE) as origin:
        return _fetch(origin.base + item.path, item, [origin])


def _one_run(
    ready: Stage,
    item: TreeItem,
    paces: Sequence[Pace],
    roots: Sequence[Path] | None = None,
    *,
    switches: Sequence[Switch] = (),
) -> _Run:
    """Fetch an item through a proxy that has nothing yet, from origins with these paces."""
    with ExitStack() as stack:
        folders = roots or [ready.root] * len(paces)
        origins = [
            stack.enter_context(slow_origin(root, pace)) for root, pace in zip(folders, paces, strict=True)
        ]
        work = stack.enter_context(_empty_folder(ready))
        bases = [origin.base for origin in origins]
        server = stack.enter_context(ours(work, bases, ready.keyring, options=switches))
        download(server.base + INDEX_PATH)
        return _fetch(server.base + item.path, item, origins)


def _fetch(url: str, item: TreeItem, origins: Sequence[SlowOrigin]) -> _Run:
    """Ask for an item until it is there, as clients do."""
    began_s = time.monotonic()
    replies: list[Download] = []
    while len(replies) < _MOST_ATTEMPTS and not _is_right(replies, item):
        replies.append(download(url, check=True))
    seconds = time.monotonic() - began_s
    if not _is_right(replies, item):
        raise SystemExit(f"{item.path} did not arrive in {_MOST_ATTEMPTS} attempts")
    seen = [[one for one in origin.requests(began_s) if one.path == item.path] for origin in origins]
    every = [one for ones in seen for one in ones if one.sent_bytes]
    return _Run(
        seconds,
        max(one.ended_s for one in every) - min(one.came_s for one in every),
        item.size,
        [sum(one.sent_bytes for one in ones) for ones in seen],
        len(replies),
        sum(one.body_bytes == item.size and one.digest != item.digest for one in replies),
    )


def _is_right(replies: Sequence[Download], item: TreeItem) -> bool:
    return bool(replies) and replies[-1].digest == item.digest


def _share_of_each(ready: Stage) -> Mapping[str, float]:
    """Start two downloads one after the other; return what each got of the link while both ran."""
    first, second = ready.items
    with (
        slow_origin(ready.root, _PACE) as origin,
        _empty_folder(ready) as work,
        ours(work, [origin.base], ready.keyring) as server,
        ThreadPoolExecutor(2) as pool,
    ):
        download(server.base + INDEX_PATH)
        runs = [pool.submit(_fetch, server.base + first.path, first, [origin])]
        time.sleep(_SECOND_COMES_S)
        runs.append(pool.submit(_fetch, server.base + second.path, second, [origin]))
        samples: list[tuple[float, int, int]] = []
        while not any(run.done() for run in runs):
            of_first, of_second = _sent_bytes(origin, first, second)
            samples.append((time.monotonic(), of_first, of_second))
            threading.Event().wait(_POLL_S)
        for run in runs:
            run.result()
    both = [one for one in samples if one[2] and one[1] < first.size and one[2] < second.size]
    (since_s, *before), (until_s, *after) = both[0], both[-1]
    link_bytes = (until_s - since_s) * _LINK_BYTES_PER_S
    shares = [(last - start) / link_bytes for last, start in zip(after, before, strict=True)]
    return {
        "share of the first": shares[0],
        "share of the second": shares[1],
        "least share of the link": min(shares),
        "seconds of both": until_s - since_s,
    }


def _sent_bytes(origin: SlowOrigin, *items: TreeItem) -> list[int]:
    seen = origin.requests()
    return [sum(one.sent_bytes for one in seen if one.path == item.path) for item in items]


@contextmanager
def _liar(ready: Stage, item: TreeItem) -> Iterator[Path]:
    """Make the tree of an origin with another second half of an item, of the same size and age."""
    root = ready.work / "liar"
    shutil.copytree(ready.root, root, copy_function=os.link)
    lie = root / item.path
    lie.unlink()
    shutil.copy2(ready.root / item.path, lie)
    about = lie.stat()
    with lie.open("r+b") as file:
        file.seek(item.size // 2)
        rest = file.read()
        file.seek(item.size // 2)
        file.write(rest[::-1])
    os.utime(lie, ns=(about.st_atime_ns, about.st_mtime_ns))
    yield root
    shutil.rmtree(root)


@contextmanager
def _empty_folder(ready: Stage) -> Iterator[Path]:
    """Make a folder for one run, and remove it."""
    with tempfile.TemporaryDirectory(dir=ready.work) as folder:
        yield Path(folder)
