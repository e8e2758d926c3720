"""Every phase of every exchange with an origin, met by everything that can go wrong there.

A cell is one fault in one phase. Each has an origin and a mirror of its own, so
that all cells of a phase run side by side in one proxy, with one store.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from proxy.digest import Digest
from proxy.mirror import Mirror
from proxy.sources.options import UpstreamOptions
from support.exchange import Reply, read
from support.faults import Fault
from support.keys import SigningKey
from support.layout import layout_of
from support.origin import Origin
from support.running import Clock, RunningProxy, make_config, run_proxy
from support.tree import SignedTree, TreeItem

INDEX = "streams/v1/index.sjson"
LIST = "streams/v1/com.ubuntu.maas:stable:v3:download.sjson"
SIGNATURE = "streams/v1/index.json.gpg"
PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
ITEM_BYTES = 1_800_000
PAUSES_S = (16.0, 31.0, 15.0, 240.0)
"""When clients come back after a fault: past first and second retry, memory of absence, `fresh_for`."""
OPTIONS = UpstreamOptions(
    connect_timeout_s=5, stall_timeout_s=1.5, give_up_after_s=1, document_timeout_s=3, least_rate_bytes=1
)

LOGIN_PAGE = b"<html><body>Welcome to the hotel. Please log in.</body></html>\n"
_HALF_A_HEAD = b"HTTP/1.1 200 OK\r\nContent-"
_GARBAGE_HEADERS = b"HTTP/1.1 200 OK\r\nContent-Length : many\r\n\x00\x01: \x02\r\n: :\r\n\r\n"

DOWN = Fault(refuse=True, latency_s=1e-9)
"""Stands for an origin that does not listen."""


def _faults(mark: int, wrong_at: int, rate_bytes_s: float) -> dict[str, Fault]:
    """Return what can go wrong anywhere; what happens within a body happens at `mark`, or at `wrong_at`."""
    return {
        "connection refused": DOWN,
        "closed before the head": Fault(refuse=True),
        "reset before the head": Fault(head=b"", cut_after=0),
        "reset within the head": Fault(head=_HALF_A_HEAD, cut_after=0),
        "reset within the body": Fault(cut_after=mark),
        "closed within the body": Fault(close_after=mark),
        "closed within a chunked body": Fault(close_after=mark, chunked=True),
        "silent before the head": Fault(head=b"", stall_after=0),
        "silent within the head": Fault(head=_HALF_A_HEAD, stall_after=0),
        "silent within the body": Fault(stall_after=mark),
        "slow drip": Fault(rate_bytes_s=rate_bytes_s),
        "no HTTP at all": Fault(head=b"SSH-2.0-OpenSSH_9.6\r\n", close_after=0),
        "garbage for headers": Fault(head=_GARBAGE_HEADERS),
        "Content-Length too short": Fault(length_error=-100),
        "Content-Length too long": Fault(length_error=100),
        "one byte wrong": Fault(corrupt_at=wrong_at),
        "compressed unasked": Fault(gzip=True),
        "says compressed, is not": Fault(content_encoding="gzip"),
        "login page with 200": Fault(body=LOGIN_PAGE),
        "redirects in a circle": Fault(redirect_to="?again"),
        "redirect to a private address": Fault(redirect_to="http://127.0.0.1:9/login"),
        "204": Fault(status=204),
        "206 unasked": Fault(status=206),
        "403": Fault(status=403),
        "404": Fault(status=404),
        "410": Fault(status=410),
        "416": Fault(status=416),
        "429, Retry-After": Fault(status=429, headers={"Retry-After": "3600"}),
        "500": Fault(status=500),
        "503, Retry-After": Fault(status=503, headers={"Retry-After": "3600"}),
        "511, captive portal": Fault(status=511),
    }


OF_DOCUMENTS = _faults(100, 60, 60)
OF_ITEMS = _faults(ITEM_BYTES // 4, ITEM_BYTES - 10, ITEM_BYTES / 2)
OF_RANGES: dict[str, Fault] = {
    "200 for a Range": Fault(ignore_range=True),
    "Range from another start": Fault(wrong_range=True),
    "Range that starts too late": Fault(
        headers={"Content-Range": f"bytes {ITEM_BYTES - 9}-{ITEM_BYTES - 1}/{ITEM_BYTES}"}
    ),
    "Range of another total": Fault(total_error=1),
    "416 for any Range": Fault(range_status=416),
}


class Phase(NamedTuple):
    """One kind of request to an origin, at one moment."""

    asked: str
    """What the client asks for; empty for an item of the cell's own."""
    pattern: str
    """Which requests go wrong."""
    is_known: bool
    """Whether there is something from before: an accepted document, or the first part of an item."""


PHASES: dict[str, Phase] = {
    "index, first": Phase(INDEX, "streams/v1/index.*", is_known=False),
    "index, known": Phase(INDEX, "streams/v1/index.*", is_known=True),
    "list, first": Phase(LIST, "streams/v1/com*", is_known=False),
    "list, known": Phase(LIST, "streams/v1/com*", is_known=True),
    "signature, first": Phase(SIGNATURE, "*.gpg", is_known=False),
    "signature, known": Phase(SIGNATURE, "*.gpg", is_known=True),
    "item, cold": Phase("", "", is_known=False),
    "item, resumed": Phase("", "", is_known=True),
}


@dataclass
class Seen:
    """What came of a cell."""

    client: str
    """right, stale, cut, or the status of an error."""
    right_after_s: float | None = None
    """How long after the fault the client got what is right; None if it did not."""
    told: set[str] = field(default_factory=set)
    """error: a failed request is counted; wrong: a wrong copy; problem: one is told of mirror or origin."""

    def __str__(self) -> str:
        return f"{self.client}: {' '.join(sorted(self.told))}".rstrip(": ")


class _Cell(NamedTuple):
    name: str
    fault: Fault
    phase: Phase
    origin: Origin
    mirror: Mirror
    item: TreeItem

    @property
    def asked(self) -> str:
        return self.phase.asked or self.item.path

    @property
    def pattern(self) -> str:
        return self.phase.pattern or self.item.path

    async def begin(self) -> None:
        """Let the fault happen."""
        if not self.phase.asked and self.phase.is_known:
            self.origin.fault(self.pattern, Fault(close_after=ITEM_BYTES // 2), times=1)
        if self.fault is not DOWN:
            self.origin.fault(self.pattern, self.fault)
        elif self.phase.asked or not self.phase.is_known:
            await self.origin.stop()
        else:
            self.origin.fault(self.pattern, Fault(refuse=True))

    async def end(self) -> None:
        """Let all be well."""
        self.origin.heal()
        await self.origin.start()


class _Run:
    """All cells of a phase, in front of one proxy."""

    def __init__(self, tree: SignedTree, phase: Phase, proxy: RunningProxy, cells: list[_Cell]) -> None:
        self._tree = tree
        self._phase = phase
        self._proxy = proxy
        self._cells = cells
        self._published: dict[str, set[bytes]] = {}

    async def go(self) -> dict[str, Seen]:
        self._publish()
        await self._prepare()
        before = await self._stats()
        for cell in self._cells:
            await cell.begin()
        await self._check_known()
        replies = await asyncio.gather(*(self._ask(cell) for cell in self._cells))
        await self._proxy.fills_ended()
        seen = {
            cell.name: Seen(self._word(cell, reply)) for cell, reply in zip(self._cells, replies, strict=True)
        }
        await asyncio.to_thread(self._audit)
        after = await self._stats()
        for cell in self._cells:
            seen[cell.name].told = _told(cell, before, after)
            await cell.end()
        await self._look_again(seen)
        await asyncio.to_thread(self._audit)
        return seen

    def _publish(self) -> None:
        self._tree.publish(detached=True)
        for file in self._tree.root.glob("streams/v1/*"):
            path = file.relative_to(self._tree.root).as_posix()
            self._published.setdefault(path, set()).add(file.read_bytes())

    async def _prepare(self) -> None:
        """Bring about what is known from before."""
        if self._phase.is_known or not self._phase.asked or self._phase.asked == SIGNATURE:
            await self._ask_all(INDEX)
        if self._phase.asked and self._phase.is_known:
            await self._ask_all(self._phase.asked)
            self._publish()

    async def _check_known(self) -> None:
        if self._phase.asked and self._phase.is_known:
            self._proxy.clock.advance(301)
            await asyncio.gather(*(self._documents(cell).checks.revalidate() for cell in self._cells))

    async def _look_again(self, seen: dict[str, Seen]) -> None:
        """Note after how long each is right."""
        passed_s = 0.0
        for pause_s in PAUSES_S:
            passed_s += pause_s
            self._proxy.clock.advance(pause_s)
            replies = await asyncio.gather(*(self._ask_twice(cell) for cell in self._cells))
            for cell, reply in zip(self._cells, replies, strict=True):
                if seen[cell.name].right_after_s is None and self._word(cell, reply) == "right":
                    seen[cell.name].right_after_s = passed_s

    async def _ask(self, cell: _Cell) -> Reply:
        return await read(self._proxy.url(cell.mirror.mount + cell.asked))

    async def _ask_twice(self, cell: _Cell) -> Reply:
        """Ask as a client that finds something stale, and comes back when that was checked."""
        await self._ask(cell)
        check = self._documents(cell).checks.running
        if check is not None:
            await asyncio.wait([check])
        return await self._ask(cell)

    async def _ask_all(self, path: str) -> None:
        urls = [self._proxy.url(cell.mirror.mount + path) for cell in self._cells]
        replies = await asyncio.gather(*map(read, urls))
        assert {reply.status for reply in replies} == {200}

    def _documents(self, cell: _Cell) -> Any:
        return self._proxy.cache._documents[cell.mirror.name]

    async def _stats(self) -> dict[str, Any]:
        async with self._proxy.get("/-/stats") as response:
            found: dict[str, Any] = await response.json()
        return found

    def _newest(self, path: str) -> bytes:
        return (self._tree.root / path).read_bytes()

    def _word(self, cell: _Cell, reply: Reply) -> str:
        right = self._newest(cell.phase.asked) if cell.phase.asked else cell.item.read()
        if reply.status != 200 and reply.status:
            return str(reply.status)
        if not reply.is_complete:
            assert len(reply.body) < len(right), cell.name
            return "cut"
        if reply.body == right:
            return "right"
        assert cell.phase.asked, f"{cell.name}: a wrong item was completed"
        assert reply.body in self._published[cell.phase.asked], f"{cell.name}: a wrong document was served"
        return "stale"

    def _audit(self) -> None:
        """Check that all the store holds is what its name says, and was published."""
        store = self._proxy.store
        items = {item.digest: item.read() for item in self._tree.items}
        published = [*items.values(), *(one for versions in self._published.values() for one in versions)]
        for digest, *_ in store.scan():
            data = layout_of(store).path(digest).read_bytes()
            assert hashlib.sha256(data).hexdigest() == digest
            assert any(data.strip() in one for one in published), f"{data[:80]!r} was kept"
        for partial in layout_of(store).incoming.iterdir():
            right = items[Digest(partial.name)]
            assert right.startswith(partial.read_bytes()), f"{partial} holds wrong bytes"


def _told(cell: _Cell, before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    url = cell.origin.url
    was, now = (stats["origins"].get(url, _NOTHING) for stats in (before, after))
    told = set()
    if now["requests"]["error"] > was["requests"]["error"]:
        told.add("error")
    if now["wrong_copies"] > was["wrong_copies"]:
        told.add("wrong")
    problems = {(one["subject"], "lists do not say" in one["text"]) for one in after["problems"]}
    if (f"mirror {cell.mirror.name}", False) in problems or (f"origin {url}", True) in problems:
        told.add("problem")
    return told


_NOTHING = {"requests": {"error": 0}, "wrong_copies": 0}


async def run_phase(name: str, folder: Path, key: SigningKey) -> dict[str, Seen]:
    """Return what came of each fault in a phase. Fails when anything wrong is served whole, or kept."""
    phase = PHASES[name]
    faults = OF_DOCUMENTS if phase.asked else OF_ITEMS | (OF_RANGES if phase.is_known else {})
    async with _cells(phase, faults, folder, key) as run:
        return await run.go()


@asynccontextmanager
async def _cells(
    phase: Phase, faults: dict[str, Fault], folder: Path, key: SigningKey
) -> AsyncIterator[_Run]:
    tree = SignedTree(folder / "upstream", key)
    keyring = folder / "keys.gpg"
    keyring.write_bytes(key.public_binary())
    cells = []
    async with AsyncExitStack() as stack:
        for number, (name, fault) in enumerate(faults.items()):
            item = tree.add_item(PRODUCT, "20250718", f"file-{number}", size=ITEM_BYTES)
            origin = await stack.enter_async_context(Origin(tree.root))
            mirror = Mirror(
                name=f"m{number}", mount=f"/m{number}/", origins=(origin.url,), keyring=str(keyring)
            )
            cells.append(_Cell(name, fault, phase, origin, mirror, item))
        config = make_config(folder / "data", *(cell.mirror for cell in cells), upstream=OPTIONS)
        proxy = await stack.enter_async_context(run_proxy(config, Clock()))
        yield _Run(tree, phase, proxy, cells)


def table(found: dict[str, dict[str, Seen]]) -> str:
    """Return what clients see as a Markdown table: a row for each fault, a column for each phase."""
    rows = [["fault", *found], ["---"] * (len(found) + 1)]
    rows += [
        [fault, *(cells[fault].client if fault in cells else "" for cells in found.values())]
        for fault in OF_ITEMS | OF_RANGES
    ]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
