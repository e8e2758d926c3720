"""A crowd of clients that do all that clients do, and check every byte that they get.

What is on offer changes while they come: `Offer` publishes new versions and lets old ones
go. A client knows what the list says that it got last, as a real one does.
"""

import asyncio
import hashlib
import math
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

import aiohttp
from yarl import URL

from support.tree import MAAS_CONTENT_ID, SignedTree, TreeItem

INDEX = "streams/v1/index.sjson"
LIST = f"streams/v1/{MAAS_CONTENT_ID}.sjson"
ROTTEN = "rotten.img"

_PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
_PAGES = ("/-/stats", "/-/", "/-/live", "/-/metrics", "/-/plots/bytes.svg", "/-/ready", "/")
SIZES_BYTES = (4_096, 65_536, 65_537, 300_000, 1_048_576, 3_000_000)
_READ_BYTES = 65_536
_SHORT_PAUSE_S = 0.02
_PATIENCE_S = 120.0
"""How long a client waits for a byte."""
_KEPT_FAULTS = 50


class Offer:
    """A tree whose list changes: the newest versions are listed, older ones go some publications later."""

    def __init__(
        self,
        tree: SignedTree,
        *,
        sizes_bytes: Sequence[int] = SIZES_BYTES,
        listed_versions: int = 4,
        kept_versions: int = 3,
    ) -> None:
        self._tree = tree
        self._sizes_bytes = sizes_bytes
        self._listed_versions = listed_versions
        self._versions: deque[tuple[str, list[TreeItem]]] = deque()
        self._leaving: deque[list[TreeItem]] = deque()
        self._kept_versions = kept_versions
        """How many publications the files of a version outlive its listing."""
        self._number = 0
        self.listings: dict[str, tuple[TreeItem, ...]] = {}
        """What each list said that was ever published, by its SHA-256."""
        self.indexes: set[str] = set()
        """The SHA-256 of every index that was ever published."""
        tree.product(_PRODUCT, arch="amd64", os="ubuntu", release="noble", version="24.04")
        rotten = tree.add_item(_PRODUCT, "1", "rotten", path=ROTTEN, size=200_000)
        right = rotten.read()
        tree.write(ROTTEN, right[:-1] + bytes([right[-1] ^ 1]))

    def republish(self) -> None:
        """Publish one more version; take the oldest from the list, and later its files. Blocks."""
        self._number += 1
        version = f"2025{self._number:06}"
        items = [
            self._tree.add_item(_PRODUCT, version, f"item-{number}", size=size)
            for number, size in enumerate(self._sizes_bytes)
        ]
        self._versions.append((version, items))
        if len(self._versions) > self._listed_versions:
            old, unlisted = self._versions.popleft()
            del self._tree.product(_PRODUCT)["versions"][old]
            self._leaving.append(unlisted)
        if len(self._leaving) > self._kept_versions:
            for item in self._leaving.popleft():
                item.data_path.unlink()
        self._tree.publish()
        listed = tuple(item for _, items in self._versions for item in items)
        self.listings[self._digest(LIST)] = listed
        self.indexes.add(self._digest(INDEX))

    def _digest(self, path: str) -> str:
        return hashlib.sha256((self._tree.root / path).read_bytes()).hexdigest()


@dataclass
class Findings:
    """What a crowd met."""

    requests: Counter[str] = field(default_factory=Counter)
    """By what was done."""
    cache_status: Counter[str] = field(default_factory=Counter)
    """Whole replies by what the proxy said that they were."""
    body_bytes: int = 0
    checked_bodies: int = 0
    wrong_bodies: int = 0
    faults: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT_FAULTS))
    """The last ones of what nobody injected, in words; wrong bodies are among them."""
    fault_count: int = 0
    health_s: deque[float] = field(default_factory=lambda: deque(maxlen=100_000))
    """How long `/-/health` took each time."""

    def note_fault(self, text: str) -> None:
        """Note what ought not to happen."""
        self.fault_count += 1
        self.faults.append(text)

    def told(self) -> dict[str, Any]:
        """Return the figures by what they are."""
        return {
            "requests": self.requests.total(),
            "requests by kind": dict(self.requests.most_common()),
            "whole bodies checked": self.checked_bodies,
            "GiB of them": round(self.body_bytes / 2**30, 2),
            "whole items by Cache-Status": dict(self.cache_status.most_common()),
            "health answered in ms": {
                f"p{share:g}": round(1000 * _quantile(self.health_s, share / 100), 1)
                for share in (50, 99, 100)
            },
            "errors": list(self.faults),
        }


class Crowd:
    """Clients of one mirror. The actions of each are chosen by a seed, what comes of them is not."""

    def __init__(self, base: str, mount: str, offer: Offer, *, seed: int = 0, think_s: float = 0.0) -> None:
        self._base = base
        self._mount = mount
        self._offer = offer
        self._seeds = Random(seed)
        self._think_s = think_s
        """How long a client rests between two requests, on average."""
        self._listed: tuple[TreeItem, ...] = ()
        self.findings = Findings()

    async def come(
        self, clients: int, *, visits: float = math.inf, until: asyncio.Event | None = None
    ) -> None:
        """Let so many clients come, each for so many requests or until told; return when all have gone."""
        async with self._new_session() as session:
            await self._get_documents(session, self._seeds)
        over = until or asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(self._client(Random(self._seeds.random()), visits, over))

    async def watch_health(self, until: asyncio.Event, every_s: float = 0.1) -> None:
        """Ask each time on a new connection whether a worker answers, and note how long it took."""
        while not until.is_set():
            began = time.perf_counter()
            async with self._new_session() as session:
                await self._attempt("health", partial(self._get_health, session))
            self.findings.health_s.append(time.perf_counter() - began)
            await asyncio.sleep(every_s)

    def _new_session(self) -> aiohttp.ClientSession:
        patience = aiohttp.ClientTimeout(total=None, sock_connect=_PATIENCE_S, sock_read=_PATIENCE_S)
        return aiohttp.ClientSession(auto_decompress=False, timeout=patience)

    async def _client(self, random: Random, visits: float, over: asyncio.Event) -> None:
        deeds: dict[Callable[[aiohttp.ClientSession, Random], Awaitable[None]], int] = {
            self._get_whole: 40,
            self._get_slowly: 6,
            self._get_range: 15,
            self._abort: 12,
            self._head: 8,
            self._get_unchanged: 6,
            self._get_documents: 8,
            self._get_page: 6,
            self._get_absent: 3,
            self._get_rotten: 2,
        }
        done = 0
        while done < visits and not over.is_set():
            async with self._new_session() as session:
                for _ in range(random.randint(1, 8)):
                    if done >= visits or over.is_set():
                        break
                    (deed,) = random.choices(list(deeds), list(deeds.values()))
                    await self._attempt(deed.__name__.strip("_"), partial(deed, session, random))
                    done += 1
                    if self._think_s:
                        await asyncio.sleep(random.expovariate(1 / self._think_s))

    async def _attempt(self, name: str, deed: Callable[[], Awaitable[None]]) -> None:
        self.findings.requests[name] += 1
        try:
            await deed()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self.findings.note_fault(f"{name}: {type(error).__name__}: {error}")

    def _url(self, path: str) -> URL:
        return URL(self._base + (path if path.startswith("/") else self._mount + path), encoded=True)

    def _choose(self, random: Random) -> TreeItem:
        """Choose an item, newer ones more often."""
        count = len(self._listed)
        return self._listed[count - 1 - min(int(random.expovariate(3.0 / count)), count - 1)]

    def _expect(self, what: str, seen: object, wanted: object) -> bool:
        if seen != wanted:
            self.findings.note_fault(f"{what}: {seen} instead of {wanted}")
        return seen == wanted

    def _judge(self, what: str, *, is_right: bool, size_bytes: int) -> None:
        self.findings.checked_bodies += 1
        self.findings.body_bytes += size_bytes
        if not is_right:
            self.findings.wrong_bodies += 1
            self.findings.note_fault(f"{what}: a wrong body of {size_bytes} bytes")

    async def _get_whole(self, session: aiohttp.ClientSession, random: Random) -> None:
        await self._read_item(session, self._choose(random), pause_s=0.0)

    async def _get_slowly(self, session: aiohttp.ClientSession, random: Random) -> None:
        await self._read_item(session, self._choose(random), pause_s=_SHORT_PAUSE_S)

    async def _read_item(self, session: aiohttp.ClientSession, item: TreeItem, pause_s: float) -> None:
        async with session.get(self._url(item.path)) as response:
            if not self._expect(item.path, response.status, 200):
                return
            hasher, size = hashlib.sha256(), 0
            while data := await response.content.read(_READ_BYTES):
                hasher.update(data)
                size += len(data)
                if pause_s:
                    await asyncio.sleep(pause_s)
            status = response.headers.get("Cache-Status", "").removeprefix("sstream-proxy; ")
            self.findings.cache_status[status.partition(";")[0]] += 1
        self._judge(item.path, is_right=hasher.hexdigest() == item.digest, size_bytes=size)

    async def _get_range(self, session: aiohttp.ClientSession, random: Random) -> None:
        item = self._choose(random)
        start = random.randrange(item.size)
        end = random.randrange(start, item.size)
        asked, meant = random.choice(
            [
                (f"{start}-{end}", slice(start, end + 1)),
                (f"{start}-", slice(start, None)),
                (f"-{item.size - start}", slice(start, None)),
            ]
        )
        expected = item.read()[meant]
        async with session.get(self._url(item.path), headers={"Range": f"bytes={asked}"}) as response:
            if self._expect(f"{item.path} {asked}", response.status, 206):
                body = await response.read()
                self._judge(f"{item.path} {asked}", is_right=body == expected, size_bytes=len(body))

    async def _abort(self, session: aiohttp.ClientSession, random: Random) -> None:
        item = self._choose(random)
        async with session.get(self._url(item.path)) as response:
            if self._expect(item.path, response.status, 200):
                await response.content.read(random.randint(1, item.size))
            response.close()

    async def _head(self, session: aiohttp.ClientSession, random: Random) -> None:
        item = self._choose(random)
        async with session.head(self._url(item.path)) as response:
            if self._expect(item.path, response.status, 200):
                self._expect(f"size of {item.path}", response.headers.get("Content-Length"), str(item.size))

    async def _get_unchanged(self, session: aiohttp.ClientSession, random: Random) -> None:
        url = self._url(self._choose(random).path)
        async with session.head(url) as response:
            etag = response.headers.get("ETag", "")
        async with session.get(url, headers={"If-None-Match": etag}) as response:
            self._expect(f"{url} with its ETag", response.status, 304)

    async def _get_documents(self, session: aiohttp.ClientSession, _: Random) -> None:
        if (body := await self._read_document(session, INDEX)) is not None:
            digest = hashlib.sha256(body).hexdigest()
            self._judge(INDEX, is_right=digest in self._offer.indexes, size_bytes=len(body))
        if (body := await self._read_document(session, LIST)) is not None:
            listed = self._offer.listings.get(hashlib.sha256(body).hexdigest())
            self._judge(LIST, is_right=listed is not None, size_bytes=len(body))
            self._listed = listed or self._listed

    async def _read_document(self, session: aiohttp.ClientSession, path: str) -> bytes | None:
        async with session.get(self._url(path)) as response:
            return await response.read() if self._expect(path, response.status, 200) else None

    async def _get_page(self, session: aiohttp.ClientSession, random: Random) -> None:
        path = random.choice(_PAGES)
        async with session.get(self._url(path)) as response:
            self._expect(path, response.status, 200)
            await response.read()

    async def _get_absent(self, session: aiohttp.ClientSession, random: Random) -> None:
        path = f"no/such/item-{random.randrange(10**6)}.img"
        async with session.get(self._url(path)) as response:
            self._expect(path, response.status, 404)

    async def _get_rotten(self, session: aiohttp.ClientSession, _: Random) -> None:
        """Ask for what the origin has with a wrong byte: the reply must not come to its end."""
        try:
            async with session.get(self._url(ROTTEN)) as response:
                body: Any = await response.read()
                self._judge(ROTTEN, is_right=response.status != 200, size_bytes=len(body))
        except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError, ConnectionResetError):
            self.findings.requests["get_rotten: cut short, as it must be"] += 1

    async def _get_health(self, session: aiohttp.ClientSession) -> None:
        async with session.get(self._url("/-/health")) as response:
            self._expect("/-/health", response.status, 200)


def _quantile(values: Sequence[float], share: float) -> float:
    """Return within what that share of the values are; 0 without any."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0
