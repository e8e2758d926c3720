"""A crowd of clients for minutes or hours: no wrong byte, no error of ours, no leak.

    python bench/soak.py [--minutes 10] [--clients 200] [--plot FILE.svg] [--json FILE]

The service runs with two workers and a store too small for what is offered, before an origin on
loopback that changes its list all the time and fails now and then. The clients (`crowd.py` below
tests/support) get whole items, ranges, heads, documents and pages, read slowly, hang up in the
middle, and ask for what is absent or rotten; every whole body is compared with its SHA-256.

    storm     a quarter of the time, with a reload (SIGHUP) every ten seconds
    warm-up   another quarter: the last crew goes on from here, without reloads
    steady    the rest: memory at its beginning against memory at its end

Exit code 1 tells that a bar was broken; the table names it.
"""

import argparse
import asyncio
import json
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from itertools import dropwhile, islice
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import stage  # noqa: F401 - makes `support` importable
from growth import Growth, Idle, Record, Window
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
min_free = "0 B"
[freshness]
fresh_for = "1s"
retain = "1m"
[log]
level = "warning"
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
_WINDOW_SHARE = 0.1
_TRACEBACK_LINES = 60
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

    def __init__(self, service: Service, origin: Origin, offer: Offer, data_dir: Path, clients: int) -> None:
        self.service = service
        self._origin = origin
        self._offer = offer
        self._clients = clients
        self.crowd = Crowd(service.base, MOUNT, offer, think_s=_THINK_S)
        self.record = Record(service.process.pid, data_dir)
        self.reloads = 0
        self.publications = 1
        self.troubles = 0
        """Faults that the origin was given; clients must not notice."""

    async def load(self, phase: str, seconds: float, *, is_reloading: bool = False) -> Window:
        """Keep the crowd busy for so long; return when, once the last client has gone."""
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
        offer = Offer(
            SignedTree(folder / "upstream", key),
            sizes_bytes=_ITEM_SIZES_BYTES,
            listed_versions=_LISTED_VERSIONS,
            kept_versions=12,
        )
        offer.republish()
        async with Origin(folder / "upstream") as origin:
            mirror = Mirror(name="soak", mount=MOUNT, origins=(origin.url,), keyring=str(keyring))
            config = write_config(folder, mirror, settings=_SETTINGS)
            log = folder / "log"
            service = await asyncio.to_thread(Service, "--config", str(config), "--workers", "2", log=log)
            try:
                yield Soak(service, origin, offer, folder / "data", clients)
            finally:
                await asyncio.to_thread(service.stop)
                sys.stderr.writelines(_told(log))


def _told(log: Path) -> Iterator[str]:
    """Yield the first tracebacks of a log, then its beginning without what was provoked."""
    with log.open(errors="replace") as lines:
        yield from islice(dropwhile(lambda line: "Traceback" not in line, lines), _TRACEBACK_LINES)
    with log.open(errors="replace") as lines:
        unexpected = (line for line in lines if ROTTEN not in line and "sha256 is" not in line)
        yield from islice(unexpected, _MOST_LOG_LINES)


async def soak(minutes: float, clients: int, plot: Path | None) -> tuple[dict[str, Any], list[Bar]]:
    """Run all phases; return the figures and the bars."""
    seconds = minutes * 60
    async with soaking(clients) as running:
        before = await running.idle()
        await running.load("storm", seconds / 4, is_reloading=True)
        await running.load("warm-up", seconds / 4)
        first = await running.idle()
        steady = await running.load("steady", seconds / 2)
        last = await running.idle()
        stats = await running.stats()
        tracebacks = running.service.log().count("Traceback")
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
        *(bar for growth in growths for bar in bars_of(growth)),
    ]
    return figures, bars


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
