"""Many cold items of many sizes over few connections: an honest origin must come out as one.

The sizes lie around the limits of the HTTP library's buffer, where the end of a body, the return of
its connection and the next request on it fall together in every order. All items of a round are
asked for at once; some clients read slowly, some leave.
"""

import asyncio
import contextlib
import hashlib
import logging
import shutil
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import uvloop

from proxy.mirror import Mirror
from proxy.sources.http.sessions import READ_BUFFER_BYTES
from proxy.sources.options import UpstreamOptions
from support.keys import SigningKey
from support.running import MOUNT, RunningProxy, make_config, run_proxy
from support.tree import MAAS_CONTENT_ID, SignedTree, TreeItem

Runner = Callable[[Coroutine[Any, Any, None]], None]
LOOPS: tuple[Runner, ...] = (uvloop.run, asyncio.run)

_MIB = 1024 * 1024
_LIMITS_BYTES = (2 * READ_BUFFER_BYTES, _MIB, _MIB + 2 * READ_BUFFER_BYTES, 2 * _MIB)
"""The library pauses above the first. A rest of a mebibyte or more is read past it, if a thread is first."""
_LARGEST_BYTES = 12 * _MIB
_ITEMS = 156
_CLIENTS = 100
_PATIENCE_S = 60.0
_UPSTREAM = UpstreamOptions(connections=6, connect_timeout_s=5, stall_timeout_s=8, give_up_after_s=30)


@dataclass
class Report:
    """What came of it."""

    items: int = 0
    received_bytes: int = 0
    left: int = 0
    """Clients that left before the end, as they were meant to."""
    broken: list[str] = field(default_factory=list)
    """Items that a client did not get whole and right, and how."""
    blamed: list[str] = field(default_factory=list)
    """What was held against the origin."""


class Blame(logging.Handler):
    """Keeps what the proxy says against origins."""

    def __init__(self, report: Report) -> None:
        super().__init__(logging.WARNING)
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message about an origin."""
        if record.getMessage().startswith("origin."):
            self._report.blamed.append(record.getMessage())


class _Handler(SimpleHTTPRequestHandler):
    """Sends files as fast as the kernel can, and keeps connections open."""

    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        """Send heads at once."""
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def copyfile(self, source: Any, _: Any) -> None:
        """Send a file."""
        self.wfile.flush()
        self.connection.sendfile(source)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def fast_origin(folder: Path) -> Iterator[str]:
    """Serve a folder from threads of their own; yield its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(folder))) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            serving.join()


def sizes_bytes(chance: Random, count: int) -> list[int]:
    """Draw sizes: a third at the limits, give or take a byte or a head, the others anywhere."""
    near = [limit + more for limit in _LIMITS_BYTES for more in (-1, 0, 1, -300, 300, 65_536, -65_536)]
    return [
        chance.choice(near) if chance.random() < 1 / 3 else chance.randrange(200_000, _LARGEST_BYTES)
        for _ in range(count)
    ]


class Crush:
    """An origin's tree, asked for again and again by a proxy that has nothing."""

    def __init__(self, folder: Path, key: SigningKey, seed: int, *, items: int = _ITEMS) -> None:
        self.report = Report()
        self._folder = folder
        self._chance = Random(seed)
        self._tree = SignedTree(folder / "upstream", key)
        self._items = [
            self._tree.add_item("product", "1", f"item-{number}", size=size, seed=number)
            for number, size in enumerate(sizes_bytes(self._chance, items))
        ]
        self._tree.publish()
        self._ring = folder / "ring.gpg"
        self._ring.write_bytes(key.public_binary())

    async def round(self) -> None:
        """Get every item once from a new proxy, in a random order, many at a time."""
        data_dir = self._folder / "data"
        blame = Blame(self.report)
        logging.getLogger("proxy").addHandler(blame)
        try:
            with fast_origin(self._tree.root) as url:
                mirror = Mirror(name="test", mount=MOUNT, origins=(url,), keyring=str(self._ring))
                config = make_config(data_dir, mirror)
                config = replace(config, upstream=_UPSTREAM)
                async with run_proxy(config) as proxy:
                    await proxy.read(f"streams/v1/{MAAS_CONTENT_ID}.sjson")
                    await self._get_all(proxy)
                    await proxy.fills_ended()
        finally:
            logging.getLogger("proxy").removeHandler(blame)
            shutil.rmtree(data_dir)

    async def _get_all(self, proxy: RunningProxy) -> None:
        waiting = self._chance.sample(self._items, len(self._items))

        async def client(chance: Random) -> None:
            while waiting:
                await self._get(proxy, waiting.pop(), chance)

        async with asyncio.TaskGroup() as clients:
            for _ in range(_CLIENTS):
                clients.create_task(client(Random(self._chance.random())))

    async def _get(self, proxy: RunningProxy, item: TreeItem, chance: Random) -> None:
        """Read one item, at once, slowly, or not to its end."""
        leaves_at = chance.randrange(item.size) if chance.random() < 0.05 else None
        is_slow = chance.random() < 0.2
        sha256 = hashlib.sha256()
        count = 0
        self.report.items += 1
        try:
            async with asyncio.timeout(_PATIENCE_S), proxy.get(item.path) as reply:
                async for chunk in reply.content.iter_any():
                    sha256.update(chunk)
                    count += len(chunk)
                    self.report.received_bytes += len(chunk)
                    if leaves_at is not None and count > leaves_at:
                        self.report.left += 1
                        return
                    if is_slow:
                        await asyncio.sleep(chance.random() / 100)
        except (aiohttp.ClientError, TimeoutError) as error:
            self.report.broken.append(f"{item.path}: {error!r} after {count} of {item.size} bytes")
            return
        if sha256.hexdigest() != item.digest:
            self.report.broken.append(f"{item.path}: {count} of {item.size} bytes, status {reply.status}")
