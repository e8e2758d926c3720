"""Trees whose documents have detached signatures only, or none at all."""

from dataclasses import replace
from pathlib import Path

import pytest
from support.flavours import bodies, drop, on_disk, stats
from support.keys import SigningKey
from support.origin import Origin
from support.running import Clock, RunningProxy, make_config, run_proxy
from support.tree import MAAS_CONTENT_ID, SignedTree

from proxy.mirror import Mirror, Trust

INDEX = "streams/v1/index"
LIST = f"streams/v1/{MAAS_CONTENT_ID}"
SIGNED = (f"{INDEX}.sjson", f"{LIST}.sjson")
PLAIN = (f"{INDEX}.json", f"{LIST}.json")
SIGNATURES = (f"{INDEX}.json.gpg", f"{LIST}.json.gpg")
PRODUCT = "com.ubuntu.maas.stable:v3:boot:24.04:amd64:ga-24.04"


@pytest.fixture
def unsigned_tree(tree: SignedTree) -> SignedTree:
    """Return a tree that nobody signs, at the place that the origin serves."""
    return SignedTree(tree.root, None)


@pytest.fixture
def tls_mirror(mirror: Mirror) -> Mirror:
    """Return a mirror that is believed for its TLS alone; here without any."""
    return replace(mirror, trust=Trust.TLS)


# Trees with detached signatures only


async def test_a_tree_of_plain_documents_with_detached_signatures_is_served(
    proxy: RunningProxy, tree: SignedTree, origin: Origin
) -> None:
    item = tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish(detached=True)
    drop(tree, *SIGNED)

    paths = (*PLAIN, *SIGNATURES, item.path)
    assert await bodies(proxy, *paths) == on_disk(tree, *paths)
    assert [(await proxy.read(path)).status for path in SIGNED] == [404, 404]
    assert (await stats(proxy))["signed_by"] == tree.key.fingerprint  # type: ignore[union-attr]

    origin.clear()
    await proxy.documents.checks.revalidate()
    assert {request.status for request in origin.gets(f"{LIST}.*")} == {304}

    new = tree.add_item(PRODUCT, "20250722", "squashfs")
    tree.publish(detached=True)
    drop(tree, *SIGNED)
    await proxy.documents.checks.revalidate()
    paths = (*PLAIN, *SIGNATURES, new.path)
    assert await bodies(proxy, *paths) == on_disk(tree, *paths)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("missing", "it is not signed: there is no {path}.gpg"),
        ("by a stranger", "which is not in the mirror's keyring"),
        ("of the old document", "the signature does not match"),
        ("no signature", "its signature is neither binary nor one armored block"),
    ],
)
@pytest.mark.parametrize("which", [0, 1], ids=["index", "list"])
async def test_a_plain_document_without_its_good_signature_is_refused(
    proxy: RunningProxy, tree: SignedTree, other_key: SigningKey, damage: str, reason: str, which: int
) -> None:
    """Publishers replace the two files one after the other, so that they may not fit for a moment."""
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish(detached=True)
    drop(tree, *SIGNED)
    old = await bodies(proxy, *PLAIN, *SIGNATURES)
    tree.publish(detached=True)
    drop(tree, *SIGNED)
    right = (tree.root / SIGNATURES[which]).read_bytes()
    if damage == "missing":
        drop(tree, SIGNATURES[which])
    elif damage == "by a stranger":
        tree.write(SIGNATURES[which], other_key.detach((tree.root / PLAIN[which]).read_bytes()))
    elif damage == "of the old document":
        tree.write(SIGNATURES[which], old[2 + which])
    else:
        tree.write(SIGNATURES[which], b"junk")

    await proxy.documents.checks.revalidate()

    assert await bodies(proxy, *PLAIN, *SIGNATURES) == old
    said = await stats(proxy)
    assert f"{PLAIN[which]} is refused: " in said["last_refusal"]
    assert reason.format(path=PLAIN[which]) in said["last_refusal"]
    tree.write(SIGNATURES[which], right)
    await proxy.documents.checks.revalidate()
    assert await bodies(proxy, *PLAIN, *SIGNATURES) == on_disk(tree, *PLAIN, *SIGNATURES)


async def test_a_tree_may_begin_to_publish_clear_signed_documents(
    proxy: RunningProxy, tree: SignedTree
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish(detached=True)
    drop(tree, *SIGNED)
    await bodies(proxy, *PLAIN)
    tree.publish(detached=True)

    await proxy.documents.checks.revalidate()

    everything = (*SIGNED, *PLAIN, *SIGNATURES)
    assert await bodies(proxy, *everything) == on_disk(tree, *everything)


# Trees that nobody signs


async def test_an_unsigned_tree_is_served_byte_for_byte(
    tmp_path: Path, tls_mirror: Mirror, unsigned_tree: SignedTree
) -> None:
    item = unsigned_tree.add_item(PRODUCT, "20250701", "lxd.tar.xz")
    unsigned_tree.publish()
    async with run_proxy(make_config(tmp_path / "data", tls_mirror)) as proxy:
        assert await bodies(proxy, *PLAIN, item.path) == on_disk(unsigned_tree, *PLAIN, item.path)
        assert [(await proxy.read(path)).status for path in (*SIGNED, *SIGNATURES)] == [404] * 4

        new = unsigned_tree.add_item(PRODUCT, "20250722", "lxd.tar.xz")
        unsigned_tree.publish()
        await proxy.documents.checks.revalidate()
        assert await bodies(proxy, *PLAIN, new.path) == on_disk(unsigned_tree, *PLAIN, new.path)


async def test_an_unsigned_tree_does_not_go_back_either(
    tmp_path: Path, tls_mirror: Mirror, unsigned_tree: SignedTree
) -> None:
    unsigned_tree.add_item(PRODUCT, "20250701", "lxd.tar.xz")
    unsigned_tree.publish()
    older = on_disk(unsigned_tree, *PLAIN)
    unsigned_tree.publish()
    async with run_proxy(make_config(tmp_path / "data", tls_mirror)) as proxy:
        current = await bodies(proxy, *PLAIN)
        for path, content in zip(PLAIN, older, strict=True):
            unsigned_tree.write(path, content)

        await proxy.documents.checks.revalidate()

        assert await bodies(proxy, *PLAIN) == current
        assert "its 'updated' lies before" in (await stats(proxy))["last_refusal"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<html>captive portal</html>", "it is not JSON"),
        (b"", "it is not JSON"),
        (b"{}", "its format is None"),
        (b'{"format": "index:1.0"}', "it has no 'index' object"),
        (b'{"format": "products:1.0", "products": {}}', "a products list where an index"),
        (b"[" * 100_000, "it is"),
    ],
)
async def test_an_unsigned_index_that_is_none_is_refused(
    tmp_path: Path, tls_mirror: Mirror, unsigned_tree: SignedTree, content: bytes, reason: str
) -> None:
    unsigned_tree.add_item(PRODUCT, "20250701", "lxd.tar.xz")
    unsigned_tree.publish()
    async with run_proxy(make_config(tmp_path / "data", tls_mirror)) as proxy:
        old = await bodies(proxy, *PLAIN)
        unsigned_tree.write(PLAIN[0], content)

        await proxy.documents.checks.revalidate()

        assert await bodies(proxy, *PLAIN) == old
        assert reason in (await stats(proxy))["last_refusal"]


async def test_a_signature_that_no_key_can_check_is_not_ignored(
    tmp_path: Path, tls_mirror: Mirror, tree: SignedTree
) -> None:
    """Signed text behind trust = 'tls' is a mistake in the configuration."""
    tree.publish()
    tree.write(PLAIN[0], (tree.root / SIGNED[0]).read_bytes())
    async with run_proxy(make_config(tmp_path / "data", tls_mirror)) as proxy:
        reply = await proxy.read(PLAIN[0])

    assert reply.status == 503
    assert b"it is clear-signed, but trust = 'tls' names no key to check it with" in reply.body


async def test_what_tls_alone_proved_does_not_count_once_a_keyring_is_named(
    tmp_path: Path, mirror: Mirror, tls_mirror: Mirror, unsigned_tree: SignedTree, clock: Clock
) -> None:
    unsigned_tree.add_item(PRODUCT, "20250701", "lxd.tar.xz")
    unsigned_tree.publish()
    async with run_proxy(make_config(tmp_path / "data", tls_mirror), clock) as proxy:
        await bodies(proxy, *PLAIN)

    async with run_proxy(make_config(tmp_path / "data", mirror), clock) as proxy:
        reply = await proxy.read(PLAIN[0])

    assert reply.status == 503
    assert b"it is not signed" in reply.body
