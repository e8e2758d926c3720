"""What `/-/stats` says is what clients and origin saw, over two workers, restarts and a kill."""

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.exchange import Exchange
from support.faults import Fault
from support.origin import Origin
from support.tree import MAAS_CONTENT_ID, SignedTree, TreeItem
from support.wire import Wire, WireReply, request
from support.workers import Workers, frozen, run_workers

from proxy.counting.outcomes import OUTCOMES
from proxy.mirror import Mirror

KIB = 1024
MIB = 1024 * KIB
INDEX = "streams/v1/index.sjson"
LIST = f"streams/v1/{MAAS_CONTENT_ID}.sjson"
PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"

SETTINGS = """
[feed]
reserve = "0 B"
[cache]
limit = "16 MiB"
min_free = "0 B"
[upstream]
give_up_after = "300ms"
connections_per_item = 1
[freshness]
fresh_for = "1h"
"""
"""What has arrived is with the clients; what is larger than the store is passed by it.

Nothing is on its way in connections that are given up.
"""
OLD_AT_ONCE = SETTINGS.replace("1h", "100ms")


@dataclass
class Truth:
    """What the clients saw."""

    requests: Counter[str] = field(default_factory=Counter)
    received: Counter[str] = field(default_factory=Counter)
    """Bytes of bodies, by outcome."""
    aborted: int = 0

    def add(self, outcome: str, received_bytes: int, *, is_aborted: bool = False) -> None:
        """Note a request that has ended."""
        self.requests[outcome] += 1
        self.received[outcome] += received_bytes
        self.aborted += is_aborted

    def figures(self, origin: Origin) -> dict[str, Any]:
        """Return what should be said of them."""
        answered = sum(self.requests[one] for one in ("hit", "stale", "miss", "join", "bypass"))
        ratio = round((self.requests["hit"] + self.requests["stale"]) / answered, 4)
        return {
            "requests": {outcome: self.requests[outcome] for outcome in OUTCOMES},
            "sent_bytes": {outcome: self.received[outcome] for outcome in OUTCOMES},
            "fetched_bytes": sent_by(origin),
            "saved_bytes": sum(self.received[one] for one in ("hit", "stale", "join")),
            "aborted": self.aborted,
            "hit_ratio": dict.fromkeys(("hour", "day", "all_time"), ratio),
        }


def sent_by(origin: Origin) -> int:
    """Return the bytes of files that an origin sent, those of its error pages left out."""
    return sum(one.sent_bytes for one in origin.requests if one.status in {200, 206})


class Clients:
    """Clients of chosen workers, whose requests are noted."""

    def __init__(self, workers: Workers, truth: Truth) -> None:
        self.workers = workers
        self.truth = truth
        self._before = truth.requests.total()
        self._misses_before = truth.requests["miss"]

    @asynccontextmanager
    async def wire(self, pid: int) -> AsyncIterator[Wire]:
        """Open a connection to one worker."""
        with frozen([other for other in self.workers.pids if other != pid]):
            opening = Wire.to(self.workers.service.base)
            wire = await opening.__aenter__()
            assert (await wire.ask("/")).status == 200
        try:
            yield wire
        finally:
            await opening.__aexit__(None, None, None)

    async def ask(
        self, pid: int, path: str, outcome: str, method: str = "GET", **headers: str
    ) -> WireReply | None:
        """Ask one worker for a path and note what came; None for a reply that was cut before its status."""
        async with self.wire(pid) as wire:
            await wire.send(request(self.workers.url(path).raw_path, method, **headers))
            try:
                reply = await wire.reply(method)
            except EOFError:
                reply = None
        self.truth.add(outcome, 0 if reply is None else len(reply.body))
        if outcome == "miss":
            # Its end is sent once it is proved, a moment before it is in the store.
            await self.workers.log.seen("blob.filled", self.truth.requests["miss"] - self._misses_before)
        return reply

    async def hammer(self, pid: int, path: str, times: int, method: str = "GET", **headers: str) -> None:
        """Send the very same request again and again on one connection; each is a hit."""
        async with self.wire(pid) as wire:
            for _ in range(times):
                reply = await wire.ask(self.workers.url(path).raw_path, method, **headers)
                self.truth.add("hit", len(reply.body))

    async def finish(self, exchange: Exchange, outcome: str, item: TreeItem) -> None:
        """Read a reply to its end and note it."""
        reply = await exchange.rest()
        assert reply.body == item.read()
        self.truth.add(outcome, len(reply.body))

    async def act(self, pid: int, action: str, **order: object) -> None:
        """Have an action done."""
        body = json.dumps(order).encode()
        async with self.wire(pid) as wire:
            target = f"/-/api/v1/{action}"
            length = str(len(body))
            head = request(target, "POST", Host="localhost", X_Sstream_Proxy="1", Content_Length=length)
            await wire.send(head + body)
            assert (await wire.reply()).status == 200

    async def received_all(self, pid: int, origin: Origin) -> None:
        """Wait until the workers have received all that an origin, which has fallen silent, has sent."""
        async with asyncio.timeout(20), self.wire(pid) as wire:
            while True:
                stats = json.loads((await wire.ask("/-/stats")).body)
                if stats["origins"][origin.url]["received_bytes"] == sent_by(origin):
                    return
                await asyncio.sleep(0.05)

    async def told(self, origin: Origin) -> list[dict[str, Any]]:
        """Return what each worker says, in total and of the mirror, once all requests have been counted."""
        expected = self.truth.requests.total() - self._before
        log = self.workers.log
        async with asyncio.timeout(20), log._news:
            await log._news.wait_for(lambda: len(log.having("outcome=")) >= expected + self._unnoted())
        told = []
        for pid in self.workers.pids:
            async with self.wire(pid) as wire:
                stats = json.loads((await wire.ask("/-/stats")).body)
            assert stats["origins"][origin.url]["received_bytes"] == sent_by(origin)
            assert stats["origins"][origin.url]["requests"] == answers_of(origin)
            told += [{name: of[name] for name in self.truth.figures(origin)}
                     for of in (stats["total"], stats["mirrors"]["test"])]  # fmt: skip
        return told

    def _unnoted(self) -> int:
        """Count the lines of requests that are no mirror's."""
        return len(self.workers.log.having("outcome=- "))


def answers_of(origin: Origin) -> dict[str, int]:
    """Return how many of an origin's answers were answers, and how many were not."""
    good = sum(0 < one.status < 500 for one in origin.requests)
    return {"ok": good, "error": len(origin.requests) - good}


SIZES = {
    "squashfs": MIB,
    "boot-kernel": 300 * KIB,
    "lost": 1000,
    "corrupt": 10 * KIB,
    "wanted": 4 * MIB,
    "left": 4 * MIB,
    "never": 1000,
    "resumed": 2 * MIB,
    "large": 17 * MIB,
}


@pytest.fixture
def items(tree: SignedTree, origin: Origin) -> dict[str, TreeItem]:
    """Return items, by what becomes of some of them upstream."""
    found = {name: tree.add_item(PRODUCT, "20250718", name, size=size) for name, size in SIZES.items()}
    tree.publish()
    found["lost"].data_path.unlink()
    origin.fault(found["corrupt"].path, Fault(corrupt_at=17))
    origin.fault(found["never"].path, Fault(status=503))
    return found


async def test_stats_are_what_happened(
    tmp_path: Path, mirror: Mirror, origin: Origin, items: dict[str, TreeItem]
) -> None:
    """Every way a request can end, at both workers; the same from both, after a restart, and after a kill."""
    truth = Truth()
    async with run_workers(tmp_path, mirror, settings=SETTINGS) as workers:
        clients = Clients(workers, truth)
        await _served(clients, items)
        await _failed(clients, items)
        await _joined(clients, origin, items["wanted"], workers.pids[0])
        await _left(clients, origin, items["left"], workers.pids[1])
        assert await clients.told(origin) == [truth.figures(origin)] * 4
        kept = truth.figures(origin)

    (tmp_path / "log").unlink()
    async with run_workers(tmp_path, mirror, settings=OLD_AT_ONCE) as workers:
        clients = Clients(workers, truth)
        assert await clients.told(origin) == [kept] * 4
        await clients.act(workers.pids[1], "offline", on=True)
        for pid in workers.pids:
            await clients.ask(pid, INDEX, "stale")
            await clients.ask(pid, LIST, "stale", Range="bytes=0-9")
            await clients.ask(pid, INDEX, "stale", "HEAD")
            await clients.ask(pid, items["squashfs"].path, "hit")
            await clients.ask(pid, items["corrupt"].path, "offline")
        assert await clients.told(origin) == [truth.figures(origin)] * 4

    (tmp_path / "log").unlink()
    async with run_workers(tmp_path, mirror, settings=SETTINGS) as workers:
        clients = Clients(workers, truth)
        first, second = workers.pids
        resumed = items["resumed"]
        await clients.act(first, "offline", on=False)
        await _killed(clients, origin, resumed, first)
        (newcomer,) = set(workers.pids) - {second}
        assert await clients.told(origin) == [truth.figures(origin)] * 4
        await clients.ask(newcomer, resumed.path, "miss")
        await clients.ask(second, resumed.path, "hit")
        assert [one.sent_bytes for one in origin.gets(resumed.path)] == [MIB, MIB]
        assert await clients.told(origin) == [truth.figures(origin)] * 4

    # Who is denied what is counted too: tests/integration/test_access.py.
    assert set(OUTCOMES) - {"denied"} == set(truth.requests)


async def test_who_shares_the_transfer_of_another_worker_joined_it(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    """No origin had to send those bytes again: they are saved, whichever worker fetched them."""
    truth = Truth()
    item = tree.add_item(PRODUCT, "20250718", "squashfs", size=4 * MIB)
    tree.publish()
    stall = origin.fault(item.path, Fault(stall_after=MIB))
    async with run_workers(tmp_path, mirror, settings=SETTINGS) as workers:
        clients = Clients(workers, truth)
        exchanges = []
        for pid in workers.pids:
            exchanges += await workers.ask(pid, item.path)
            await begun(exchanges[-1])
        stall.remove()
        for exchange, outcome in zip(exchanges, ("miss", "join"), strict=True):
            await clients.finish(exchange, outcome, item)

        assert origin.count(item.path) == 1
        assert await clients.told(origin) == [truth.figures(origin)] * 4


async def begun(client: Exchange) -> None:
    """Return once the first MiB of a reply is here."""
    assert await client.begin() == 200
    await client.received(MIB)


async def _served(clients: Clients, items: dict[str, TreeItem]) -> None:
    """Miss and hit: documents and items, whole and in part, with and without a body."""
    first, second = clients.workers.pids
    item = items["squashfs"]
    await clients.ask(first, INDEX, "hit")
    await clients.ask(second, LIST, "hit")
    await clients.ask(second, item.path, "miss")
    for pid in (first, second):
        reply = await clients.ask(pid, item.path, "hit")
        assert reply is not None
        await clients.ask(pid, item.path, "hit", If_None_Match=reply.headers["ETag"])
        await clients.ask(pid, item.path, "hit", Range="bytes=1000-1999")
        await clients.ask(pid, item.path, "hit", Range="bytes=-5")
        await clients.ask(pid, item.path, "hit", Range=f"bytes={2 * MIB}-")
        await clients.ask(pid, item.path, "hit", "HEAD")
        await clients.hammer(pid, item.path, 6, Range="bytes=0-99")
        await clients.hammer(pid, INDEX, 6)
        await clients.hammer(pid, INDEX, 6, "HEAD")
        await clients.hammer(pid, INDEX, 6, Range="bytes=0-9")
    reply = await clients.ask(first, items["boot-kernel"].path, "miss", Range="bytes=100-199")
    assert reply is not None
    assert (reply.status, len(reply.body)) == (206, 100)


async def _failed(clients: Clients, items: dict[str, TreeItem]) -> None:
    """Ask for what nobody has, is wrong, cannot be had, or does not fit into the store."""
    for pid in clients.workers.pids:
        await clients.ask(pid, "no/such/item", "absent")
        await clients.ask(pid, "no/such/item", "absent", "HEAD")
        await clients.ask(pid, items["lost"].path, "absent")
        assert await clients.ask(pid, items["never"].path, "error") is None
        await clients.ask(pid, items["large"].path, "bypass")
        await clients.ask(pid, items["corrupt"].path, "refused")


async def _joined(clients: Clients, origin: Origin, item: TreeItem, pid: int) -> None:
    """Let three clients have one transfer: one begins it, two come later."""
    stall = origin.fault(item.path, Fault(stall_after=MIB))
    (beginner,) = await clients.workers.ask(pid, item.path)
    await begun(beginner)
    joiners = await clients.workers.ask(pid, item.path, 2)
    for joiner in joiners:
        await begun(joiner)
    stall.remove()
    await clients.finish(beginner, "miss", item)
    for joiner in joiners:
        await clients.finish(joiner, "join", item)


async def _left(clients: Clients, origin: Origin, item: TreeItem, pid: int) -> None:
    """Let a client leave in the middle; the transfer goes on without it."""
    stall = origin.fault(item.path, Fault(stall_after=MIB))
    (client,) = await clients.workers.ask(pid, item.path)
    await begun(client)
    await client.leave()
    clients.truth.add("miss", MIB, is_aborted=True)
    stall.remove()
    await clients.workers.log.seen(f"blob.filled digest={item.digest}")


async def _killed(clients: Clients, origin: Origin, item: TreeItem, pid: int) -> None:
    """Kill a worker in the middle of a reply, which has not ended then: only what was fetched counts."""
    origin.fault(item.path, Fault(stall_after=MIB), times=1)
    (client,) = await clients.workers.ask(pid, item.path)
    await begun(client)
    await clients.received_all(pid, origin)
    os.kill(pid, signal.SIGKILL)
    assert not (await client.rest()).is_complete
    await clients.workers.log.seen("worker.ready", 3)
