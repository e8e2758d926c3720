"""What clients get of the tree: lists as published, and what is not there.

The numbers in the docstrings are the contract's (see `test_items.py`).
"""

import asyncio
import hashlib
import json
import time
from pathlib import Path

import pytest
from support.faults import Fault
from support.fixtures import PRODUCTS_2016_PATH, published_2016
from support.maas_reader import (
    LISTS,
    MAAS_37_HEADERS,
    PLAIN_INDEX,
    SIGNED_INDEX,
    parsed,
    read_as_maas,
)
from support.origin import Origin
from support.running import MOUNT, Clock, RunningProxy, make_config, run_proxy
from support.tree import SignedTree, TreeItem
from support.wire import Wire

from proxy.mirror import Mirror

MIB = 1024 * 1024
PRODUCT = "com.ubuntu.maas.stable:v3:boot:24.04:amd64:ga-24.04"
FAST_S = 4.0
"""Far more than an answer from memory takes, and less than any client's patience."""


# The tree as it is


@pytest.mark.parametrize("index", [SIGNED_INDEX, PLAIN_INDEX])
async def test_everything_is_served_as_published(
    proxy: RunningProxy, maas: SignedTree, origin: Origin, index: str
) -> None:
    """1, 2: Index, lists and items, each byte for byte, by either index; a second client costs nothing."""
    first = await read_as_maas(proxy, proxy.base + MOUNT, index)
    origin.clear()
    second = await read_as_maas(proxy, proxy.base + MOUNT, index)

    assert first == second
    assert len(first) == 1 + 3 + len(maas.items)
    assert all(body == (maas.root / path).read_bytes() for path, body in first.items())
    assert origin.requests == []


@pytest.mark.parametrize("mount", ["/", "/a/", "/images/ephemeral-v3/stable/", "/_.~+:@,=-/"])
async def test_any_prefix_will_do(
    tmp_path: Path, origin: Origin, keyring: Path, maas: SignedTree, mount: str
) -> None:
    """1: Below whatever path the mirror is mounted."""
    mirror = Mirror(name="m", mount=mount, origins=(origin.url,), keyring=str(keyring))
    async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
        bodies = await read_as_maas(proxy, proxy.base + mount)

    assert len(bodies) == 1 + 3 + len(maas.items)


async def test_colons_may_be_literal_or_escaped(proxy: RunningProxy, maas: SignedTree) -> None:
    """1: `:`, `%3A` and `%3a` in a path are the same, in any mixture."""
    path = f"{LISTS[0]}.sjson"
    spellings = [path, path.replace(":", "%3A"), path.replace(":", "%3a"), path.replace(":", "%3A", 1)]

    async with Wire.to(proxy.base) as wire:
        bodies = [(await wire.ask(MOUNT + spelling)).body for spelling in spellings]

    assert bodies == [(maas.root / path).read_bytes()] * 4


async def test_what_canonical_signed_in_2016_is_passed_on_unchanged(tmp_path: Path, origin: Origin) -> None:
    """2: With the bundled keyring, which is that of MAAS."""
    published_2016(tmp_path / "upstream")
    mirror = Mirror(name="released", mount="/releases/", origins=(origin.url,))
    async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
        for path in (SIGNED_INDEX, PRODUCTS_2016_PATH):
            got = await proxy.read(path)
            assert got.status == 200
            assert got.body == (tmp_path / "upstream" / path).read_bytes()


async def test_detached_signatures_fit_what_they_sign(proxy: RunningProxy, tree: SignedTree) -> None:
    """2: All flavours of a list that upstream has, each as it is there."""
    tree.add_item(PRODUCT, "20250718", "manifest", size=10)
    tree.publish(detached=True)
    for stem in ("streams/v1/index", LISTS[0]):
        for suffix in (".sjson", ".json", ".json.gpg"):
            assert (await proxy.read(stem + suffix)).body == (tree.root / (stem + suffix)).read_bytes()


async def test_metadata_names_no_charset_but_utf_8(proxy: RunningProxy, tree: SignedTree) -> None:
    """3: MAAS 3.8 decodes by Content-Type and encodes as UTF-8 again before gpgv sees the text."""
    tree.product(PRODUCT, release_title="24.04 „Numbat“ — été, ünïcode, 日本語, 🐧")
    tree.add_item(PRODUCT, "20250718", "manifest", size=10)
    tree.publish(detached=True)
    for path in (SIGNED_INDEX, PLAIN_INDEX, f"{LISTS[0]}.sjson", f"{LISTS[0]}.json", f"{LISTS[0]}.json.gpg"):
        async with proxy.get(path) as response:
            assert response.charset in {None, "utf-8"}
            assert (await response.text()).encode() == (tree.root / path).read_bytes()


# What is not there


@pytest.mark.parametrize("headers", [MAAS_37_HEADERS, {}], ids=["maas", "anybody"])
@pytest.mark.usefixtures("maas")
async def test_unknown_paths_are_absent_at_once(
    proxy: RunningProxy, origin: Origin, headers: dict[str, str]
) -> None:
    """4: 404 while the origin answers nothing at all; no redirect, and no question to it."""
    await proxy.read(SIGNED_INDEX)
    await origin.idle()
    origin.clear()
    origin.gate("*")
    beside = [f"{MOUNT[:-1]}streams/v1/index.sjson", f"{MOUNT[:-1]}streams/v1/index.json", MOUNT[:-1]]
    below = ["streams/v1/index2.sjson", "streams/v1/mirrors.sjson", "streams/v1/no.json.gpg", "no/item", ""]

    for path in [*beside, *(MOUNT + path for path in below), "/ephemeral-v3/stablestreams/v1/index.sjson"]:
        async with asyncio.timeout(FAST_S):
            got = await proxy.read(path, **headers)
        assert got.status == 404, path

    assert origin.requests == []


@pytest.mark.usefixtures("maas")
async def test_a_path_glued_to_the_mount_is_absent_before_anything_is_known(
    proxy: RunningProxy, origin: Origin
) -> None:
    """4, 19: The first request of MAAS up to 3.7, and of sstream-mirror, to a proxy that has just begun."""
    origin.gate("*")
    async with asyncio.timeout(FAST_S):
        got = await proxy.read(f"{MOUNT[:-1]}streams/v1/index.sjson", **MAAS_37_HEADERS)

    assert got.status == 404
    assert origin.requests == []


# Metadata


@pytest.mark.parametrize("is_down", [True, False], ids=["down", "silent"])
@pytest.mark.usefixtures("maas")
async def test_a_whole_metadata_pass_is_fast_while_upstream_is_not(
    proxy: RunningProxy, origin: Origin, clock: Clock, is_down: bool
) -> None:
    """12: The last verified lists are served at once, however old, and say that they are stale."""
    fresh = [await proxy.read(path) for path in (SIGNED_INDEX, *(f"{name}.sjson" for name in LISTS))]
    await origin.idle()
    clock.advance(3 * 24 * 3600)
    if is_down:
        await origin.stop()
    else:
        origin.gate("*")

    begun = time.monotonic()
    stale = [await proxy.read(path) for path in (SIGNED_INDEX, *(f"{name}.sjson" for name in LISTS))]

    assert time.monotonic() - begun < FAST_S
    assert [got.body for got in stale] == [got.body for got in fresh]
    assert {got.cache_status for got in stale} == {"hit; detail=stale"}
    assert {int(got.headers["Age"]) for got in stale} == {3 * 24 * 3600}


BROKEN_LISTS = {
    "a login page": Fault(body=b"<!DOCTYPE html><title>Please log in</title>"),
    "nothing": Fault(body=b""),
    "half of it": Fault(truncate_to=500),
    "an error": Fault(status=503),
    "a broken answer": Fault(cut_after=500),
}


@pytest.mark.parametrize("broken", ["index", "products"])
@pytest.mark.usefixtures("maas")
async def test_lists_come_whole_or_not_at_all(
    tmp_path: Path, mirror: Mirror, origin: Origin, broken: str
) -> None:
    """13: Nothing that upstream's trouble makes of a list is ever served with 200."""
    path = SIGNED_INDEX if broken == "index" else f"{LISTS[0]}.sjson"
    for n, (what, fault) in enumerate(BROKEN_LISTS.items()):
        handle = origin.fault(path, fault)
        async with run_proxy(make_config(tmp_path / f"data{n}", mirror)) as proxy:
            got = await proxy.read(path)
            assert got.status in {502, 503}, what
            assert not got.body.startswith((b"<", b"-----BEGIN")), what
        handle.remove()


@pytest.mark.usefixtures("maas")
async def test_lists_stay_as_they_were_when_upstream_breaks_them(proxy: RunningProxy, origin: Origin) -> None:
    """13: The same trouble later on: what was verified before is served on."""
    paths = [SIGNED_INDEX, f"{LISTS[0]}.sjson"]
    before = [(await proxy.read(path)).body for path in paths]
    for fault in BROKEN_LISTS.values():
        handle = origin.fault("streams/*", fault)
        await proxy.documents.checks.revalidate()
        after = [await proxy.read(path) for path in paths]
        assert [(got.status, got.body) for got in after] == [(200, body) for body in before]
        handle.remove()


async def test_a_path_whose_hash_changes_is_fetched_again(
    proxy: RunningProxy, origin: Origin, tree: SignedTree, item: TreeItem
) -> None:
    """14: Its bytes are always those that the products file served now promises."""
    assert (await proxy.read(item.path)).body == item.read()
    changed = tree.add_item(PRODUCT, "20250718", "squashfs", size=MIB, seed="changed")
    tree.publish()
    await proxy.documents.checks.revalidate()

    listed = parsed((await proxy.read(f"{LISTS[0]}.sjson")).body)
    got = await proxy.read(item.path)

    assert hashlib.sha256(got.body).hexdigest() == changed.digest
    assert changed.digest in json.dumps(listed)
    assert got.headers["Content-Length"] == str(MIB)
    assert origin.count(item.path) == 2


@pytest.mark.usefixtures("origin")
async def test_what_served_metadata_names_stays_fetchable(
    proxy: RunningProxy, tree: SignedTree, item: TreeItem
) -> None:
    """15: Held items outlive their pruning upstream, for clients that still have the earlier list."""
    await proxy.read(item.path)
    tree.add_item(PRODUCT, "20250808", "squashfs", size=MIB)
    tree.remove_version("20250718")
    tree.publish()
    await proxy.documents.checks.revalidate()

    got = await proxy.read(item.path)

    assert item.path not in json.dumps(parsed((await proxy.read(f"{LISTS[0]}.sjson")).body))
    assert (got.status, hashlib.sha256(got.body).hexdigest()) == (200, item.digest)
