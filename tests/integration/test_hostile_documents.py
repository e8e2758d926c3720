"""Origins and filters that ask for too much: refused with the reason, counted, and nobody else waits."""

import asyncio
import bz2
import gzip
import json
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.origin import Fault, Origin
from support.running import MOUNT, RunningProxy, make_config, run_proxy
from support.tree import MAAS_CONTENT_ID, SignedTree, TreeItem
from support.wire import Wire, request

from proxy.mirror import Mirror
from proxy.sources.options import UpstreamOptions

LIST = f"streams/v1/{MAAS_CONTENT_ID}.sjson"
PLAIN = f"streams/v1/{MAAS_CONTENT_ID}.json"
MIB = 1024 * 1024
ONE_ITEM = '"products": {"p": {"versions": {"v": {"items": {"i": {%s}}}}}}'
LIMITED = UpstreamOptions(connect_timeout_s=5, stall_timeout_s=5, document_limit_bytes=MIB)


@pytest.fixture
def item(tree: SignedTree) -> TreeItem:
    """Publish one image."""
    item = tree.add_item("product", "20250718", "boot-kernel")
    tree.publish()
    return item


async def stats(proxy: RunningProxy) -> dict[str, Any]:
    """Return what `/-/stats` says."""
    async with proxy.session.get(proxy.url("/-/stats")) as response:
        told: dict[str, Any] = await response.json()
        return told


async def met(proxy: RunningProxy) -> dict[str, int]:
    """Return the limits that were met."""
    return {name: count for name, count in (await stats(proxy))["limits"].items() if count}


def products(members: str) -> bytes:
    """Write a list with further members, as no JSON library would."""
    text = f'"content_id": "{MAAS_CONTENT_ID}", "format": "products:1.0", "products": {{}}'
    return f"{{{text}, {members}}}\n".encode()


@pytest.mark.parametrize(
    "make",
    [
        lambda text: (text + b" " * MIB, {}),
        lambda text: (gzip.compress(text + b" " * 200 * MIB, 1), {"Content-Encoding": "gzip"}),
        lambda text: (gzip.compress(text + b" " * MIB, 9), {"Content-Encoding": "gzip"}),
    ],
    ids=["as it is", "200 megabytes packed", "just above it, packed"],
)
async def test_a_document_over_the_limit_is_refused(
    tmp_path: Path,
    mirror: Mirror,
    tree: SignedTree,
    origin: Origin,
    item: TreeItem,
    make: Callable[[bytes], tuple[bytes, dict[str, str]]],
) -> None:
    """Packed or not; the text says which limit it was, and the last good lists are served on."""
    async with run_proxy(make_config(tmp_path / "data", mirror, upstream=LIMITED)) as proxy:
        assert (await proxy.read(item.path)).body == item.read()
        body, headers = await asyncio.to_thread(make, (tree.root / "streams/v1/index.sjson").read_bytes())
        origin.fault("streams/v1/index.sjson", Fault(body=body, headers=headers))
        await proxy.documents.checks.revalidate()
        told = await stats(proxy)
        assert (
            f"more than {MIB} bytes, the limit of [upstream] document_limit"
            in (told["mirrors"]["test"]["last_problem"])
        )
        assert await met(proxy) == {"document_bytes": 1}
        assert (await proxy.read("streams/v1/index.sjson")).status == 200


async def test_a_document_that_packs_well_is_read(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree, item: TreeItem
) -> None:
    tree.document()["comment"] = [" " * 100] * 9000
    tree.publish()
    origin.fault("streams/*", Fault(gzip=True))
    async with run_proxy(make_config(tmp_path / "data", mirror, upstream=LIMITED)) as proxy:
        assert (await proxy.read(item.path)).body == item.read()
        assert await met(proxy) == {}


@pytest.mark.parametrize(
    ("members", "problem", "is_counted"),
    [
        ('"a": [' + "[],\n" * 400_000 + "[]]", "more than", True),
        ('"a": [' + "{},\n" * 400_000 + "{}]", "objects and lists", True),
        ('"a": ' + "[" * 10_000 + "]" * 10_000, "nested too deeply", True),
        ('"a": ' + '{"a":' * 10_000 + "1" + "}" * 10_000, "nested too deeply", True),
        ('"a": ' + "9" * 100_000, "not JSON", False),
    ],
    ids=["many lists", "many objects", "10,000 deep lists", "10,000 deep objects", "a huge number"],
)
async def test_a_signed_list_that_costs_too_much_to_read_is_refused(
    proxy: RunningProxy, tree: SignedTree, item: TreeItem, members: str, problem: str, is_counted: bool
) -> None:
    """A key can be stolen, and software that signs can err: the reason is told, the rest works."""
    assert (await proxy.read(item.path)).body == item.read()
    assert tree.key is not None
    tree.write(LIST, tree.key.clearsign(products(members)))
    await proxy.documents.checks.revalidate()
    mirror = (await stats(proxy))["mirrors"]["test"]
    assert problem in mirror["last_problem"]
    assert mirror["refusals"] == 1
    assert await met(proxy) == ({"document_shape": 1} if is_counted else {})
    assert (await proxy.read(item.path)).body == item.read()


@pytest.mark.parametrize(
    "members",
    [
        '"a": NaN, "b": -Infinity, "c": 1e999, "d": -0.0',
        '"a": 1, "a": 2, "updated": {}',
        '"\\ud800": "\\udc00", "updated": "\\ud800"',
        f'"a": {"9" * 4000}',
        '"updated": "' + "1 " * 4_000 + '"',
        ONE_ITEM % '"path": "a", "sha256": 1e999, "size": NaN',
        ONE_ITEM % f'"path": "a", "size": "{"9" * 5000}"',
        ONE_ITEM.replace('"p"', '"\\ud800"') % '"path": "\\ud800", "\\ud800": "\\ud800"',
    ],
    ids=range(8),
)
async def test_odd_values_in_a_signed_list_harm_nobody(
    proxy: RunningProxy, tree: SignedTree, item: TreeItem, members: str
) -> None:
    """The list is served as it was signed; what its odd parts name is absent, and every page works."""
    assert (await proxy.read(item.path)).body == item.read()
    assert tree.key is not None
    signed = tree.key.clearsign(products(members))
    tree.write(LIST, signed)
    await proxy.documents.checks.revalidate()
    assert (await proxy.read(LIST)).body == signed
    assert (await proxy.read("a")).status == 404
    for page in ("/-/stats", "/-/metrics", "/-/", "/-/live"):
        assert (await proxy.read(page)).status == 200
    order = json.dumps({"filters": ["product_name~.", "path=a"]})
    async with proxy.session.post(
        proxy.url("/-/api/v1/pin"), data=order, headers={"X-Sstream-Proxy": "1", "Host": "localhost"}
    ) as response:
        assert response.status == 400


async def test_a_plain_flavour_far_larger_than_the_signed_one_is_not_even_parsed(
    proxy: RunningProxy, tree: SignedTree, item: TreeItem
) -> None:
    """Nobody signs it: its size is all that is known, and it must say what a small one says."""
    assert (await proxy.read(item.path)).status == 200
    tree.write(PLAIN, b'{"a":[' + b"[]," * 3_000_000 + b"[]]}")
    reply = await proxy.read(PLAIN)
    assert reply.status == 502
    assert b"too many to say what" in reply.body
    assert (await met(proxy))["document_shape"] >= 1
    assert (await proxy.read(item.path)).body == item.read()


@pytest.mark.usefixtures("item")
async def test_a_signature_that_unpacks_without_end_is_not_given_to_gpg(
    tmp_path: Path, mirror: Mirror, tree: SignedTree
) -> None:
    """A kilobyte of nested compressed packets would keep gpg busy for hours."""

    def packet(tag: int, body: bytes) -> bytes:
        return bytes([0xC0 | tag, 255]) + struct.pack(">I", len(body)) + body

    def bomb() -> bytes:
        once = packet(8, b"\x03" + bz2.compress(packet(11, b"b\0\0\0\0\0" + bytes(5 * MIB))))
        return packet(8, b"\x03" + bz2.compress(once * 1000))

    tree.publish(detached=True)
    data = await asyncio.to_thread(bomb)
    for name in ("index.sjson", LIST.rpartition("/")[2]):
        (tree.root / "streams/v1" / name).unlink()
    tree.write("streams/v1/index.json.gpg", data)
    async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
        began = time.monotonic()
        reply = await proxy.read("streams/v1/index.json")
        assert reply.status == 503
        assert b"its signature holds something else than signatures" in reply.body
        assert time.monotonic() - began < 20


async def test_a_filter_that_would_never_end_is_stopped(
    proxy: RunningProxy, tree: SignedTree, item: TreeItem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """400 with the advice, a counter, and other clients are served meanwhile."""
    monkeypatch.setattr("proxy.jobs.choosing.choose_items.__defaults__", (0.5,))
    tree.add_item("product", "20250718", "squashfs", subarches="a" * 60 + "!")
    tree.publish()
    assert (await proxy.read(item.path)).status == 200
    own = {"X-Sstream-Proxy": "1", "Host": "localhost"}
    order = json.dumps({"filters": ["subarches~^(a+)+$"]}).encode()
    async with Wire.to(proxy.base) as slow, Wire.to(proxy.base) as other:
        await slow.send(request("/-/api/v1/pin", "POST", Content_Length=str(len(order)), **own) + order)
        assert (await other.ask(MOUNT + item.path)).body == item.read()
        reply = await slow.reply()
    assert reply.status == 400
    assert "'^(a+)+$' takes longer than 0.5 s" in json.loads(reply.body)["problem"]
    assert await met(proxy) == {"filter_time": 1}


@pytest.mark.parametrize("filters", [["a=b"] * 33, ["a~" + "b" * 2000]], ids=["too many", "too long"])
async def test_filters_are_bounded_in_number_and_length(proxy: RunningProxy, filters: list[str]) -> None:
    own = {"X-Sstream-Proxy": "1", "Host": "localhost"}
    order = json.dumps({"filters": filters}).encode()
    async with Wire.to(proxy.base) as wire:
        await wire.send(request("/-/api/v1/evict", "POST", Content_Length=str(len(order)), **own) + order)
        reply = await wire.reply()
    assert reply.status == 400
    assert b"more than 32 filters" in reply.body or b"longer than 1000 characters" in reply.body
