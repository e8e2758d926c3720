"""Fuzz an origin's replies for a while: python bench/fuzz_origins.py [--minutes 10] [--seed N].

Two origins behind one mirror: the first sends changed status lines, heads, redirects,
ranges, lengths, encodings and bytes, and closes early; the second is good. So every
client must get what the signed lists say, at once. A reply that the second origin could
have saved and did not is printed and written to `build/findings/origins/`.
"""

import argparse
import asyncio
import collections
import contextlib
import gzip
import hashlib
import logging
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random, SystemRandom
from urllib.parse import unquote

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.exchange import Reply, read
from support.garbled import garbled
from support.keys import SigningKey
from support.odd_heads import FORGIVABLE, HOPELESS, filled, moved, ok, part
from support.origin import Origin
from support.running import MOUNT, RunningProxy, make_config, run_proxy
from support.tree import SignedTree, TreeItem

from proxy.mirror import Mirror
from proxy.sources.http.heads import HeadError, HeadReader
from proxy.sources.options import UpstreamOptions

FINDINGS = Path(__file__).parent.parent / "build" / "findings" / "origins"
INDEX = "streams/v1/index.sjson"
LIST = "streams/v1/com.ubuntu.maas:stable:v3:download.sjson"
IMPATIENT = UpstreamOptions(connect_timeout_s=2, stall_timeout_s=0.5, give_up_after_s=30)
AT_ONCE = 16
SMALL_BYTES = 50_000
"""Of a small item nothing is sent before all is proved: even wrong bytes can be made up for."""
PATIENCE_S = 25.0
_LIVES = 20
"""Rounds of one proxy, at most: what it remembers of the first origin comes to an end with it."""

_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
_HEADS = [
    *FORGIVABLE.values(),
    *HOPELESS.values(),
    ok(),
    ok(b'ETag: "a"', b"Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT"),
    ok(b"Content-Encoding: gzip"),
    ok(b"Content-Encoding: deflate"),
    ok(b"Content-Type: text/html; charset=utf-8"),
    part(b"bytes 0-%(last)d/%(size)d"),
    part(b"bytes 5-%(last)d/%(size)d"),
    moved(b"%(good)s"),
    moved(b"/elsewhere"),
    b"HTTP/1.1 200 OK\r\n\r\n",
    *(b"HTTP/1.1 %d Whatever\r\nContent-Length: 0\r\n\r\n" % status for status in range(400, 430)),
    *(b"HTTP/1.1 %d Whatever\r\nContent-Length: 0\r\n\r\n" % status for status in (204, 205, 300, 303, 305)),
    *(b"HTTP/1.1 %d Whatever\r\nContent-Length: 0\r\n\r\n" % status for status in (431, 451, 500, 503, 520)),
]


@dataclass(frozen=True)
class Script:
    """What the first origin sends for one path, and how it ends the connection."""

    raw: bytes
    end: str
    """"close", "reset" or "stall"."""

    @property
    def says_nothing_new(self) -> bool:
        """Whether it says 304, which has to be believed."""
        with contextlib.suppress(HeadError):
            head = HeadReader().feed(self.raw)
            return head is not None and head[9:12] == b"304"
        return False

    def is_poison(self, item: TreeItem) -> bool:
        """Whether its bytes may be wrong though nothing says so before they are hashed."""
        try:
            found = HeadReader().feed(self.raw)
        except HeadError:
            return False
        head, _, body = (found or b"").partition(b"\r\n\r\n")
        return b"chunked" in head or not item.read().startswith(body[: item.size])


class FirstOrigin:
    """Sends scripts for some paths, and files for all others."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.scripts: dict[str, Script] = {}
        self.met = 0
        self.url = ""

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Answer for the length of the context."""
        server = await asyncio.start_server(self._converse, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        try:
            yield
        finally:
            server.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = await reader.readuntil(b"\r\n\r\n")
            path = unquote(head.split(b" ")[1].decode("latin-1").removeprefix("/"))
            script = self.scripts[path] if path in self.scripts else await asyncio.to_thread(self._file, path)
            self.met += path in self.scripts
            writer.write(script.raw)
            await writer.drain()
            if script.end == "stall":
                await reader.read()
            if script.end == "reset":
                writer.transport.abort()
        writer.close()

    def _file(self, path: str) -> Script:
        try:
            data = (self._root / path).read_bytes()
        except (OSError, ValueError):
            return Script(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "close")
        return Script(filled(ok(b"Connection: close"), len(data)) + data, "close")


def written(chance: Random, data: bytes, good: str, *, may_lie: bool) -> Script:
    """Write a reply for a file, and change it."""
    body = data
    match chance.randrange(8):
        case 0:
            body = data[: chance.randint(0, len(data))]
        case 1:
            body = data + chance.randbytes(chance.randint(1, 2000))
        case 2 if may_lie and data:
            at = chance.randrange(len(data))
            body = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        case 3 if may_lie:
            body = gzip.compress(data)
    if chance.randrange(12) == 0:
        cuts = sorted(chance.randint(0, len(body)) for _ in range(3))
        chunks = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True) if a < b]
        framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
        return Script(garbled(chance, [_CHUNKED]) + framed, _end(chance))
    head = chance.choice(_HEADS)
    if chance.randrange(2):
        head = garbled(chance, [head, *chance.sample(_HEADS, 3)])
    head = head.replace(b"%(last)d", b"%d" % (len(data) - 1)).replace(b"%(good)s", good.encode())
    return Script(filled(head, chance.choice((len(data), len(body)))) + body, _end(chance))


def _end(chance: Random) -> str:
    return chance.choices(("close", "reset", "stall"), (10, 3, 1))[0]


def keep(script: Script, problem: str) -> None:
    """Write a finding down."""
    FINDINGS.mkdir(parents=True, exist_ok=True)
    file = FINDINGS / hashlib.sha256(script.raw).hexdigest()[:16]
    file.write_bytes(script.raw)
    print(f"FOUND {problem}\n  then {script.end}: {script.raw[:160]!r}\n  kept in {file}", flush=True)


class Fuzz:
    """One proxy between a client and the two origins."""

    def __init__(
        self, chance: Random, tree: SignedTree, first: FirstOrigin, good: Origin, proxy: RunningProxy
    ) -> None:
        self._chance = chance
        self._tree = tree
        self._first = first
        self._good = good
        self._proxy = proxy
        self.tries: collections.Counter[str] = collections.Counter()
        self.found = 0

    @property
    def is_first_asked_first(self) -> bool:
        """Whether the first origin is in good standing, once what passes is forgiven."""
        route = self._proxy.documents.route
        for origin in route.order():
            route.worked(origin)
        return route.order()[0].name == self._first.url

    async def round(self, number: int) -> None:
        """Publish some items; ask for the documents and the items with scripts in the way."""
        chance = self._chance
        sizes = [chance.choice((0, 1, 700, SMALL_BYTES, 200_000, 1_200_000)) for _ in range(AT_ONCE)]
        items = [
            self._tree.add_item("product", f"{number}", f"file-{n}", size=size, seed=f"{number}/{n}")
            for n, size in enumerate(sizes)
        ]
        await asyncio.to_thread(self._tree.publish)
        await self._documents()
        self._first.scripts = {
            item.path: written(
                chance, item.read(), self._good.url + item.path, may_lie=item.size <= SMALL_BYTES
            )
            for item in items
        }
        if not self.is_first_asked_first:
            return
        await asyncio.gather(*(self._item(item) for item in items))
        self._first.scripts = {}

    async def _documents(self) -> None:
        path = self._chance.choice((INDEX, LIST))
        data = (self._tree.root / path).read_bytes()
        script = written(self._chance, data, self._good.url + path, may_lie=True)
        self._first.scripts = {} if script.says_nothing_new else {path: script}
        self._proxy.clock.advance(3600)
        await self._proxy.documents.checks.revalidate()
        self.tries["documents"] += 1
        for one in (INDEX, LIST):
            reply = await self._read(one)
            if reply is None or reply.body != (self._tree.root / one).read_bytes():
                self.found += 1
                status = (await self._proxy.cache.status())["test"]
                keep(script, f"{one} is not what the second origin has: {status['last_problem']}")
                self._first.scripts = {}
                self._proxy.clock.advance(3600)
                await self._proxy.documents.checks.revalidate()
                return

    async def _item(self, item: TreeItem) -> None:
        script = self._first.scripts[item.path]
        self.tries["items"] += 1
        reply = await self._read(item.path)
        if _is_right(reply, item):
            return
        if item.size > SMALL_BYTES and script.is_poison(item):
            self.tries["cut for wrong bytes"] += 1
            if _is_right(await self._read(item.path), item):
                return
        self.found += 1
        got = "nothing in time" if reply is None else f"{reply.status}, {len(reply.body)} bytes"
        keep(script, f"{item.path} of {item.size} bytes: {got}")

    async def _read(self, path: str) -> Reply | None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                return await read(self._proxy.url(path))
        return None


def _is_right(reply: Reply | None, item: TreeItem) -> bool:
    return reply is not None and reply.status == 200 and reply.is_complete and reply.body == item.read()


class Crashes(logging.Handler):
    """Counts tracebacks: nothing that an origin sends is a reason for one."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Look at one line of the log."""
        try:
            record.getMessage().encode()
        except UnicodeError:
            self._tell(record)
        if record.exc_info:
            self._tell(record)

    def _tell(self, record: logging.LogRecord) -> None:
        self.count += 1
        print(f"FOUND in the log: {self.format(record)}", flush=True)


async def fuzz_for(chance: Random, seconds: float) -> tuple[collections.Counter[str], int]:
    """Fuzz for a while; return how many replies of which kind, and how many could have been saved."""
    tries: collections.Counter[str] = collections.Counter()
    found = 0
    end = time.monotonic() + seconds
    with SigningKey() as key:
        while time.monotonic() < end:
            with tempfile.TemporaryDirectory() as work:
                done, lost = await _live(chance, Path(work), key, end)
            tries += done
            found += lost
    return tries, found


async def _live(
    chance: Random, work: Path, key: SigningKey, end: float
) -> tuple[collections.Counter[str], int]:
    """Fuzz with one proxy, until it trusts the first origin no more."""
    tree = SignedTree(work / "upstream", key)
    ring = work / "ring.gpg"
    ring.write_bytes(key.public_binary())
    first = FirstOrigin(tree.root)
    tree.publish()
    async with first.listening(), Origin(tree.root) as good:
        mirror = Mirror(name="test", mount=MOUNT, origins=(first.url, good.url), keyring=str(ring))
        mirror = replace(mirror, redirect_hosts=("127.0.0.1",))
        async with run_proxy(make_config(work / "data", mirror, upstream=IMPATIENT)) as proxy:
            fuzz = Fuzz(chance, tree, first, good, proxy)
            for number in range(_LIVES):
                await fuzz.round(number)
                if time.monotonic() > end or not fuzz.is_first_asked_first:
                    break
            fuzz.tries["scripts sent"] += first.met
            return fuzz.tries, fuzz.found


def main() -> int:
    """Fuzz; return 1 if something was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(2**32))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    crashes = Crashes()
    logging.basicConfig(level=logging.WARNING, handlers=[crashes], force=True)
    tries, found = asyncio.run(fuzz_for(Random(options.seed), options.minutes * 60))
    for name, count in sorted(tries.items()):
        print(f"{name:20} {count:8}")
    print(f"{found} replies that the second origin could have saved, {crashes.count} crashes in the log")
    return 1 if found or crashes.count else 0


if __name__ == "__main__":
    sys.exit(main())
