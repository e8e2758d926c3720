"""Killing the service at random moments while it works, and auditing all that it leaves behind.

A round: clients, an operator and now and then a `prefetch` command are at work
on a cache that is too small, while the publisher replaces the tree; something
is killed with SIGKILL at a random moment; what died comes back; then every
reply, blob, row and lock is checked. All choices come from one seed; what the
processes make of the moments does not, so a seed does not repeat a run exactly.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import aiohttp
from yarl import URL

from proxy.digest import Digest
from proxy.mirror import Mirror
from support.audit import Holdings, take_stock
from support.exchange import Exchange, Reply
from support.faults import Fault
from support.keys import SigningKey
from support.origin import Origin
from support.running import MOUNT, Service
from support.serving import write_config
from support.tree import MAAS_CONTENT_ID, SignedTree, TreeItem
from support.workers import LiveLog, ended

KIB = 1024
INDEX = "streams/v1/index.sjson"
LIST = f"streams/v1/{MAAS_CONTENT_ID}.sjson"
PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
KINDS = {"worker": 9, "keeper": 4, "service": 5, "supervisor": 1, "prefetch": 1}
"""What is killed, and how often. A supervisor that dies alone must take its children with it."""

_VICTIMS = {"worker": 1, "keeper": 1, "service": 3, "supervisor": 3, "prefetch": 1}
"""How many processes that may be evicting die."""
_EVICTED_AT_ONCE = 2
"""Blobs that one process may be evicting at a moment: for a client, and for an operator."""
_PINNED = "boot-initrd"

_SIZES = {
    "boot-kernel": 70 * KIB,
    "boot-initrd": 300 * KIB,
    "squashfs": 1100 * KIB,
    "root": 600 * KIB,
}
_VERSIONS = 4
_CLIENTS = 8
_OPERATORS = 2
_MOST_REQUESTS = 3
_LONGEST_WAIT_S = 0.4
_PATIENCE_S = 30.0
_RULE = "kept"
_SETTINGS = f"""
[cache]
limit = "5 MiB"
min_free = "0 B"
[freshness]
fresh_for = "200ms"
retry_after = "200ms"
retain = "1s"
[clients]
drain_timeout = "0s"
[[prefetch]]
name = "{_RULE}"
mirror = "test"
filters = ["ftype=boot-kernel"]
max = "all"
schedule = ""
"""
_ORDERS = ("scrub", "refresh", "prefetch", "evict", "stats")


@dataclass
class Report:
    """What the rounds have come to."""

    rounds: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    """What the service told an operator of its own faults."""
    replies: Counter[str] = field(default_factory=Counter)
    """Replies under fire: complete, cut, refused (no connection)."""
    blobs: int = 0
    """Hashed by audits."""
    back_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """How long it took until what was killed worked again, by kind."""


class Answer(NamedTuple):
    """What the service says to an order."""

    is_good: bool
    text: str


class KillLoop:
    """A service under fire; made by `kill_loop`."""

    def __init__(self, folder: Path, tree: SignedTree, origin: Origin, random: Random, log: LiveLog) -> None:
        self.report = Report()
        self._data = folder / "data"
        self._config = folder / "config.toml"
        self._tree = tree
        self._origin = origin
        self._random = random
        self._log = log
        self._published: deque[str] = deque()
        self._number = 0
        self._items: dict[str, TreeItem] = {}
        """Those that the proxy has served the list of, by path."""
        self._truth: dict[str, list[bytes]] = {}
        """All bytes that a complete reply may have, by path."""
        self._had: dict[str, int] = {}
        """Sizes of the blobs that were there at the last audit, or that a client got since."""
        self._pinned: set[Digest] = set()
        self._evicted_blobs = 0
        """How many the service had counted at the last audit."""
        for _ in range(_VERSIONS):
            self._add_version()
        self._publish()
        self._service = self._start()

    def _start(self) -> Service:
        return Service("--config", str(self._config), "--workers", "2", log=self._log.path)

    async def close(self) -> None:
        """Stop the service."""
        await asyncio.to_thread(self._service.stop)

    # The publisher

    def _add_version(self) -> None:
        self._number += 1
        version = f"{20250000 + self._number}"
        self._published.append(version)
        for name, size in _SIZES.items():
            item = self._tree.add_item(PRODUCT, version, name, size=size + self._number % 7)
            self._truth[item.path] = [item.read()]

    def _publish(self) -> None:
        self._tree.publish()
        for path in (INDEX, LIST):
            self._truth.setdefault(path, []).append((self._tree.root / path).read_bytes())

    def _republish(self) -> None:
        """Replace the oldest version by a new one."""
        self._add_version()
        oldest = self._published.popleft()
        self._items = {path: item for path, item in self._items.items() if f"/{oldest}/" not in path}
        self._tree.remove_version(oldest)
        self._publish()

    # A round

    async def prepare(self) -> None:
        """Fill the cache for the first time."""
        await self._check_locks()
        await self._pin()

    async def round(self) -> None:
        """Work, kill, come back, audit."""
        random, report = self._random, self.report
        kind = random.choices(list(KINDS), list(KINDS.values()))[0]
        self._origin.clear()
        if random.random() < 0.6:
            self._origin.fault("*", Fault(rate_bytes_s=random.uniform(2, 20) * 1024 * KIB))
        async with asyncio.TaskGroup() as group:
            for _ in range(_CLIENTS):
                group.create_task(self._client(Random(random.random())))
            for _ in range(_OPERATORS):
                group.create_task(self._operator(random.choice(_ORDERS)))
            if random.random() < 0.4:
                await asyncio.to_thread(self._republish)
            killing = group.create_task(self._kill(kind))
            killing.add_done_callback(lambda _: self._origin.heal())
        report.kills[kind] += 1
        report.rounds += 1
        await self._comes_back(kind, killing.result())
        await self._check_locks()
        await self._audit(kind)
        await self._pin()

    async def _client(self, random: Random) -> None:
        for _ in range(random.randint(1, _MOST_REQUESTS)):
            paths = [INDEX, LIST] if random.random() < 0.2 or not self._items else list(self._items)
            path = random.choice(paths)
            asked = ""
            if path in self._items and random.random() < 0.2:
                size = self._items[path].size
                start = random.randrange(size)
                asked = f"bytes={start}-{random.randrange(start, size)}"
            await self._get(path, asked)

    async def _get(self, path: str, asked: str = "") -> Reply | None:
        """Ask for a path and judge what comes; None when there is no connection."""
        is_listed = path in self._items
        headers = {"Range": asked} if asked else {}
        try:
            async with asyncio.timeout(_PATIENCE_S), Exchange(self._url(path), **headers) as exchange:
                reply = await exchange.rest()
        except TimeoutError:
            self._fault(f"{path} {asked}: nothing came for {_PATIENCE_S:.0f} s")
            return None
        except OSError:
            self.report.replies["refused"] += 1
            return None
        self._judge(path, asked, reply, is_listed=is_listed)
        return reply

    def _judge(self, path: str, asked: str, reply: Reply, *, is_listed: bool) -> None:
        """Note a complete reply that is wrong, and one that is not what it should be."""
        if reply.status in {200, 206}:
            start, stop = _bounds(asked) if reply.status == 206 else (0, None)
            wanted = [body[start:stop] for body in self._truth[path]]
            promised = int(reply.headers.get("Content-Length", "-1"))
            fitting = [body for body in wanted if body.startswith(reply.body) and len(body) == promised]
            if not fitting:
                self._fault(f"{path} {asked}: {len(reply.body)} of {promised} bytes, wrong")
            self.report.replies["complete" if reply.is_complete else "cut"] += 1
            item = self._items.get(path)
            if item is not None and reply.is_complete and "not-stored" not in reply.cache_status:
                self._had[item.digest] = item.size
        elif reply.status == 0:
            self.report.replies["cut"] += 1
        else:
            self.report.replies[str(reply.status)] += 1
            if is_listed and path in self._items:
                self._fault(f"{path} {asked}: status {reply.status}: {reply.body[:200]!r}")

    async def _operator(self, order: str) -> None:
        bodies: dict[str, dict[str, object]] = {"prefetch": {"rule": _RULE}}
        if order == "evict":
            bodies["evict"] = {"digests": [self._random.choice(list(self._items.values())).digest]}
        with contextlib.suppress(OSError, aiohttp.ClientError):
            async with asyncio.timeout(_PATIENCE_S):
                await self._order(order, bodies.get(order, {}))

    async def _order(self, order: str, body: dict[str, object]) -> Answer:
        """Have the service do something, or tell its figures; return what it says."""
        headers = {"Host": "localhost", "X-Sstream-Proxy": "1"}
        is_question = order == "stats"
        url = f"{self._service.base}/-/{'stats' if is_question else f'api/v1/{order}'}"
        data = None if is_question else json.dumps(body)
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.request("GET" if is_question else "POST", url, data=data) as response,
        ):
            text = await response.text()
            if response.status >= 500:
                self.report.replies[f"{order} {response.status}"] += 1
                self.report.troubles.append(text)
        return Answer(response.ok, text)

    async def _figures(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((await self._order("stats", {})).text)
        return found

    async def _fills_ended(self) -> None:
        while (await self._figures())["fills"]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    # Killing

    async def _kill(self, kind: str) -> float:
        """Kill something at a random moment; return when that was, monotonic seconds."""
        if kind == "prefetch":
            process = await self._prefetch()
            await asyncio.sleep(self._random.uniform(0.4, 1.5))
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            return time.monotonic()
        await asyncio.sleep(self._random.uniform(0, _LONGEST_WAIT_S))
        killed_at = time.monotonic()
        children = self._service.children()
        if kind in {"service", "supervisor"}:
            self._service.process.kill()
            for pid in children if kind == "service" else ():
                _kill(pid)
            await asyncio.to_thread(self._service.stop)
            for pid in children:
                await ended(pid)
        else:
            pids = [pid for pid, name in children.items() if name == f"sstream-{kind}"]
            _kill(self._random.choice(pids))
        return killed_at

    async def _prefetch(self) -> asyncio.subprocess.Process:
        """Start the command."""
        with self._log.path.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "proxy", "prefetch", "--config", str(self._config)),
                *("ftype=root", "--max=1"),
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    async def _comes_back(self, kind: str, killed_at: float) -> None:
        """Wait until all that was killed works again."""
        match kind:
            case "service" | "supervisor":
                self._blobs_are_right(await asyncio.to_thread(take_stock, self._data))
                killed_at = time.monotonic()
                self._service = await asyncio.to_thread(self._start)
                await self._in_time("the first reply", self._first_reply())
                self.report.back_s[kind].append(time.monotonic() - killed_at)
                await self._in_time("reconciling", self._log.seen("store.reconciled"))
            case "worker":
                await self._in_time("a new worker", self._log.seen("worker.ready"))
                self.report.back_s[kind].append(time.monotonic() - killed_at)
            case "keeper":
                await self._in_time("a new keeper", self._log.seen("store.reconciled"))
                self.report.back_s[kind].append(time.monotonic() - killed_at)

    async def _first_reply(self) -> None:
        while (reply := await self._get(INDEX)) is None or not reply.is_complete:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    # Auditing

    async def _check_locks(self) -> None:
        """Every item that is listed can be had by somebody who comes now, and goes into the store."""
        await self._in_time("the newest index", self._newest_index())
        self._items = {item.path: item for item in self._tree.items}
        for path in self._random.sample(list(self._items), len(self._items) // 2):
            reply = await self._get(path)
            if reply is not None and "not-stored" in reply.cache_status:
                # Fills that go on though their clients are gone may have all the room that pins leave.
                await self._in_time("the end of all fills", self._fills_ended())
                reply = await self._get(path)
            if reply is None or not reply.is_complete:
                self._fault(f"{path} cannot be had after the kill")
            elif "not-stored" in reply.cache_status:
                self._fault(f"{path} cannot be stored after the kill: {await self._why_full()}")

    async def _why_full(self) -> str:
        found = await asyncio.to_thread(take_stock, self._data)
        partials = sum(size for size in found.partials.values())
        return (
            f"{found.total_bytes} bytes in blobs, {partials} in {len(found.partials)} partial files, "
            f"{sum(found.reserved.values())} reserved, pinned {found.pinned_bytes()}"
        )

    async def _newest_index(self) -> None:
        newest = self._truth[INDEX][-1]
        while (reply := await self._get(INDEX)) is None or reply.body != newest:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    async def _audit(self, kind: str) -> None:
        """Check everything on the disk, once what is under way has ended."""
        is_reconciled = kind in {"keeper", "service", "supervisor"}
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            found = await asyncio.to_thread(take_stock, self._data)
            faults = found.faults() if is_reconciled else found.lasting_faults()
            if not faults or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.05)
        self._blobs_are_right(found)
        for one in faults:
            self._fault(one)
        self._nothing_is_lost(found, kind, (await self._figures())["store"]["evicted_blobs"])

    def _nothing_is_lost(self, found: Holdings, kind: str, evicted_blobs: int) -> None:
        """Compare with what was there; whoever died may not have told what it evicted last.

        Servers log each blob that they evict; a command only counts them.
        """
        lost = {digest for digest, size in self._had.items() if not found.has_all_of(digest, size)}
        for digest in lost & self._pinned:
            self._fault(f"blob {digest} is lost, although it was pinned")
        told = {line.rpartition("digest=")[2].split()[0] for line in self._log.having("blob.evicted")}
        untold = lost - self._pinned - told
        counted = evicted_blobs - self._evicted_blobs if kind == "prefetch" else 0
        if len(untold) > counted + _EVICTED_AT_ONCE * _VICTIMS[kind]:
            self._fault(f"nobody told of evicting {', '.join(sorted(untold))}")
        self._evicted_blobs = evicted_blobs
        self._had = dict(found.blobs)
        self._log.lines.clear()

    async def _pin(self) -> None:
        """Pin what must survive the rounds to come, and let go of what has left the lists.

        And of what commands that were killed have pinned for their next run.
        """
        for name in (await self._figures())["store"]["pins"]:
            if name.startswith("prefetch "):
                await self._order("unpin", {"name": name})
        wanted = {item.digest for item in self._items.values() if item.path.endswith(_PINNED)}
        for order, digests in (("pin", wanted - self._pinned), ("unpin", self._pinned - wanted)):
            if digests:
                answer = await self._order(order, {"digests": sorted(digests)})
                if not answer.is_good:
                    self._fault(f"{order} is refused: {answer.text[:200]!r}")
        here = await asyncio.to_thread(take_stock, self._data)
        for digest in wanted - self._pinned:
            if digest in self._had and not here.has_all_of(digest, self._had[digest]):
                del self._had[digest]  # Evicted since the audit, before it was pinned.
        self._pinned = wanted

    def _blobs_are_right(self, found: Holdings) -> None:
        self.report.blobs += len(found.blobs)
        for digest in found.wrong:
            self._fault(f"blob {digest} has wrong bytes")

    async def _in_time(self, what: str, event: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await event
        except TimeoutError:
            self._fault(f"{what} did not come in {_PATIENCE_S:.0f} s")

    def _fault(self, what: str) -> None:
        self.report.faults.append(f"round {self.report.rounds}: {what}")

    def _url(self, path: str) -> URL:
        return URL(f"{self._service.base}{MOUNT}{path}", encoded=True)


@contextlib.asynccontextmanager
async def kill_loop(folder: Path, key: SigningKey, seed: int) -> AsyncIterator[KillLoop]:
    """Run a service with all that it needs below a folder, to be killed again and again."""
    keyring = folder / "keyring.gpg"
    keyring.write_bytes(key.public_binary())
    tree = SignedTree(folder / "upstream", key)
    log = LiveLog(folder / "log")
    async with Origin(tree.root) as origin, log.open():
        mirror = Mirror(name="test", mount=MOUNT, origins=(origin.url,), keyring=str(keyring))
        write_config(folder, mirror, settings=_SETTINGS)
        loop = await asyncio.to_thread(KillLoop, folder, tree, origin, Random(seed), log)
        try:
            await log.seen("store.reconciled")
            await loop.prepare()
            yield loop
        finally:
            await loop.close()


def _bounds(asked: str) -> tuple[int, int]:
    first, _, last = asked.removeprefix("bytes=").partition("-")
    return int(first), int(last) + 1


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
