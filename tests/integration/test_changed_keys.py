"""What becomes of verified documents when the keys of their mirror change.

What the new keys prove is served on, with origins gone too. What they do not
prove is not, and no keyring brings back what is older than what was accepted.
"""

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.commands import Commands
from support.generations import (
    INDEX,
    LIST,
    PRODUCT,
    SECOND_LIST,
    bodies,
    exchange_keys,
    on_disk,
    said_by,
    signed,
    stats,
)
from support.keys import SigningKey
from support.origin import Origin
from support.power import PowerCuts
from support.running import Clock, RunningProxy, make_config, run_proxy
from support.tree import SignedTree

from proxy.config.config import Config
from proxy.mirror import Mirror

PLAIN = [path.removesuffix(".sjson") + suffix for path in (INDEX, LIST) for suffix in (".json", ".json.gpg")]


@pytest.fixture(scope="module")
def other() -> Iterator[SigningKey]:
    with SigningKey("Somebody Else <else@example.test>") as key:
        yield key


@pytest.fixture
def config(tmp_path: Path, mirror: Mirror) -> Config:
    return make_config(tmp_path / "data", mirror)


async def fetch_all(config: Config, clock: Clock, tree: SignedTree, *paths: str) -> None:
    """Have a proxy accept what the tree publishes, and end."""
    async with run_proxy(config, clock) as proxy:
        assert await bodies(proxy, *paths) == on_disk(tree, *paths)
        await proxy.fills_ended()


NEW_FILES: dict[str, Callable[[SigningKey, SigningKey], bytes]] = {
    "armored": lambda key, _: key.public_armored(),
    "one key more": lambda key, other: key.public_binary() + other.public_binary(),
    "one key more, first": lambda key, other: other.public_binary() + key.public_binary(),
    "one key more, armored": lambda key, other: other.public_armored() + key.public_armored(),
    "one key more, mixed": lambda key, other: other.public_armored() + key.public_binary(),
}


@pytest.mark.parametrize("new_file", NEW_FILES.values(), ids=NEW_FILES.keys())
async def test_a_site_without_origins_serves_on_what_the_new_keys_prove(
    config: Config,
    clock: Clock,
    tree: SignedTree,
    origin: Origin,
    keyring: Path,
    key: SigningKey,
    other: SigningKey,
    new_file: Callable[[SigningKey, SigningKey], bytes],
) -> None:  # fmt: skip
    item = tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    await fetch_all(config, clock, tree, INDEX, LIST, item.path)
    exchange_keys(keyring, new_file(key, other))
    await origin.stop()

    for offline in (True, False):
        async with run_proxy(replace(config, offline=offline), clock) as proxy:
            assert await bodies(proxy, INDEX, LIST, item.path) == on_disk(tree, INDEX, LIST, item.path)
            assert (await stats(proxy))["signed_by"] == key.fingerprint
            assert (await stats(proxy))["generation"] == 1


async def test_all_flavours_of_documents_outlive_a_change_of_keys(
    config: Config,
    clock: Clock,
    tree: SignedTree,
    origin: Origin,
    keyring: Path,
    key: SigningKey,
    other: SigningKey,
) -> None:  # fmt: skip
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish(detached=True)
    await fetch_all(config, clock, tree, INDEX, LIST, *PLAIN)
    exchange_keys(keyring, key.public_armored() + other.public_armored())
    await origin.stop()

    async with run_proxy(config, clock) as proxy:
        assert await bodies(proxy, INDEX, LIST, *PLAIN) == on_disk(tree, INDEX, LIST, *PLAIN)


async def test_an_index_with_a_detached_signature_outlives_a_change_of_keys(
    config: Config,
    clock: Clock,
    tree: SignedTree,
    origin: Origin,
    keyring: Path,
    key: SigningKey,
    other: SigningKey,
) -> None:  # fmt: skip
    item = tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish(detached=True)
    for path in (INDEX, LIST):
        (tree.root / path).unlink()
    await fetch_all(config, clock, tree, *PLAIN, item.path)
    await origin.stop()

    exchange_keys(keyring, key.public_armored() + other.public_armored())
    async with run_proxy(config, clock) as proxy:
        assert await bodies(proxy, *PLAIN, item.path) == on_disk(tree, *PLAIN, item.path)
        assert (await stats(proxy))["signed_by"] == key.fingerprint

    exchange_keys(keyring, other.public_armored())
    async with run_proxy(config, clock) as proxy:
        assert {(await proxy.read(path)).status for path in PLAIN} == {503}


@pytest.mark.parametrize("change", ["removed", "revoked", "expired"])
async def test_what_the_new_keys_do_not_prove_is_not_served_and_comes_back_with_the_old_ones(
    config: Config,
    clock: Clock,
    tree: SignedTree,
    origin: Origin,
    keyring: Path,
    other: SigningKey,
    change: str,
) -> None:  # fmt: skip
    with SigningKey("Changing <changing@example.test>") as changing:
        tree.key = changing
        before = changing.public_binary()
        exchange_keys(keyring, before)
        item = tree.add_item(PRODUCT, "20250701", "squashfs")
        tree.publish()
        await fetch_all(config, clock, tree, INDEX, LIST, item.path)
        await origin.stop()

        if change == "revoked":
            changing._revoke()
        if change == "expired":
            changing._gpg("--quick-set-expire", changing.fingerprint, "seconds=1")
            await wait_until_expired(changing)
        after = other.public_binary() if change == "removed" else changing.public_binary()
    exchange_keys(keyring, after)

    for offline in (True, False):
        async with run_proxy(replace(config, offline=offline), clock) as proxy:
            replies = [await proxy.read(path) for path in (INDEX, LIST)]
            assert {reply.status for reply in replies} == {503}
            assert b"does not count under the keys of now" in replies[0].body
            assert not await proxy.cache.knows_all_lists()

    exchange_keys(keyring, before)
    async with run_proxy(config, clock) as proxy:
        assert await bodies(proxy, INDEX, LIST, item.path) == on_disk(tree, INDEX, LIST, item.path)


async def wait_until_expired(key: SigningKey) -> None:
    while b":e:" not in key._gpg("--with-colons", "--list-keys"):  # noqa: ASYNC110 - the time is gpg's
        await asyncio.sleep(0.2)


async def test_a_list_that_the_new_keys_do_not_prove_is_left_out_and_told_of(
    config: Config,
    clock: Clock,
    tree: SignedTree,
    origin: Origin,
    keyring: Path,
    key: SigningKey,
    other: SigningKey,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """Its dates stay: it does not come back older, however its keys change."""
    exchange_keys(keyring, key.public_binary() + other.public_binary())
    first = tree.add_item(PRODUCT, "20250701", "squashfs")
    second = tree.add_item("second:product", "20250701", "root.tar.xz", content_id="second")
    tree.publish()
    document = said_by(on_disk(tree, SECOND_LIST)[0])
    older = other.clearsign(on_text(document))
    tree.publish()
    newest = other.clearsign(on_text(said_by(on_disk(tree, SECOND_LIST)[0])))
    tree.write(SECOND_LIST, newest)
    await fetch_all(config, clock, tree, INDEX, LIST, SECOND_LIST, first.path, second.path)
    await origin.stop()

    exchange_keys(keyring, key.public_binary())
    async with run_proxy(config, clock) as proxy:
        assert await bodies(proxy, INDEX, LIST, first.path) == on_disk(tree, INDEX, LIST, first.path)
        refused = await proxy.read(SECOND_LIST)
        assert refused.status == 502
        assert b"which is not in the mirror's keyring" in refused.body
        assert (await proxy.read(second.path)).status == 404
        assert SECOND_LIST in (await stats(proxy))["refused"]
        assert f"document.unproved mirror=test problem={SECOND_LIST} is refused" in caplog.text
        await origin.start()
        tree.write(SECOND_LIST, older)
        await proxy.documents.checks.revalidate()
        assert (await proxy.read(SECOND_LIST)).status == 502

    exchange_keys(keyring, key.public_binary() + other.public_binary())
    async with run_proxy(config, clock) as proxy:
        await proxy.documents.checks.revalidate()
        assert (await proxy.read(SECOND_LIST)).body != older
        assert "older than the one already accepted" in (await stats(proxy))["refused"][SECOND_LIST]
        tree.write(SECOND_LIST, newest)
        await proxy.documents.checks.revalidate()
        assert (await proxy.read(SECOND_LIST)).body == newest


async def test_no_change_of_keys_forgets_which_stream_was_accepted(
    config: Config,
    clock: Clock,
    tree: SignedTree,
    keyring: Path,
    key: SigningKey,
    other: SigningKey,
) -> None:  # fmt: skip
    """The new keys prove the index, and none of its lists."""
    exchange_keys(keyring, key.public_binary() + other.public_binary())
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    tree.write(LIST, other.clearsign(on_text(said_by(on_disk(tree, LIST)[0]))))
    first = on_disk(tree, INDEX)
    await fetch_all(config, clock, tree, INDEX, LIST)
    exchange_keys(keyring, key.public_binary())
    another = SignedTree(tree.root, key)
    another.add_item("second:product", "20250701", "root.tar.xz", content_id="second")
    another.publish()

    async with run_proxy(config, clock) as proxy:
        await proxy.documents.checks.revalidate()

        assert await bodies(proxy, INDEX) == first
        assert "is of another stream" in (await stats(proxy))["too_old"]


def on_text(document: object) -> bytes:
    return json.dumps(document, indent=1).encode()


@pytest.mark.parametrize("keeps_key", [True, False], ids=["one key more", "other keys"])
async def test_no_change_of_keys_forgets_what_is_too_old(
    config: Config,
    clock: Clock,
    tree: SignedTree,
    keyring: Path,
    key: SigningKey,
    other: SigningKey,
    *,
    keeps_key: bool,
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    earlier = [said_by(raw) for raw in on_disk(tree, INDEX, LIST)]
    tree.add_item(PRODUCT, "20250722", "squashfs")
    tree.publish()
    await fetch_all(config, clock, tree, INDEX, LIST)
    accepted = on_disk(tree, INDEX, LIST)

    exchange_keys(keyring, other.public_binary() + (key.public_binary() if keeps_key else b""))
    tree.key = other
    for path, document in zip((INDEX, LIST), earlier, strict=True):
        tree.write(path, signed(tree, document))
    for _ in range(2):
        async with run_proxy(config, clock) as proxy:
            await proxy.documents.checks.revalidate()
            replies = [await proxy.read(path) for path in (INDEX, LIST)]
            assert f"{INDEX} is older than the one already accepted" in (await stats(proxy))["last_refusal"]
            if keeps_key:
                assert [reply.body for reply in replies] == accepted
            else:
                assert {reply.status for reply in replies} == {503}

    tree.publish()
    async with run_proxy(config, clock) as proxy:
        await proxy.documents.checks.revalidate()
        assert await bodies(proxy, INDEX, LIST) == on_disk(tree, INDEX, LIST)
        assert (await stats(proxy))["generation"] == 2


async def test_commands_agree_with_a_running_server_on_the_keys(
    tmp_path: Path, tree: SignedTree, origin: Origin, keyring: Path, key: SigningKey, other: SigningKey
) -> None:
    commands = Commands(tmp_path, origin, keyring)
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    assert (await commands.run("prefetch")).returncode == 0
    await origin.stop()

    for keys in (key.public_armored(), other.public_armored() + key.public_armored()):
        exchange_keys(keyring, keys)
        done = await commands.run("ready")
        assert (done.returncode, done.stderr) == (0, "")
    exchange_keys(keyring, other.public_binary())
    done = await commands.run("ready")
    assert done.returncode == 1
    assert (
        f"maas {INDEX} is not served: what was accepted before does not count under the keys of now: "
        in done.stdout
    )
    assert "which is not in the mirror's keyring" in done.stdout


# Power cuts


def record_files(config: Config) -> list[Path]:
    return [config.data_dir / "ledger", config.data_dir / "generations"]


@pytest.mark.parametrize("lost", ["ledger", "generations"])
async def test_of_ledger_and_copy_the_newer_one_counts_after_a_power_cut(
    tmp_path: Path, config: Config, clock: Clock, tree: SignedTree, origin: Origin, lost: str
) -> None:
    """The other one has lost what was written last, and is put right."""
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    earlier = on_disk(tree, INDEX, LIST)
    await fetch_all(config, clock, tree, INDEX, LIST)
    shutil.copytree(config.data_dir / lost, tmp_path / "older")
    tree.publish()
    clock.advance(400)
    async with run_proxy(config, clock) as proxy:
        await proxy.documents.checks.revalidate()
        accepted = await bodies(proxy, INDEX, LIST)
    assert accepted == on_disk(tree, INDEX, LIST)

    for other_place in [path for path in record_files(config) if path.name != lost]:
        shutil.rmtree(config.data_dir / lost)
        shutil.copytree(tmp_path / "older", config.data_dir / lost)
        for path, raw in zip((INDEX, LIST), earlier, strict=True):
            tree.write(path, raw)
        async with run_proxy(config, clock) as proxy:
            await proxy.documents.checks.revalidate()
            assert await bodies(proxy, INDEX, LIST) == accepted
            assert (await stats(proxy))["last_refusal"].startswith(f"{INDEX} is older than")
        # Now it is the other one that is lost, and all of it.
        shutil.rmtree(other_place)
        await origin.stop()
        async with run_proxy(config, clock) as proxy:
            assert await bodies(proxy, INDEX, LIST) == accepted
        await origin.start()


@pytest.mark.parametrize("is_ledger_lost", [False, True])
async def test_what_a_client_has_seen_outlives_a_power_cut(
    tmp_path: Path, config: Config, clock: Clock, tree: SignedTree, *, is_ledger_lost: bool
) -> None:
    """The newest index counts as accepted from the moment at which somebody got it."""
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    earlier = on_disk(tree, INDEX, LIST)
    with PowerCuts() as power:
        async with run_proxy(config, clock) as proxy:
            await bodies(proxy, INDEX, LIST)
            tree.publish()
            await proxy.documents.checks.revalidate()
            accepted = await bodies(proxy, INDEX, LIST)
            assert accepted == on_disk(tree, INDEX, LIST)
            power.cut(config.data_dir, tmp_path / "rebooted")
    rebooted = replace(config, data_dir=tmp_path / "rebooted")
    if is_ledger_lost:
        shutil.rmtree(rebooted.data_dir / "ledger")
    for path, raw in zip((INDEX, LIST), earlier, strict=True):
        tree.write(path, raw)

    async with run_proxy(rebooted, clock) as proxy:
        await proxy.documents.checks.revalidate()
        assert await bodies(proxy, INDEX, LIST) == accepted
        assert (await stats(proxy))["last_refusal"].startswith(f"{INDEX} is older than")


async def test_a_list_is_not_shown_when_the_disk_does_not_take_that_it_was_accepted(
    proxy: RunningProxy, tree: SignedTree
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    first = await bodies(proxy, INDEX, LIST)
    tree.publish()
    with PowerCuts() as power:
        power.is_failing = True
        await proxy.documents.checks.revalidate()
        assert await bodies(proxy, INDEX, LIST) == first
        power.is_failing = False
        await proxy.documents.checks.revalidate()
        assert await bodies(proxy, INDEX, LIST) == on_disk(tree, INDEX, LIST)
