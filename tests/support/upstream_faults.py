"""An item of three MiB, a proxy that soon gives up on its origins, and how the two are looked at."""

import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from proxy.digest import Digest
from proxy.mirror import Mirror
from proxy.sources.options import UpstreamOptions
from support.exchange import Reply
from support.faults import Fault
from support.origin import Origin
from support.running import Clock, RunningProxy, make_config, run_proxy
from support.tree import SignedTree, TreeItem

MIB = 1024 * 1024

SIZE = 3 * MIB

INDEX = "streams/v1/index.sjson"

PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"

IMPATIENT = UpstreamOptions(connect_timeout_s=2, stall_timeout_s=0.5, give_up_after_s=0.05)
"""Two tries, or one that stalls."""

PERSISTENT = replace(IMPATIENT, give_up_after_s=5)

LOGIN_PAGE = b"<html><body>Welcome to the hotel. Please log in.</body></html>\n"


@asynccontextmanager
async def impatient_proxy(
    tmp_path: Path, mirror: Mirror, options: UpstreamOptions = IMPATIENT, clock: Clock | None = None
) -> AsyncIterator[RunningProxy]:
    """Run a proxy that soon gives up on an origin, unless told otherwise."""
    async with run_proxy(make_config(tmp_path / "data", mirror, upstream=options), clock) as proxy:
        yield proxy


def with_origins(mirror: Mirror, *origins: Origin) -> Mirror:
    return replace(mirror, origins=tuple(origin.url for origin in origins))


def is_right(reply: Reply, item: TreeItem) -> bool:
    return reply.status == 200 and reply.is_complete and reply.body == item.read()


def is_cut(reply: Reply) -> bool:
    """Whether the connection ended early: before a status, or in the middle of the body."""
    return reply.status in {0, 200} and not reply.is_complete


async def kept(proxy: RunningProxy, item: TreeItem) -> bool:
    """Whether the store holds the item once no fill is running."""
    await proxy.fills_ended()
    return proxy.store.has(Digest(item.digest))


def resumed_at(origin: Origin, item: TreeItem) -> list[int]:
    """List the offsets that the GETs of an item asked for."""
    ranges = [request.headers.get("Range", "bytes=0-") for request in origin.gets(item.path)]
    offsets = [re.fullmatch(r"bytes=(\d+)-", one) for one in ranges]
    return [int(found[1]) for found in offsets if found]


def assert_resumed(origin: Origin, item: TreeItem, *, within: int, tries: int = 1) -> None:
    """Check that an item was asked from the start, then so often from where it stopped.

    What had arrived when a connection broke may be lost on its way through the HTTP client.
    """
    start, *resumed = resumed_at(origin, item)
    assert start == 0
    assert len(resumed) == tries
    assert all(0 < offset <= within for offset in resumed)


def add_items_with_faults(
    tree: SignedTree, origin: Origin, faults: Iterable[Fault], times: int | None = None
) -> dict[str, TreeItem]:
    """Publish an item for each fault, and let it happen to that item. Returns them by the faults' names."""
    items: dict[str, TreeItem] = {}
    for fault in faults:
        name = fault_name(fault)
        items[name] = item = tree.add_item(PRODUCT, "20250718", f"file-{len(items)}", size=100_000)
        origin.fault(item.path, fault, times)
    tree.publish()
    return items


def fault_name(fault: Fault) -> str:
    """Name a fault by the fields that are set."""
    changed = (name for name in Fault.__dataclass_fields__ if getattr(fault, name) != getattr(Fault(), name))
    return ",".join(f"{name}={getattr(fault, name)}"[:60] for name in changed)
