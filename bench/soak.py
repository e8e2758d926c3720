"""A crowd of clients for minutes or hours: no wrong byte, no error of ours, no leak.

    python bench/soak.py [--minutes 10] [--clients 200] [--plot FILE.svg] [--json FILE]

The service runs with two workers and a store too small for what is offered, before an origin on
loopback that changes its list all the time and fails now and then. The clients (`crowd.py` below
tests/support) get whole items, ranges, heads, documents and pages, read slowly, hang up in the
middle, and ask for what is absent or rotten; every whole body is compared with its SHA-256.

    storm     a quarter of the time, with a reload (SIGHUP) every ten seconds
    warm-up   another quarter: the last crew goes on from here, without reloads
    unread    some seconds in which nobody reads the log
    steady    the rest: memory at its beginning against memory at its end

The log is as installed, with a line for each request, into a pipe that is read. One more client asks
for one item of each phase all the time, and counts: the log must have a line for each request, but
for those that it says it dropped while nobody read it, and the client must not wait for the log.

Exit code 1 tells that a bar was broken; the table names it.
"""

import argparse
import asyncio
import json
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import stage  # noqa: F401 - makes `support` importable
from figures import percentile
from growth import Growth, Idle, Record, Window
from loads.counted import Counted, counting
from read_log import ReadLog, read_log
from support.crowd import ROTTEN, SIZES_BYTES, Crowd, Offer
from support.faults import Fault
from support.keys import SigningKey
from support.origin import Origin
from support.process_tree import Process
from support.running import MOUNT, Service
from support.serving import write_config
from support.tree import SignedTree

from proxy.mirror import Mirror

_SETTINGS = """
[cache]
limit = "96 MiB"
[freshness]
fresh_for = "1s"
retain = "1m"
"""
_ITEM_SIZES_BYTES = (*SIZES_BYTES, 8_000_000)
_LISTED_VERSIONS = 8
_THINK_S = 1.0
_REPUBLISH_EVERY_S = 10.0
_RELOAD_EVERY_S = 10.0
_SAMPLE_EVERY_S = 1.0
_MOODS = (
    ("*/item-6", Fault(cut_after=1_000_000)),
    ("*/item-5", Fault(status=503)),
    ("*/item-4", Fault(latency_s=1.0)),
    ("*/item-3", Fault(ignore_range=True)),
    ("streams/v1/*", Fault(refuse=True)),
)
_PHASES = ("storm", "warm-up", "unread", "steady")
_COUNTED_PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:counted"
_COUNTED_BYTES = 4096
_COUNTED_EVERY_S = 0.001
_UNREAD_S = 15.0
_READ_AGAIN_S = 5.0
_LONGEST_WAIT_S = 1.0
_WINDOW_SHARE = 0.1
_MOST_LOG_LINES = 40
_QUIET_WITHIN_S = 60
_MOST_GROWTH = 0.05
_LEDGER_DESCRIPTORS_PER_THREAD = 6
"""Two tables, each a database with its log and its shared memory."""


class Bar(NamedTuple):
    """A figure that has to hold."""

    name: str
    value: str
    wanted: str
    holds: bool


class Soak:
    """A service, its origin, and the crowd before it."""

    def __init__(
        self, service: Service, log: ReadLog, origin: Origin, offer: Offer, data_dir: Path, clients: int
    ) -> None:
        self.service = service
        self.log = log
        self._origin = origin
        self._offer = offer
        self._clients = clients
        self.crowd = Crowd(service.base, MOUNT, offer, think_s=_THINK_S)
        self.record = Record(service.process.pid, data_dir)
        self.reloads = 0
        self.publications = 1
        self.troubles = 0
        """Faults that the origin was given; clients must not notice."""
        self.counted: dict[str, Counted] = {}
        """By phase."""

    async def unread(self, seconds: float) -> None:
        """Keep the crowd busy while nobody reads the log for so long, and a while longer."""
        self.log.pause()
        asyncio.get_running_loop().call_later(seconds, self.log.go_on)
        await self.load("unread", seconds + _READ_AGAIN_S)

    async def load(self, phase: str, seconds: float, *, is_reloading: bool = False) -> Window:
        """Keep the crowd busy for so long; return when, once the last client has gone."""
        with counting(f"{self.service.base}{MOUNT}{_counted_path(phase)}", _COUNTED_EVERY_S) as end:
            window = await self._load(phase, seconds, is_reloading=is_reloading)
            self.counted[phase] = await asyncio.to_thread(end)
        return window

    async def _load(self, phase: str, seconds: float, *, is_reloading: bool) -> Window:
        self.record.begin(phase)
        began_s = self.record.now_s()
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            crowd = (self.crowd.come(self._clients, until=over), self.crowd.watch_health(over))
            for clients in crowd:
                group.create_task(clients)
            chores = [
                group.create_task(_every(_SAMPLE_EVERY_S, self._look)),
                group.create_task(_every(_REPUBLISH_EVERY_S, self._republish)),
            ]
            if is_reloading:
                chores.append(group.create_task(_every(_RELOAD_EVERY_S, self._reload)))
            await asyncio.sleep(seconds)
            ended_s = self.record.now_s()
            over.set()
            for chore in chores:
                chore.cancel()
        self._origin.heal()
        return Window(began_s, ended_s)

    async def idle(self) -> dict[Process, Idle]:
        """Return what each process has open while there are neither clients nor an origin."""
        await self._origin.stop()
        before = None
        for _ in range(_QUIET_WITHIN_S):
            found = self.record.open_now()
            if found == before:
                break
            before = found
            await asyncio.sleep(1)
        await self._origin.start()
        return self.record.idle()

    async def stats(self) -> dict[str, Any]:
        """Return what the service counts itself."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.service.base}/-/stats") as reply:
            told: dict[str, Any] = await reply.json()
            return told

    async def _look(self) -> None:
        self.record.look()
        self._origin.clear()

    async def _republish(self) -> None:
        await asyncio.to_thread(self._offer.republish)
        self.publications += 1
        for pattern, fault in _MOODS:
            self._origin.fault(pattern, fault, times=1)
            self.troubles += 1

    async def _reload(self) -> None:
        self.service.process.send_signal(signal.SIGHUP)
        self.reloads += 1


async def _every(seconds: float, chore: Callable[[], Any]) -> None:
    while True:
        await asyncio.sleep(seconds)
        await chore()


@asynccontextmanager
async def soaking(clients: int) -> AsyncIterator[Soak]:
    """Start everything; it ends, and its folder goes, with the context."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sstream-soak-")))
        key = stack.enter_context(SigningKey())
        keyring = folder / "keyring.gpg"
        keyring.write_bytes(key.public_binary())
        tree = SignedTree(folder / "upstream", key)
        for phase in _PHASES:
            tree.add_item(_COUNTED_PRODUCT, "1", phase, path=_counted_path(phase), size=_COUNTED_BYTES)
        offer = Offer(
            tree,
            sizes_bytes=_ITEM_SIZES_BYTES,
            listed_versions=_LISTED_VERSIONS,
            kept_versions=12,
        )
        offer.republish()
        async with Origin(folder / "upstream") as origin:
            mirror = Mirror(name="soak", mount=MOUNT, origins=(origin.url,), keyring=str(keyring))
            config = write_config(folder, mirror, settings=_SETTINGS)
            log = stack.enter_context(read_log(folder))
            options = ("--config", str(config), "--workers", "2")
            service = await asyncio.to_thread(Service, *options, log=log.pipe)
            try:
                yield Soak(service, log, origin, offer, folder / "data", clients)
            finally:
                await asyncio.to_thread(service.stop)
                sys.stderr.writelines(_told(log))


def _counted_path(phase: str) -> str:
    return f"counted/{phase}"


def _told(log: ReadLog) -> Iterator[str]:
    """Yield the first troubles of a log, tracebacks among them, without what was provoked."""
    unexpected = (line for line in log.troubles() if ROTTEN not in line and "sha256 is" not in line)
    yield from islice(unexpected, _MOST_LOG_LINES)


async def soak(minutes: float, clients: int, plot: Path | None) -> tuple[dict[str, Any], list[Bar]]:
    """Run all phases; return the figures and the bars."""
    seconds = minutes * 60
    async with soaking(clients) as running:
        before = await running.idle()
        await running.load("storm", seconds / 4, is_reloading=True)
        await running.load("warm-up", seconds / 4)
        await running.unread(min(_UNREAD_S, seconds / 4))
        first = await running.idle()
        steady = await running.load("steady", seconds / 2)
        last = await running.idle()
        stats = await running.stats()
        await asyncio.to_thread(running.service.stop)
        tracebacks = running.log.tracebacks()
        log_bars = list(bars_of_log(running.log, running.counted))
    width_s = seconds * _WINDOW_SHARE
    early = Window(steady.since_s, steady.since_s + width_s)
    late = Window(steady.until_s - width_s, steady.until_s)
    growths = running.record.growth((early, late), (first, last))
    if plot is not None:
        running.record.draw(plot)
    findings = running.crowd.findings
    figures = {
        "minutes": minutes,
        "clients": clients,
        **findings.told(),
        "reloads": running.reloads,
        "publications": running.publications,
        "origin faults injected": running.troubles,
        "evicted blobs": stats["store"]["evicted_blobs"],
        "store MiB at the end": round(stats["store"]["bytes"] / 2**20, 1),
        "processes": [growth.told() for growth in growths],
    }
    bars = [
        Bar("wrong bodies", str(findings.wrong_bodies), "0", findings.wrong_bodies == 0),
        Bar("errors that nobody injected", str(findings.fault_count), "0", findings.fault_count == 0),
        Bar("tracebacks in the log", str(tracebacks), "0", tracebacks == 0),
        Bar("processes", str(len(last)), str(len(before)), len(last) == len(before)),
        *log_bars,
        *(bar for growth in growths for bar in bars_of(growth)),
    ]
    return figures, bars


def bars_of_log(log: ReadLog, counted: Mapping[str, Counted]) -> Iterator[Bar]:
    """Yield what has to hold of the log of a service that has ended."""
    dropped = log.dropped()
    for phase, one in counted.items():
        lines = log.lines_of(f"{MOUNT}{_counted_path(phase)}")
        most_dropped = dropped if phase == "unread" else 0
        found = f"{lines} of {one.answered}"
        is_whole = one.answered - most_dropped <= lines <= one.answered + one.unanswered
        wanted = f"all but {dropped} that it says were dropped" if most_dropped else "all"
        yield Bar(f"{phase}: lines of the log", found, wanted, is_whole)
        yield Bar(f"{phase}: requests that failed", str(one.failed), "0", one.failed == 0)
    waits_s = [seconds for one in counted.values() for seconds in one.seconds]
    unread_s = max(counted["unread"].seconds)
    found = f"{unread_s:.3f}, p99 {percentile(counted['unread'].seconds, 0.99):.3f}"
    yield Bar("unread: longest wait in s", found, f"at most {_LONGEST_WAIT_S:g}", unread_s <= _LONGEST_WAIT_S)
    found = f"{max(waits_s):.3f}, p99 {percentile(waits_s, 0.99):.3f}"
    yield Bar("all phases: longest wait in s", found, "is told", holds=True)


def bars_of(growth: Growth) -> Iterator[Bar]:
    """Yield what has to hold of one process."""
    name = f"{growth.process.role} {growth.process.pid}"
    (first, last), (rss_before, rss_after) = growth.idle, growth.rss_mib
    yield Bar(
        f"{name}: RSS MiB",
        f"{rss_before} -> {rss_after}, {growth.share:+.1%}",
        "+5 %",
        growth.share <= _MOST_GROWTH,
    )
    yield Bar(
        f"{name}: idle descriptors",
        f"{first.descriptors} -> {last.descriptors}",
        "no more",
        last.descriptors <= first.descriptors,
    )
    most = last.threads * _LEDGER_DESCRIPTORS_PER_THREAD
    found = last.ledger_descriptors
    yield Bar(
        f"{name}: of the ledger", f"{first.ledger_descriptors} -> {found}", f"at most {most}", found <= most
    )


def main() -> None:
    """Soak, print the figures, and tell by the exit code whether all bars held."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--plot", type=Path, help="write the memory over time as SVG")
    parser.add_argument("--json", type=Path, help="write all figures as JSON")
    arguments = parser.parse_args()
    figures, bars = asyncio.run(soak(arguments.minutes, arguments.clients, arguments.plot))
    for name, value in figures.items():
        if name != "processes":
            print(f"{name:28} {value}")
    print()
    for bar in bars:
        print(f"{'holds ' if bar.holds else 'BROKEN'}  {bar.name:32} {bar.value:28} wanted: {bar.wanted}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")
    raise SystemExit(not all(bar.holds for bar in bars))


if __name__ == "__main__":
    main()
