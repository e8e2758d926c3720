"""The plain flavours of signed documents, `.json` and `.json.gpg`: what proves them."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.faults import Fault
from support.flavours import bodies, drop, on_disk, stats
from support.keys import SigningKey
from support.origin import Origin
from support.running import Clock, RunningProxy, make_config, run_proxy
from support.tree import MAAS_CONTENT_ID, SignedTree

from proxy.mirror import Mirror

INDEX = "streams/v1/index"
LIST = f"streams/v1/{MAAS_CONTENT_ID}"
SIGNED = (f"{INDEX}.sjson", f"{LIST}.sjson")
PLAIN = (f"{INDEX}.json", f"{LIST}.json")
SIGNATURES = (f"{INDEX}.json.gpg", f"{LIST}.json.gpg")
PRODUCT = "com.ubuntu.maas.stable:v3:boot:24.04:amd64:ga-24.04"

HOUR_S = 3600


# Beside a signed document


async def test_a_plain_document_that_says_the_same_is_served_byte_for_byte(
    proxy: RunningProxy, tree: SignedTree
) -> None:
    """LXD and Incus ask for nothing else."""
    item = tree.add_item(PRODUCT, "20250701", "lxd.tar.xz")
    tree.publish()

    assert await bodies(proxy, *PLAIN, item.path) == on_disk(tree, *PLAIN, item.path)
    assert await bodies(proxy, *SIGNED) == on_disk(tree, *SIGNED)


async def test_json_may_be_written_differently_and_say_the_same(
    proxy: RunningProxy, tree: SignedTree
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    for path in PLAIN:
        compact = json.dumps(json.loads((tree.root / path).read_text()), separators=(",", ":"))
        tree.write(path, compact.encode())

    assert await bodies(proxy, *PLAIN) == on_disk(tree, *PLAIN)


@pytest.mark.parametrize(
    "content",
    [
        b'{"format": "products:1.0", "products": {"evil": {}}}',
        b"<html>captive portal</html>",
        b"",
        b"[]",
        b"\xff\xfe",
    ],
)
async def test_a_plain_document_that_says_something_else_is_refused(
    proxy: RunningProxy, tree: SignedTree, content: bytes
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    tree.write(PLAIN[1], content)

    reply = await proxy.read(PLAIN[1])

    assert reply.status == 502
    assert b"it does not say what the signed" in reply.body
    assert await bodies(proxy, *SIGNED, PLAIN[0]) == on_disk(tree, *SIGNED, PLAIN[0])
    said = await stats(proxy)
    assert said["last_refusal"].endswith(reply.body.decode().strip())
    assert said["refusals"] == 1


async def test_one_changed_value_is_enough_to_refuse_a_plain_document(
    proxy: RunningProxy, tree: SignedTree
) -> None:
    item = tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    [plain] = on_disk(tree, PLAIN[1])
    tree.write(PLAIN[1], plain.replace(item.digest.encode(), b"0" * 64))

    assert (await proxy.read(PLAIN[1])).status == 502
    assert (await proxy.read(item.path)).body == item.read()


async def test_a_plain_document_that_differs_is_refused_however_well_it_is_signed(
    proxy: RunningProxy, tree: SignedTree, key: SigningKey
) -> None:
    """What only it names could not be served; and who reads both flavours must read the same."""
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    document = json.loads((tree.root / PLAIN[1]).read_text())
    text = json.dumps(document | {"note": "only here"}).encode()
    tree.write(PLAIN[1], text)
    tree.write(SIGNATURES[1], key.detach(text))

    assert (await proxy.read(PLAIN[1])).status == 502


async def test_a_plain_document_that_differs_is_refused_when_its_own_signature_is_bad(
    proxy: RunningProxy, tree: SignedTree, other_key: SigningKey
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    text = b'{"format": "products:1.0", "products": {"evil": {}}}'
    tree.write(PLAIN[1], text)
    tree.write(SIGNATURES[1], other_key.detach(text))

    assert [(await proxy.read(path)).status for path in (PLAIN[1], SIGNATURES[1])] == [502, 502]


async def test_an_older_plain_document_is_refused_though_well_signed(
    proxy: RunningProxy, tree: SignedTree
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish(detached=True)
    older = on_disk(tree, PLAIN[1], SIGNATURES[1])
    tree.publish(detached=True)
    for path, content in zip((PLAIN[1], SIGNATURES[1]), older, strict=True):
        tree.write(path, content)

    assert (await proxy.read(PLAIN[1])).status == 502


async def test_a_detached_signature_is_served_with_the_document_that_it_signs(
    proxy: RunningProxy, tree: SignedTree
) -> None:
    """In whatever order clients ask."""
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish(detached=True)

    paths = (*reversed(SIGNATURES), *PLAIN, *SIGNED)
    assert await bodies(proxy, *paths) == on_disk(tree, *paths)


async def test_a_bad_detached_signature_is_refused(
    proxy: RunningProxy, tree: SignedTree, other_key: SigningKey
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish(detached=True)
    tree.write(SIGNATURES[1], other_key.detach((tree.root / PLAIN[1]).read_bytes()))

    reply = await proxy.read(SIGNATURES[1])

    assert reply.status == 502
    assert b"which is not in the mirror's keyring" in reply.body
    assert await bodies(proxy, *PLAIN, SIGNATURES[0]) == on_disk(tree, *PLAIN, SIGNATURES[0])


async def test_flavours_that_upstream_does_not_have_are_absent(
    proxy: RunningProxy, tree: SignedTree, origin: Origin
) -> None:
    """And asked for upstream only once in a while, however often clients ask."""
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    drop(tree, *PLAIN)

    for _ in range(3):
        for path in (*PLAIN, *SIGNATURES):
            assert (await proxy.read(path)).status == 404

    assert [origin.count(path) for path in (PLAIN[0], SIGNATURES[0])] == [2, 1]
    assert await bodies(proxy, *SIGNED) == on_disk(tree, *SIGNED)


async def test_a_flavour_that_appears_later_is_served_then(
    proxy: RunningProxy, tree: SignedTree, key: SigningKey
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    assert (await proxy.read(SIGNATURES[0])).status == 404
    tree.write(SIGNATURES[0], key.detach((tree.root / PLAIN[0]).read_bytes()))

    await proxy.documents.checks.revalidate()

    assert await bodies(proxy, SIGNATURES[0]) == on_disk(tree, SIGNATURES[0])


async def test_plain_flavours_of_other_paths_cause_no_request(
    proxy: RunningProxy, tree: SignedTree, origin: Origin
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    await proxy.read(SIGNED[0])
    origin.clear()

    for path in ("other.json", "streams/v1/evil.json", "streams/v1/index2.json", f"{LIST}.sjson.gpg"):
        assert (await proxy.read(path)).status == 404

    assert origin.requests == []


async def test_all_flavours_change_together(proxy: RunningProxy, tree: SignedTree) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish(detached=True)
    everything = (*PLAIN, *SIGNATURES, *SIGNED)
    old = await bodies(proxy, *everything)
    tree.add_item(PRODUCT, "20250722", "squashfs")
    tree.publish(detached=True)

    assert await bodies(proxy, *everything) == old
    await proxy.read(PLAIN[0])
    await proxy.documents.checks.revalidate()

    assert await bodies(proxy, PLAIN[1]) == old[1:2]
    assert await bodies(proxy, *everything) == on_disk(tree, *everything)


async def test_no_client_ever_sees_a_plain_index_with_a_list_of_another_generation(
    proxy: RunningProxy, tree: SignedTree
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    over = asyncio.Event()
    pairs: list[tuple[str, str]] = []

    async def read_pairs() -> None:
        while not over.is_set():
            index, products = [json.loads(body) for body in await bodies(proxy, *PLAIN)]
            pairs.append((index["index"][MAAS_CONTENT_ID]["updated"], products["updated"]))

    async with asyncio.TaskGroup() as clients:
        clients.create_task(read_pairs())
        for _ in range(8):
            tree.publish()
            await proxy.documents.checks.revalidate()
        over.set()

    assert [pair for pair in pairs if pair[0] != pair[1]] == []
    assert len(set(pairs)) > 3


async def test_a_new_index_waits_until_its_plain_flavour_has_followed(
    proxy: RunningProxy, tree: SignedTree
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    everything = (*PLAIN, *SIGNED)
    old = await bodies(proxy, *everything)
    tree.publish()
    late = on_disk(tree, *PLAIN)
    for path, content in zip(PLAIN, old, strict=False):
        tree.write(path, content)

    await proxy.documents.checks.revalidate()
    assert await bodies(proxy, *everything) == old
    assert "does not fit the signed document yet" in (await stats(proxy))["last_problem"]

    for path, content in zip(PLAIN, late, strict=True):
        tree.write(path, content)
    await proxy.documents.checks.revalidate()
    assert await bodies(proxy, *everything) == on_disk(tree, *everything)


async def test_a_plain_flavour_that_vanishes_holds_the_signed_one_back_for_a_while_only(
    proxy: RunningProxy, tree: SignedTree, clock: Clock
) -> None:
    """Then it is gone: whoever read an old index would look for what the old lists name."""
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    old = await bodies(proxy, *PLAIN, *SIGNED)
    tree.publish()
    drop(tree, *PLAIN)

    await proxy.documents.checks.revalidate()
    assert await bodies(proxy, *PLAIN, *SIGNED) == old

    clock.advance(6 * HOUR_S)
    await proxy.documents.checks.revalidate()
    assert await bodies(proxy, *SIGNED) == on_disk(tree, *SIGNED)
    assert [(await proxy.read(path)).status for path in PLAIN] == [404, 404]


async def test_flavours_once_asked_for_survive_a_restart(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, origin: Origin, clock: Clock
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish(detached=True)
    config = make_config(tmp_path / "data", mirror)
    async with run_proxy(config, clock) as proxy:
        old = await bodies(proxy, *PLAIN, *SIGNATURES)
    await origin.stop()

    async with run_proxy(config, clock) as proxy:
        assert await bodies(proxy, *PLAIN, *SIGNATURES) == old
        tree.publish(detached=True)
        await origin.start()
        await proxy.documents.checks.revalidate()
        assert await bodies(proxy, *PLAIN, *SIGNATURES) == on_disk(tree, *PLAIN, *SIGNATURES)


async def test_a_flavour_first_asked_for_while_upstream_is_down_is_not_called_absent(
    proxy: RunningProxy, tree: SignedTree, origin: Origin, clock: Clock
) -> None:
    """For a client believes a 404."""
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    await proxy.read(SIGNED[0])
    await origin.stop()

    replies = [await proxy.read(path) for path in PLAIN]

    assert {reply.status for reply in replies} == {503}
    assert origin.url.encode() in replies[0].body
    await origin.start()
    clock.advance(16)
    assert await bodies(proxy, *PLAIN) == on_disk(tree, *PLAIN)


async def test_a_flavour_that_cannot_be_had_now_is_asked_for_again_after_the_usual_pause(
    proxy: RunningProxy, tree: SignedTree, origin: Origin, clock: Clock
) -> None:
    """However many clients want it meanwhile."""
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    await proxy.read(SIGNED[0])
    trouble = origin.fault("*", Fault(status=503))

    for _ in range(5):
        assert (await proxy.read(PLAIN[0])).status == 503
    assert trouble.hits == 1

    origin.heal()
    clock.advance(16)
    assert await bodies(proxy, *PLAIN) == on_disk(tree, *PLAIN)


@pytest.mark.parametrize("status", [401, 429, 451, 503])
async def test_a_flavour_that_upstream_does_not_give_does_not_stop_the_signed_ones(
    proxy: RunningProxy, tree: SignedTree, origin: Origin, status: int
) -> None:
    """One client that asks must not freeze the mirror."""
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    origin.fault("*.json", Fault(status=status))
    await proxy.read(SIGNED[0])
    reply = await proxy.read(PLAIN[0])
    assert (reply.status, (await stats(proxy))["refusals"]) == (502, 0)
    assert f"it answered with status {status}".encode() in reply.body

    tree.publish()
    await proxy.documents.checks.revalidate()
    assert await bodies(proxy, *SIGNED) == on_disk(tree, *SIGNED)

    origin.heal()
    await proxy.documents.checks.revalidate()
    assert await bodies(proxy, *PLAIN) == on_disk(tree, *PLAIN)


async def test_offline_a_flavour_that_was_never_fetched_is_absent(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, clock: Clock
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    config = make_config(tmp_path / "data", mirror)
    async with run_proxy(config, clock) as proxy:
        await bodies(proxy, *SIGNED)

    async with run_proxy(replace(config, offline=True), clock) as proxy:
        assert await bodies(proxy, *SIGNED) == on_disk(tree, *SIGNED)
        assert (await proxy.read(PLAIN[0])).status == 404


@pytest.mark.parametrize("path", [*PLAIN, *SIGNATURES])
@pytest.mark.parametrize("has_signed", [True, False], ids=["beside a signed one", "alone"])
async def test_a_lost_flavour_is_fetched_again(
    proxy: RunningProxy, tree: SignedTree, path: str, has_signed: bool
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish(detached=True)
    if not has_signed:
        drop(tree, *SIGNED)
    good = await bodies(proxy, *PLAIN, *SIGNATURES)
    document = proxy.documents._editions.served.generation.documents[path]  # type: ignore[union-attr]
    proxy.layout.path(document.digest).unlink()

    assert await bodies(proxy, path) == on_disk(tree, path)
    assert await bodies(proxy, *PLAIN, *SIGNATURES) == good
