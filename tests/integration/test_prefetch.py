"""The commands `prefetch`, `ready` and `query`, as a person runs them."""

import asyncio
import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from support.commands import Commands, events
from support.faults import Fault
from support.keys import SigningKey
from support.maas import maas_tree
from support.origin import Origin
from support.running import MOUNT, make_config, run_proxy
from support.stored import recorded
from support.tree import SignedTree, TreeItem

from proxy.digest import Digest
from proxy.mirror import Mirror
from proxy.sources.options import UpstreamOptions
from proxy.store.blob_records import BlobRecords
from proxy.store.local.store import LocalStore
from proxy.store.pins import Pins
from proxy.store.proofs import Proofs


@pytest.fixture
def tree(tmp_path: Path, key: SigningKey) -> SignedTree:
    """Return a tree like MAAS's: two releases, two architectures, boot loaders."""
    return maas_tree(tmp_path / "upstream", key, releases=("22.04", "24.04"), arches=("amd64", "arm64"))


@pytest.fixture
def commands(tmp_path: Path, origin: Origin, keyring: Path) -> Commands:
    """Return the commands for that tree."""
    return Commands(tmp_path, origin, keyring)


async def test_the_plan_and_the_run_agree_to_the_byte_and_the_next_run_fetches_nothing(
    commands: Commands, origin: Origin
) -> None:
    arguments = ("prefetch", "arch=amd64", "release=noble", "--max=1", "--json")

    planned = events(await commands.run(*arguments, "--dry-run"))["plan"]
    done = await commands.run(*arguments)
    summary = events(done)["summary"]
    origin.clear()
    again = events(await commands.run(*arguments))

    assert done.returncode == 0
    assert planned["fetch_bytes"] == summary["fetched_bytes"] == planned["total_bytes"] > 0
    assert again["summary"]["fetched_bytes"] == again["plan"]["fetch_bytes"] == 0
    assert all(request.path.startswith("streams/") for request in origin.requests)


async def test_options_and_filters_may_stand_in_any_order(commands: Commands) -> None:
    one = await commands.run("query", "--json", "arch=amd64", "--max=1", "release=noble", "--offline")
    await commands.run("prefetch", "--dry-run", "arch=amd64")
    two = await commands.run("query", "release=noble", "--max=1", "--json", "arch=amd64")

    assert one.returncode == 1
    assert two.returncode == 0
    assert {row["release"] for row in json.loads(two.stdout)} == {"noble"}


async def test_a_maas_selection_is_what_maas_asks_for_boot_loaders_included(commands: Commands) -> None:
    done = await commands.run("prefetch", "--maas", "noble", "--arch", "amd64", "--json")
    rows = json.loads((await commands.run("query", "--json", "--offline")).stdout)
    cached = [row for row in rows if row["cached"] == "yes"]

    assert done.returncode == 0
    assert {row["ftype"] for row in cached} == {"boot-kernel", "boot-initrd", "squashfs", "archive.tar.xz"}
    images = [row for row in cached if "bootloader-type" not in row]
    assert {(row["release"], row["arch"]) for row in images} == {("noble", "amd64")}
    assert len({row["version_name"] for row in images}) == 1


async def test_a_filter_that_matches_nothing_shows_what_there_is(commands: Commands) -> None:
    result = await commands.run("prefetch", "release=nobel", "--dry-run")

    assert result.returncode == 1
    assert "release is one of: 'noble'" in result.stderr


@pytest.mark.parametrize(
    ("expression", "meant"),
    [
        ("arch==amd64", "'arch=amd64'"),
        ("arch=amd64,arm64", "'arch~^(amd64|arm64)$'"),
        ("relase!=x", "'release'"),
    ],
)
async def test_what_surprises_is_warned_of(commands: Commands, expression: str, meant: str) -> None:
    result = await commands.run("prefetch", expression, "--dry-run")

    assert f"{meant} was probably meant" in result.stderr


async def test_one_key_with_two_values_selects_nothing_and_is_told_how_either_is_written(
    commands: Commands,
) -> None:
    """Of values that are both there, each filter alone is good."""
    await commands.run("refresh")
    filters = ("arch=amd64", "ftype=squashfs", "arch=arm64", "arch=amd64")

    for command in (("prefetch", "--dry-run"), ("query",), ("ready",), ("export", "--dry-run")):
        result = await commands.run(*command, *filters)

        assert result.returncode == 1, command
        assert (
            "no item passes 'arch=amd64' and 'arch=arm64': it must pass all filters; "
            "'arch~^(amd64|arm64)$' was probably meant; each part of "
        ) in result.stderr, command
        assert result.stderr.count("was probably meant") == 1, command


@pytest.mark.parametrize(
    ("filters", "meant"),
    [
        (("arch~amd", "arch~arm"), "'arch~(amd|arm)' was probably meant"),
        (("arch=amd64", "arch~arm", "ftype~.*"), "'arch~(^amd64$|arm)' was probably meant"),
        (("arch~amd", "arch~64", "ftype~squash", "arch!=amd64"), ""),
    ],
)
async def test_patterns_of_one_key_that_no_item_passes_together_are_told_how_either_is_written(
    commands: Commands, filters: tuple[str, ...], meant: str
) -> None:
    """Not where a filter of another kind is what leaves nothing over."""
    result = await commands.run("prefetch", "--dry-run", *filters)

    assert "all together match nothing" in result.stderr
    assert result.stderr.count("was probably meant") == len(meant[:1])
    assert meant in result.stderr


async def test_one_absent_item_does_not_stop_the_rest_and_is_named_at_the_end(
    commands: Commands, tree: SignedTree
) -> None:
    *rest, gone = [item for item in tree.items if item.path.endswith("squashfs")]
    gone.data_path.unlink()

    result = await commands.run("prefetch", "ftype=squashfs")

    assert result.returncode == 3
    assert f"FAILED maas {gone.path}: no origin has {gone.path}" in result.stdout
    assert await commands.held(rest) == rest


async def test_ready_proves_it_and_names_what_is_missing_or_wrong(
    commands: Commands, tree: SignedTree, origin: Origin
) -> None:
    selection = ("--maas", "noble", "--arch", "amd64")
    assert (await commands.run("ready", *selection)).returncode == 1
    await commands.run("prefetch", *selection)
    await origin.stop()
    assert (await commands.run("ready", *selection)).returncode == 0
    assert (await commands.run("ready", *selection, "--deep")).returncode == 0

    flipped, truncated, missing, rotten = (await commands.held(unique(tree)))[:4]
    for item, data in (
        (flipped, b"x" + flipped.read()[1:]),
        (truncated, truncated.read()[:-1]),
        (rotten, b"x" + rotten.read()[1:]),
    ):
        commands.blob(item).chmod(0o644)
        commands.blob(item).write_bytes(data)
    commands.blob(missing).unlink()
    # What a bit that rots on the disk comes to: the ledger believes in the file as it is.
    await commands.in_ledger(
        lambda ledger: Proofs(LocalStore(commands.data), BlobRecords(ledger)).record(Digest(rotten.digest))
    )

    quick = await commands.run("ready", *selection)
    deep = await commands.run("ready", *selection, "--deep")

    assert quick.returncode == deep.returncode == 1
    assert f"{truncated.path} has {truncated.size - 1} bytes instead of {truncated.size}" in quick.stdout
    assert f"{missing.path} is missing" in quick.stdout
    assert f"{flipped.path} is damaged" in quick.stdout  # Its file was touched.
    assert rotten.path not in quick.stdout
    assert f"{rotten.path} is damaged" in deep.stdout
    assert not commands.blob(rotten).exists()


def unique(tree: SignedTree) -> list[TreeItem]:
    """Return the items of a tree, one for each content."""
    return list({item.digest: item for item in tree.items}.values())


@pytest.mark.parametrize("is_index", [True, False])
@pytest.mark.parametrize("kind", ["digest", "text"])
async def test_ready_names_a_missing_document(
    commands: Commands, origin: Origin, is_index: bool, kind: str
) -> None:
    await commands.run("prefetch", "os~grub")
    await origin.stop()
    assert (await commands.run("ready", "os~grub")).returncode == 0
    generation = await commands.in_ledger(lambda ledger: recorded(ledger, "generation/maas"))
    documents = generation["documents"]
    path = next(path for path in documents if path.endswith("index.sjson") == is_index)
    digest = documents[path][kind]
    (commands.data / "blobs/sha256" / digest[:2] / digest).unlink()

    result = await commands.run("ready", "os~grub")

    assert result.returncode == 1
    assert f"maas {path} " in result.stdout


async def test_after_ready_an_offline_import_has_no_miss(
    commands: Commands, tree: SignedTree, origin: Origin, mirror: Mirror
) -> None:
    """Whatever flavour of the documents the client reads."""
    await commands.run("prefetch")
    await origin.stop()
    assert (await commands.run("ready")).returncode == 0

    config = make_config(commands.data, replace(mirror, name="maas"), offline=True)
    async with run_proxy(config) as proxy:
        documents = [path.relative_to(tree.root).as_posix() for path in tree.root.glob("streams/v1/*")]
        replies = [await proxy.read(MOUNT + path) for path in documents]
        items = [await proxy.read(MOUNT + item.path) for item in tree.items]

    assert {reply.status for reply in replies} == {200}
    assert [reply.cache_status for reply in items] == ["hit"] * len(tree.items)
    assert [reply.body for reply in items] == [item.read() for item in tree.items]


async def test_beside_a_server_nothing_is_fetched_twice(
    commands: Commands, tree: SignedTree, origin: Origin, mirror: Mirror
) -> None:
    """A client has begun a transfer in another process: the prefetch follows it."""
    item = next(item for item in tree.items if item.path.endswith("squashfs"))
    stall = origin.fault(item.path, Fault(stall_after=1000))
    patient = UpstreamOptions(stall_timeout_s=60, give_up_after_s=60)
    config = make_config(commands.data, replace(mirror, name="maas"), upstream=patient)
    async with run_proxy(config) as proxy:
        async with proxy.get(item.path) as client:
            await origin.arrived(item.path)
            prefetch = asyncio.create_task(commands.run("prefetch", "ftype=squashfs", "--json"))
            others = {one.path for one in tree.items if one.path.endswith("squashfs")} - {item.path}
            await asyncio.gather(*(origin.arrived(path) for path in list(others)[:2]))
            stall.remove()
            assert await client.read() == item.read()
        done = await prefetch

    assert done.returncode == 0, done.stderr
    assert origin.count(item.path) == 1


async def test_a_prefetch_that_was_stopped_keeps_no_client_waiting(
    commands: Commands, tree: SignedTree, origin: Origin, mirror: Mirror
) -> None:
    """By ctrl-Z, in the middle of an item; once it goes on, it ends as if nothing had been."""
    item = tree.add_item("p", "1", "item", size=400_000)
    tree.publish()
    stall = origin.fault(item.path, Fault(stall_after=250_000), times=1)
    process = await commands.start("prefetch", "product_name=p")
    await commands.arrived_bytes(250_000)
    process.send_signal(signal.SIGSTOP)

    config = make_config(commands.data, replace(mirror, name="maas"))
    try:
        async with run_proxy(config) as proxy, proxy.get(item.path) as client:
            assert await client.read() == item.read()
            assert origin.count(item.path) == 2
    finally:
        process.send_signal(signal.SIGCONT)
        stall.remove()
        await process.communicate()

    assert process.returncode == 0
    assert origin.count(item.path) == 2
    assert await commands.held([item]) == [item]


async def test_many_items_come_at_a_time_and_no_more_than_configured(
    commands: Commands, tree: SignedTree, origin: Origin
) -> None:
    """As it is installed: where each connection is slow, items at a time are what counts."""
    most = UpstreamOptions().background_transfers
    items = [tree.add_item("p", "1", f"item{n}", size=2000) for n in range(most + 5)]
    tree.publish()
    gate = origin.gate("*item*")
    process = await commands.start("prefetch", "product_name=p")
    await origin.arrived("*item*", most)
    at_a_time = origin.count("*item*")
    gate.open()
    await process.communicate()

    assert at_a_time == most >= 20
    assert await commands.held(items) == items


async def test_a_prefetch_that_was_killed_goes_on_where_it_was(
    commands: Commands, tree: SignedTree, origin: Origin
) -> None:
    """By kill -9, in the middle: less than one item's worth is fetched twice."""
    items = [tree.add_item("p", "1", f"item{n}", size=400_000) for n in range(8)]
    tree.publish()
    stall = origin.fault("*item*", Fault(stall_after=250_000))
    process = await commands.start("prefetch", "product_name=p", "--jobs", "4")
    await origin.arrived("*item*", 4)
    await commands.arrived_bytes(4 * 250_000)
    process.kill()
    await process.communicate()
    stall.remove()
    await origin.idle()

    again = await commands.run("prefetch", "product_name=p", "--json")

    assert again.returncode == 0
    assert await commands.held(items) == items
    sent_bytes = sum(request.sent_bytes for item in items for request in origin.gets(item.path))
    assert sent_bytes - sum(item.size for item in items) < items[0].size
    assert events(again)["summary"]["fetched_bytes"] < sum(item.size for item in items)


async def test_the_plan_tells_the_time_once_a_rate_is_known(commands: Commands, tree: SignedTree) -> None:
    for name in ("one", "two"):
        tree.add_item("p", "1", name, size=11_000_000)
    tree.publish()

    first = events(await commands.run("prefetch", "item_name=one", "--json"))["plan"]
    second = events(await commands.run("prefetch", "item_name=two", "--json", "--dry-run"))["plan"]

    assert first["estimated_s"] is None
    assert isinstance(second["estimated_s"], float)


async def test_origins_of_equal_standing_share_the_work(
    commands: Commands, tree: SignedTree, origin: Origin
) -> None:
    async with Origin(tree.root) as other:
        origins = f'origins = ["{origin.url}", "{other.url}"]\nspread = true'
        text = commands.config.read_text().replace(f'origins = ["{origin.url}"]', origins)
        commands.config.write_text(text)
        await commands.run("prefetch")
        counts = [sum(one.count(item.path) for item in unique(tree)) for one in (origin, other)]

    assert sum(counts) == len(unique(tree))
    assert abs(counts[0] - counts[1]) <= 1


async def test_a_second_filter_removes_nothing_of_the_first(commands: Commands, tree: SignedTree) -> None:
    await commands.run("prefetch", "release=jammy", "--max=1")
    before = await commands.held(tree.items)

    await commands.run("prefetch", "os~(grub*|pxelinux)")

    assert before
    assert await commands.held(before) == before


@pytest.mark.parametrize("arguments", [("--arch", "amd64"), ("arch",), ("release~(",), ("--mirror", "other")])
async def test_wrong_usage_is_said_plainly(commands: Commands, arguments: tuple[str, ...]) -> None:
    result = await commands.run("prefetch", *arguments)

    assert result.returncode == 2
    assert "Traceback" not in result.stderr


async def test_a_blob_of_the_wrong_size_is_fetched_again(commands: Commands, tree: SignedTree) -> None:
    item = next(item for item in tree.items if item.path.endswith("squashfs"))
    await commands.run("prefetch", f"path={item.path}")
    commands.blob(item).chmod(0o644)
    commands.blob(item).write_bytes(item.read()[:-1])

    again = await commands.run("prefetch", f"path={item.path}")

    assert again.returncode == 0
    assert await commands.held([item]) == [item]


async def test_an_interrupted_run_has_room_to_go_on(
    tmp_path: Path, tree: SignedTree, origin: Origin, keyring: Path
) -> None:
    """What was set aside for it counts once."""
    commands = Commands(tmp_path, origin, keyring)
    limit = commands.config.read_text().replace("[cache]", '[cache]\nlimit = "1100 KiB"')
    commands.config.write_text(limit)
    for name in ("one", "two"):
        tree.add_item("p", "1", name, size=400_000)
    tree.publish()
    stall = origin.fault("p/*", Fault(stall_after=200_000))
    process = await commands.start("prefetch", "product_name=p")
    await commands.arrived_bytes(2 * 200_000)
    process.kill()
    await process.communicate()
    stall.remove()

    again = await commands.run("prefetch", "product_name=p")

    assert again.returncode == 0, again.stderr


async def test_an_item_that_nothing_proves_is_told_of(commands: Commands, tree: SignedTree) -> None:
    item = tree.add_item("p", "1", "one", size=1000)
    tree.add_item("p", "1", "two", size=1000)
    del tree.document()["products"]["p"]["versions"]["1"]["items"]["one"]["sha256"]
    tree.publish()

    done = await commands.run("prefetch", "product_name=p")
    ready = await commands.run("ready", "product_name=p")

    assert (done.returncode, ready.returncode) == (3, 1)
    assert f"{item.path} cannot be had: its list gives no sha256 and size" in done.stderr
    assert f"{item.path} cannot be had" in ready.stdout


async def test_names_in_lists_do_nothing_to_a_terminal(commands: Commands, tree: SignedTree) -> None:
    tree.add_item("p\x1b[2J", "1\a", "one", path="wiped", size=1000)
    tree.version("p\x1b[2J", "1\a")["items"]["one"]["path"] = "wiped\x1b[2J\nclean"
    tree.publish()

    for command in ("prefetch", "ready", "query"):
        done = await commands.run(command, "version_name~^1.$")
        told = done.stdout + done.stderr
        assert "wiped\\x1b[2J\\nclean" in told
        assert "\x1b" not in told
        assert "\a" not in told


async def test_lists_that_cannot_be_checked_are_told_of(commands: Commands, origin: Origin) -> None:
    await commands.run("prefetch", "os~grub")
    await origin.stop()

    again = await commands.run("prefetch", "os~grub")

    assert again.returncode == 3
    assert "its lists could not be checked" in again.stderr


async def test_what_does_not_fit_is_said_before_anything_is_fetched(
    commands: Commands, tree: SignedTree, origin: Origin
) -> None:
    item = tree.add_item("p", "1", "one", size=3_000_000)
    tree.publish()
    limited = commands.config.read_text().replace("[cache]", '[cache]\nlimit = "1 MiB"')
    commands.config.write_text(limited)

    result = await commands.run("prefetch", "product_name=p")

    assert result.returncode == 1
    assert "it does not fit" in result.stderr
    assert origin.count(item.path) == 0
    assert await commands.in_ledger(lambda ledger: Pins(ledger).names()) == {}


async def test_an_incomplete_run_lets_nothing_go(commands: Commands, tree: SignedTree) -> None:
    first = tree.add_item("p", "1", "one", size=1000)
    tree.publish()
    await commands.run("prefetch", "product_name=p", "--max=1")
    second = tree.add_item("p", "2", "one", size=1000)
    tree.publish()
    second.data_path.unlink()

    partial = await commands.run("prefetch", "product_name=p", "--max=1")
    pins = await commands.in_ledger(lambda ledger: Pins(ledger).names())

    assert partial.returncode == 3
    assert set(pins) == {first.digest, second.digest}
