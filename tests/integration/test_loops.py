"""Names that lead back: a proxy that asks itself, and several that ask in a circle, never wait for it."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from support.origin import Origin
from support.running import RunningProxy, make_config, run_proxy
from support.tree import SignedTree, TreeItem

from proxy.mirror import Mirror
from proxy.sources.options import UpstreamOptions

INDEX = "streams/v1/index.sjson"
NAME = "images.maas.io"
PREFIX = "/ephemeral-v3/stable/"
PATIENT = UpstreamOptions(
    connect_timeout_s=5, stall_timeout_s=120, give_up_after_s=120, resolve={NAME: ("127.0.0.1",)}
)
"""Whoever waits for itself waits for two minutes."""
AT_ONCE_S = 60.0
_BEFORE_THEY_GIVE_UP_S = 20.0
"""A first client of a mirror is let go after 25 seconds."""


@pytest.fixture
def items(tree: SignedTree) -> list[TreeItem]:
    """Publish some images."""
    items = [tree.add_item("p", "20250718", f"item{number}", size=50_000) for number in range(8)]
    tree.publish()
    return items


def bound() -> tuple[socket.socket, int]:
    """Return a socket that listens, and its port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    return listener, listener.getsockname()[1]


@contextlib.asynccontextmanager
async def circle(
    folder: Path, keyring: Path, upstreams: Sequence[str], name: str = "127.0.0.1"
) -> AsyncIterator[list[RunningProxy]]:
    """Run as many proxies as there are upstreams: each asks the next one, then its upstream if it has one."""
    listeners = [bound() for _ in upstreams]
    async with contextlib.AsyncExitStack() as stack:
        proxies = []
        for number, (listener, _) in enumerate(listeners):
            after = listeners[(number + 1) % len(listeners)][1]
            origins = filter(None, (f"http://{name}:{after}{PREFIX}", upstreams[number]))
            mirror = Mirror(name="m", mount=PREFIX, origins=tuple(origins), keyring=str(keyring))
            config = make_config(folder / f"data{number}", mirror, upstream=PATIENT)
            proxies.append(await stack.enter_async_context(run_proxy(config, listener=listener)))
        yield proxies


@pytest.mark.parametrize("name", ["127.0.0.1", NAME])
async def test_a_proxy_that_asks_itself_is_told_so_at_once(
    tmp_path: Path, keyring: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """By a name server that gives its own address, say. Reply, log and problems tell."""
    caplog.set_level(logging.WARNING)
    async with circle(tmp_path, keyring, [""], name) as (proxy,), asyncio.timeout(AT_ONCE_S):
        replies = await asyncio.gather(*(proxy.read(path) for path in (INDEX, "streams/v1/index.json")))
        async with proxy.get("/-/stats") as response:
            stats = await response.json()

    assert [reply.status for reply in replies] == [503, 503]
    assert b"[upstream] resolve" in replies[0].body
    (problem,) = [one for one in stats["problems"] if one["subject"] == "mirror m"]
    assert "[upstream] resolve" in problem["advice"]
    assert any("loop.detected" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("count", [2, 3])
async def test_proxies_in_a_circle_without_an_origin_say_so_at_once(
    tmp_path: Path, keyring: Path, count: int
) -> None:
    """All are asked at a time, so that each asks the next one on its own account."""
    async with circle(tmp_path, keyring, [""] * count) as proxies, asyncio.timeout(_BEFORE_THEY_GIVE_UP_S):
        for _ in range(3):
            replies = await asyncio.gather(*(proxy.read(INDEX) for proxy in proxies))
            assert [reply.status for reply in replies] == [503] * count
            for proxy in proxies:
                proxy.clock.advance(1000)


@pytest.mark.parametrize("count", [2, 3])
async def test_neighbours_that_ask_each_other_first_get_all_from_the_origin(
    tmp_path: Path, keyring: Path, origin: Origin, items: list[TreeItem], count: int
) -> None:
    """Everybody wants everything at once: no proxy waits for one that waits for it."""
    async with circle(tmp_path, keyring, [origin.url] * count) as proxies, asyncio.timeout(AT_ONCE_S):
        for proxy in proxies:
            assert (await proxy.read(INDEX)).status == 200
        for route in (proxy.documents.route for proxy in proxies):
            for neighbour in route.order():
                route.worked(neighbour)  # Or one that had no documents yet is asked last for a while.
        wanted = [(proxy, item) for item in items for proxy in proxies]
        got = await asyncio.gather(*(proxy.read(item.path) for proxy, item in wanted))

    assert [reply.body for reply in got] == [item.read() for _, item in wanted]


async def test_a_chain_of_proxies_is_no_circle(
    tmp_path: Path, keyring: Path, origin: Origin, items: list[TreeItem]
) -> None:
    """Each asks the one above it, and all get the same from one transfer."""
    async with contextlib.AsyncExitStack() as stack, asyncio.timeout(AT_ONCE_S):
        above, proxies = origin.url, []
        for number in range(4):
            mirror = Mirror(name="m", mount=PREFIX, origins=(above,), keyring=str(keyring))
            config = make_config(tmp_path / f"data{number}", mirror, upstream=PATIENT)
            proxies.append(await stack.enter_async_context(run_proxy(config)))
            above = proxies[-1].base + PREFIX
        for _ in range(2):
            got = await asyncio.gather(*(proxies[-1].read(item.path) for item in items))
            assert [reply.body for reply in got] == [item.read() for item in items]

    assert [origin.count(item.path) for item in items] == [1] * len(items)


async def test_what_is_held_is_given_to_a_neighbour(
    tmp_path: Path, keyring: Path, origin: Origin, items: list[TreeItem]
) -> None:
    async with circle(tmp_path, keyring, [origin.url] * 2) as (one, two), asyncio.timeout(AT_ONCE_S):
        for proxy in (one, two, one):
            assert (await proxy.read(INDEX)).status == 200
        assert (await two.read(items[0].path)).body == items[0].read()
        await origin.stop()
        assert (await one.read(items[0].path)).body == items[0].read()


async def test_a_name_that_leads_to_this_machine_is_told_when_nobody_answers_there(
    tmp_path: Path, keyring: Path
) -> None:
    """The usual case: clients ask by http, the origin is https, and nothing listens at that port here."""
    listener, port = bound()
    listener.close()
    name = socket.gethostname()
    try:
        addresses = {found[4][0] for found in socket.getaddrinfo(name, port, socket.AF_INET)}
    except OSError:
        pytest.skip("this machine's name has no address")
    if not all(str(address).startswith("127.") for address in addresses):
        pytest.skip("this machine's name has another address than loopback")
    mirror = Mirror(name="m", mount=PREFIX, origins=(f"https://{name}:{port}/x/",), keyring=str(keyring))
    async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
        reply = await proxy.read(INDEX)

    assert reply.status == 503
    assert b"which is this machine itself" in reply.body
