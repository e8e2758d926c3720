"""What mirrors have besides index and lists: Juju's index2 and mirrors, files that an index names."""

import asyncio
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from support.faults import Fault
from support.generations import INDEX, LIST, PRODUCT, bodies, on_disk, stats
from support.keys import SigningKey
from support.origin import Origin
from support.running import RunningProxy, make_config, run_proxy
from support.tree import SignedTree

from proxy.mirror import Mirror, Trust

INDEX2, MIRRORS, CPC = (f"streams/v1/{name}.sjson" for name in ("index2", "mirrors", "cpc-mirrors"))
TOOLS = "streams/v1/com.ubuntu.juju-released-tools2.sjson"


def write_signed(tree: SignedTree, path: str, content: Any, key: SigningKey | None = None) -> None:
    """Publish a signed document beside what the tree has."""
    signer = key or tree.key
    assert signer is not None
    text = content if isinstance(content, bytes) else json.dumps(content, indent=1).encode() + b"\n"
    tree.write(path, signer.clearsign(text))


def publish_juju(tree: SignedTree, number: int = 1) -> None:
    """Publish a tree as Juju's: index2 names a list of its own, mirrors names a file of mirrors."""
    date = f"Fri, 18 Jul 2025 07:0{number}:00 +0000"
    item = tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    tree.write(f"tools/juju-{number}.tgz", b"tools %d" % number)
    digest = sha256(b"tools %d" % number).hexdigest()
    tools = {"sha256": digest, "size": 7, "path": f"tools/juju-{number}.tgz", "ftype": "tar.gz"}
    write_signed(
        tree,
        TOOLS,
        {
            "format": "products:1.0",
            "content_id": "com.ubuntu.juju:released:tools",
            "updated": date,
            "datatype": "content-download",
            "products": {"juju": {"versions": {"1": {"items": {"a": tools}}}}},
        },
    )
    entry = {"format": "products:1.0", "datatype": "content-download", "path": TOOLS, "updated": date}
    write_signed(
        tree,
        INDEX2,
        {"format": "index:1.0", "updated": date, "index": {"com.ubuntu.juju:released:tools": entry}},
    )
    named = {"format": "mirrors:1.0", "datatype": "content-download", "path": CPC, "updated": date}
    write_signed(
        tree,
        MIRRORS,
        {"format": "index:1.0", "updated": date, "mirrors": {"com.ubuntu.juju:released:tools": [named]}},
    )
    elsewhere = {"mirror": "https://elsewhere.example/tools", "path": TOOLS, "format": "products:1.0"}
    write_signed(
        tree,
        CPC,
        {
            "format": "mirrors:1.0",
            "updated": date,
            "mirrors": {"com.ubuntu.juju:released:tools": [elsewhere]},
        },
    )
    assert item.size


async def test_juju_finds_all_where_it_begins(proxy: RunningProxy, tree: SignedTree, origin: Origin) -> None:
    """index2 and the list and file that it names, mirrors, and the file of mirrors that this names."""
    publish_juju(tree)
    paths = (INDEX2, TOOLS, "tools/juju-1.tgz", MIRRORS, CPC, INDEX, LIST)

    assert await bodies(proxy, *paths) == on_disk(tree, *paths)

    origin.clear()
    assert await bodies(proxy, *paths) == on_disk(tree, *paths)
    assert origin.requests == []


async def test_a_mirror_that_begins_with_index2_is_served_when_it_is_asked_for_first(
    proxy: RunningProxy, tree: SignedTree
) -> None:
    publish_juju(tree)
    assert await bodies(proxy, INDEX2) == on_disk(tree, INDEX2)


async def test_they_change_together_with_the_index(proxy: RunningProxy, tree: SignedTree) -> None:
    publish_juju(tree)
    await proxy.read(INDEX)
    old = on_disk(tree, INDEX2, MIRRORS, CPC)
    publish_juju(tree, 2)
    assert await bodies(proxy, INDEX2, MIRRORS, CPC) == old

    await proxy.documents.checks.revalidate()

    new = (INDEX, INDEX2, TOOLS, "tools/juju-2.tgz", MIRRORS, CPC)
    assert await bodies(proxy, *new) == on_disk(tree, *new)


async def test_one_by_another_key_is_refused_in_true_words_and_the_rest_is_served(
    proxy: RunningProxy, tree: SignedTree
) -> None:
    publish_juju(tree)
    with SigningKey() as other:
        for path in (INDEX2, CPC):
            write_signed(tree, path, {"format": "index:1.0", "index": {}}, other)

    for path in (INDEX2, CPC):
        reply = await proxy.read(path)
        assert reply.status == 502, path
        assert b"cannot be served" in reply.body
        assert path.encode() in reply.body
    assert await bodies(proxy, INDEX, LIST, MIRRORS) == on_disk(tree, INDEX, LIST, MIRRORS)
    assert (await stats(proxy))["failures"] == 0


async def test_an_older_one_does_not_come_back(proxy: RunningProxy, tree: SignedTree) -> None:
    publish_juju(tree, 1)
    old = (tree.root / MIRRORS).read_bytes()
    publish_juju(tree, 2)
    await proxy.read(INDEX)
    accepted = on_disk(tree, MIRRORS)
    tree.publish()
    tree.write(MIRRORS, old)

    await proxy.documents.checks.revalidate()

    assert await bodies(proxy, MIRRORS) == accepted


@pytest.mark.parametrize("path", ["streams/v1/notes.stxt", "streams/v1/notes.sjson", "streams/v1/n/notes"])
async def test_a_file_that_an_index_names_is_served_if_it_is_signed_as_a_whole(
    proxy: RunningProxy, tree: SignedTree, path: str
) -> None:
    """Whatever it is called and whatever it says: the signature proves it."""
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.index_entries["notes"] = {"path": path, "format": "text:1.0", "datatype": "text"}
    tree.publish()
    write_signed(tree, path, b"Not JSON at all.\n")

    assert await bodies(proxy, INDEX, LIST, path) == on_disk(tree, INDEX, LIST, path)


async def test_an_index_cannot_have_files_fetched_without_end(
    proxy: RunningProxy, tree: SignedTree, origin: Origin
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    paths = [f"streams/v1/notes{number:03}.txt" for number in range(102)]
    for path in paths:
        tree.index_entries[path] = {"path": path, "format": "text:1.0", "datatype": "text"}
    tree.publish()

    assert (await proxy.read(INDEX)).status == 200
    replies = [await proxy.read(path) for path in paths[-2:]]

    assert [reply.status for reply in replies] == [502, 502]
    assert all(b"names more than 100 such files" in reply.body for reply in replies)
    assert sum(origin.count(path) > 0 for path in paths) <= 100


async def test_a_file_is_proved_by_a_signature_beside_it_too(proxy: RunningProxy, tree: SignedTree) -> None:
    path = "streams/v1/notes.txt"
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.index_entries["notes"] = {"path": path, "format": "text:1.0", "datatype": "text"}
    tree.publish()
    assert tree.key is not None
    tree.write(path, b"plain")
    tree.write(f"{path}.gpg", tree.key.detach(b"plain"))

    assert await bodies(proxy, path, f"{path}.gpg") == on_disk(tree, path, f"{path}.gpg")


async def test_a_file_that_nothing_proves_is_refused_in_true_words(
    proxy: RunningProxy, tree: SignedTree
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.index_entries["notes"] = {"path": "streams/v1/notes.txt", "format": "text:1.0", "datatype": "text"}
    tree.index_entries["far"] = {"path": "far/notes.txt", "format": "text:1.0", "datatype": "text"}
    tree.publish()
    tree.write("streams/v1/notes.txt", b"anybody may have written this")
    tree.write("far/notes.txt", b"and this")

    reply, far = [await proxy.read(path) for path in ("streams/v1/notes.txt", "far/notes.txt")]

    assert (reply.status, far.status) == (502, 502)
    assert b"named by an index as 'text:1.0'" in reply.body
    assert b"is not signed" in reply.body
    assert b"outside streams/" in far.body
    found = await stats(proxy)
    assert (found["failures"], found["lacking"], found["refused"]) == (0, {}, {})


async def test_one_that_is_late_keeps_no_client_waiting_and_comes_with_the_next_check(
    proxy: RunningProxy, tree: SignedTree, origin: Origin
) -> None:
    publish_juju(tree)
    gate = origin.gate(MIRRORS)

    assert await bodies(proxy, INDEX, LIST) == on_disk(tree, INDEX, LIST)
    assert (await proxy.read(MIRRORS)).status == 502

    gate.open()
    await proxy.documents.checks.revalidate()
    assert await bodies(proxy, MIRRORS, CPC) == on_disk(tree, MIRRORS, CPC)


async def test_one_that_cannot_be_had_now_is_kept(
    proxy: RunningProxy, tree: SignedTree, origin: Origin
) -> None:
    publish_juju(tree)
    kept = await bodies(proxy, INDEX2, MIRRORS)
    publish_juju(tree, 2)
    origin.fault("streams/v1/index2*", Fault(status=503))

    await proxy.documents.checks.revalidate()

    assert await bodies(proxy, INDEX2, MIRRORS) == kept


async def test_plain_flavours_of_entry_points_are_there_too(proxy: RunningProxy, tree: SignedTree) -> None:
    publish_juju(tree)
    plain = {}
    for path in (INDEX2, MIRRORS, CPC, TOOLS):
        text = (tree.root / path).read_text().partition("\n\n")[2].partition("-----BEGIN PGP SIGNATURE")[0]
        plain[path.replace(".sjson", ".json")] = text.replace(".sjson", ".json").encode()
    for path, data in plain.items():
        tree.write(path, data)
    await proxy.read(INDEX)

    for path in ("streams/v1/index2.json", "streams/v1/mirrors.json", TOOLS.replace(".sjson", ".json")):
        reply = await proxy.read(path)
        assert (reply.status, reply.body) == (200, plain[path]), path


# Streams that TLS proves


async def test_where_tls_is_trusted_signed_files_are_passed_on_as_they_are(
    tmp_path: Path, tree: SignedTree, origin: Origin
) -> None:
    """For clients that have the key: this proxy has none."""
    item = tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish(detached=True)
    mirror = Mirror(name="test", mount="/images/test/", origins=(origin.url,), trust=Trust.TLS)
    async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
        stems = (INDEX.removesuffix(".sjson"), LIST.removesuffix(".sjson"))
        paths = [stem + suffix for stem in stems for suffix in (".json", ".sjson", ".json.gpg")]
        assert await bodies(proxy, *paths, item.path) == on_disk(tree, *paths, item.path)

        tree.add_item(PRODUCT, "20250801", "squashfs")
        tree.publish(detached=True)
        await proxy.documents.checks.revalidate()
        assert await bodies(proxy, *paths) == on_disk(tree, *paths)

        tree.add_item(PRODUCT, "20250901", "squashfs")
        stale = (tree.root / INDEX).read_bytes()
        tree.publish(detached=True)
        tree.write(INDEX, stale)
        await proxy.documents.checks.revalidate()
        assert await bodies(proxy, INDEX) == [stale]  # All stay together until it has followed.


async def test_where_tls_is_trusted_a_signed_file_that_says_something_else_is_refused(
    tmp_path: Path, tree: SignedTree, origin: Origin
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    write_signed(tree, INDEX, {"format": "index:1.0", "index": {}})
    mirror = Mirror(name="test", mount="/images/test/", origins=(origin.url,), trust=Trust.TLS)
    async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
        plain = INDEX.replace(".sjson", ".json")
        assert await bodies(proxy, plain) == on_disk(tree, plain)
        reply = await proxy.read(INDEX)
        assert (reply.status, b"does not say what" in reply.body) == (502, True)
        assert (await proxy.read(f"{plain}.gpg")).status == 404


# What the first client waits for


async def test_a_first_client_of_plain_flavours_waits_for_no_more_round_trips_than_one_of_signed_ones(
    proxy: RunningProxy, tree: SignedTree, origin: Origin
) -> None:
    """Multipass gives up after ten seconds: both flavours of each document are asked for at a time."""
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    plain = INDEX.replace(".sjson", ".json")
    index, lists = origin.gate("streams/v1/index.*"), origin.gate(LIST.replace(".sjson", ".*"))

    reading = asyncio.create_task(proxy.read(plain))
    await index.waiting(2)
    index.open()
    await lists.waiting(2)
    lists.open()
    reply = await reading

    assert (reply.status, reply.body) == (200, (tree.root / plain).read_bytes())
    assert origin.count(plain) == 1
    assert origin.count(INDEX) == 2  # Once more at the end: had it changed meanwhile?
