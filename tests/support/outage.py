"""An origin that dies in the middle of an item, and a client that gives up when no byte comes for a while."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from proxy.fills.feed import FeedOptions
from proxy.mirror import Mirror
from proxy.sources.options import UpstreamOptions
from support.exchange import Exchange
from support.faults import Fault
from support.keys import SigningKey
from support.origin import Origin
from support.running import MOUNT, make_config, run_proxy
from support.tree import SignedTree

MIB = 1024 * 1024
SIZE = 4 * MIB
DEAD_S = 30.0
PATIENCE_S = 10.0
"""MAAS gives up after so long without a byte."""

Death = Literal["down", "silent"]


@dataclass(frozen=True, slots=True)
class Outage:
    """How the client fared; times in seconds."""

    is_right: bool
    longest_gap_s: float
    lasted_s: float
    """From the origin's death to the client's last byte."""


async def survive(death: Death, scale: float, folder: Path, key: SigningKey) -> Outage:
    """Let an origin be dead for 30 s after three of four MiB; all times are multiplied by `scale`.

    Down: connections are reset, and then refused. Silent: they stay open, and new
    ones get no answer.
    """
    tree = SignedTree(folder / "upstream", key)
    item = tree.add_item("p", "1", "squashfs", size=SIZE)
    tree.publish()
    keyring = folder / "keys.gpg"
    keyring.write_bytes(key.public_binary())
    default = UpstreamOptions()
    upstream = UpstreamOptions(
        connect_timeout_s=default.connect_timeout_s * scale,
        stall_timeout_s=default.stall_timeout_s * scale,
        give_up_after_s=default.give_up_after_s * scale,
    )
    feed = FeedOptions(drip_interval_s=FeedOptions().drip_interval_s * scale)
    async with Origin(tree.root) as origin:
        mirror = Mirror(name="test", mount=MOUNT, origins=(origin.url,), keyring=str(keyring))
        config = make_config(folder / "data", mirror, upstream=upstream, feed=feed)
        async with run_proxy(config) as proxy, Exchange(proxy.url(item.path)) as exchange:
            stall = origin.fault(item.path, Fault(stall_after=3 * MIB))
            await exchange.begin()
            await stall.reached.wait()
            loop = asyncio.get_running_loop()
            died_at = loop.time()
            revival = asyncio.create_task(_revive(origin, death, DEAD_S * scale))
            longest_gap_s = 0.0
            while not exchange.is_over:
                before = loop.time()
                async with asyncio.timeout(PATIENCE_S * scale):
                    await exchange.more()
                longest_gap_s = max(longest_gap_s, loop.time() - before)
            reply = await exchange.rest()
            lasted_s = loop.time() - died_at
            await revival
    is_right = reply.is_complete and reply.body == item.read()
    return Outage(is_right, longest_gap_s, lasted_s)


async def _revive(origin: Origin, death: Death, after_s: float) -> None:
    if death == "down":
        await origin.stop()
    else:
        origin.fault("*", Fault(head=b"", stall_after=0))
    await asyncio.sleep(after_s)
    origin.heal()
    await origin.start()
