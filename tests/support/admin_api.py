"""Orders to the operator's API, over HTTP: by somebody at this machine, or elsewhere."""

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from proxy.digest import Digest
from proxy.jobs.rules import Rule
from proxy.mirror import Mirror
from proxy.web.admin.permission import AdminOptions
from support.origin import Origin
from support.running import Clock, RunningProxy, make_config, run_proxy
from support.tree import SignedTree, TreeItem
from support.wire import Wire, WireReply, request

INDEX = "streams/v1/index.sjson"
PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
TOKEN = "Corr3ct-Horse"
SHA256 = hashlib.sha256(TOKEN.encode()).hexdigest()
LOCAL = {"Host": "localhost", "X-Sstream-Proxy": "1"}
FOREIGN = {"Host": "cache.example.test", "X-Sstream-Proxy": "1"}
"""Somebody who is not at this machine, as far as the proxy can tell."""
ACTIONS = ("pin", "unpin", "evict", "purge", "refresh", "scrub", "prefetch", "offline")
OPERATORS_PAGES = ("/-/stats", "/-/metrics", "/-/api/v1/openapi.json", "/-/live", "/%2D/stats")


def list_two_versions(tree: SignedTree) -> dict[str, TreeItem]:
    """Publish two items of each of two versions; return them by version and name."""
    found = {
        f"{version}/{name}": tree.add_item(PRODUCT, version, name, size=1000 + len(name))
        for version in ("20250701", "20250718")
        for name in ("squashfs", "boot-kernel")
    }
    tree.product(PRODUCT, arch="amd64")
    tree.publish()
    return found


@asynccontextmanager
async def run_with_rule(
    folder: Path, mirror: Mirror, origin: Origin, keyring: Path, clock: Clock
) -> AsyncIterator[RunningProxy]:
    """Run a proxy with two mirrors of an origin, and a rule."""
    second = Mirror(name="second", mount="/second/", origins=(origin.url,), keyring=str(keyring))
    rule = Rule(name="lab", mirror="test", filters=("arch=amd64",))
    config = make_config(folder / "data", mirror, second, prefetch=(rule,))
    async with run_proxy(config, clock) as proxy:
        yield proxy


@asynccontextmanager
async def with_admin(proxy: RunningProxy, **options: Any) -> AsyncIterator[RunningProxy]:
    """Run another proxy with options of who may do what."""
    config = replace(proxy.config, data_dir=proxy.config.data_dir / "other", admin=AdminOptions(**options))
    async with run_proxy(config) as other:
        yield other


async def post(
    proxy: RunningProxy, action: str, headers: dict[str, str] | None = None, body: object = None
) -> WireReply:
    """Send an order, as JSON unless it is bytes."""
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    given = {**(LOCAL if headers is None else headers), "Content-Length": str(len(data))}
    async with Wire.to(proxy.base) as wire:
        await wire.send(request(f"/-/api/v1/{action}", "POST", **given) + data)
        return await wire.reply()


async def act(proxy: RunningProxy, action: str, **order: object) -> dict[str, Any]:
    """Have an action done; return what is said of it."""
    reply = await post(proxy, action, body=order)
    told: dict[str, Any] = json.loads(reply.body)
    assert reply.status == 200, told
    return told


async def refused(proxy: RunningProxy, action: str, body: object, status: int = 400) -> str:
    """Send an order that cannot be followed; return why."""
    reply = await post(proxy, action, body=body)
    assert reply.status == status, reply.body
    return str(json.loads(reply.body)["problem"])


async def fetch(proxy: RunningProxy, *items: TreeItem) -> None:
    """Have items in the store."""
    for item in items:
        assert (await proxy.read(item.path)).body == item.read()
    await proxy.fills_ended()


def here(proxy: RunningProxy, items: dict[str, TreeItem]) -> set[str]:
    """Return which items are in the store."""
    return {name for name, item in items.items() if proxy.store.has(Digest(item.digest))}


async def pinned(proxy: RunningProxy, items: dict[str, TreeItem], name: str = "by hand") -> set[str]:
    """Return which items a pin keeps."""
    storage = proxy.cache.storage
    digests = await storage.threads.ledger(storage.pins.pinned_by, name)
    return {name for name, item in items.items() if item.digest in digests}
