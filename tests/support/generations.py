"""Words and questions of the tests of generations: what upstream has, what the proxy says."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from support.running import RunningProxy
from support.tree import MAAS_CONTENT_ID, SignedTree

INDEX = "streams/v1/index.sjson"
LIST = f"streams/v1/{MAAS_CONTENT_ID}.sjson"
SECOND_LIST = "streams/v1/second.sjson"
PRODUCT = "com.ubuntu.maas.stable:v3:boot:24.04:amd64:ga-24.04"

HOUR_S = 3600
STALE_S = 301
"""Long enough for a generation to be checked again."""
STALE = "hit; detail=stale"


def on_disk(tree: SignedTree, *paths: str) -> list[bytes]:
    """Read documents as upstream has them now."""
    return [(tree.root / path).read_bytes() for path in paths]


async def bodies(proxy: RunningProxy, *paths: str) -> list[bytes]:
    """Read documents from the proxy, one after the other."""
    replies = [await proxy.read(path) for path in paths]
    assert [reply.status for reply in replies] == [200] * len(paths)
    return [reply.body for reply in replies]


def said_by(raw: bytes) -> dict[str, Any]:
    """Return what a clear-signed document made by SignedTree says."""
    text = raw.split(b"\n\n", 1)[1].split(b"-----BEGIN PGP SIGNATURE")[0]
    document: dict[str, Any] = json.loads(text)
    return document


def exchange_keys(keyring: Path, keys: bytes) -> None:
    keyring.write_bytes(keys)


def signed(tree: SignedTree, document: dict[str, Any], faked_time: int | None = None) -> bytes:
    assert tree.key is not None
    return tree.key.clearsign(json.dumps(document, indent=1).encode(), faked_time=faked_time)


async def check_ended(proxy: RunningProxy) -> None:
    """Return when the check that runs behind the clients' backs has ended."""
    check = proxy.documents.checks.running
    if check is not None:
        await asyncio.wait([check])


async def stats(proxy: RunningProxy) -> dict[str, Any]:
    async with proxy.get("/-/stats") as response:
        body = await response.json()
    found: dict[str, Any] = body["mirrors"]["test"]
    return found


@asynccontextmanager
async def client_at(address: str) -> AsyncIterator[aiohttp.ClientSession]:
    """Open a session that comes from another loopback address, as another machine would."""
    connector = aiohttp.TCPConnector(local_addr=(address, 0))
    async with aiohttp.ClientSession(connector=connector) as session:
        yield session


async def read_as(session: aiohttp.ClientSession, proxy: RunningProxy, path: str) -> bytes:
    async with session.get(proxy.url(path)) as response:
        assert response.status == 200
        return await response.read()
