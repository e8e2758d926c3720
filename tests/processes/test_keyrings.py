"""Renewing a keyring file while clients are served, without a reload."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.exchange import read
from support.generations import INDEX, LIST
from support.keys import SigningKey
from support.origin import Origin
from support.running import Service
from support.serving import run_service, write_config
from support.tree import SignedTree, TreeItem
from yarl import URL

from proxy.mirror import Mirror

PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
QUICKLY = '[freshness]\nfresh_for = "1s"\nretry_after = "1s"\nretry_limit = "1s"\n[cache]\nmin_free = "0"\n'


@pytest.fixture(scope="module")
def other() -> Iterator[SigningKey]:
    with SigningKey("Somebody Else <else@example.test>") as key:
        yield key


@pytest.fixture
def item(tree: SignedTree) -> TreeItem:
    item = tree.add_item(PRODUCT, "20250718", "squashfs")
    tree.publish()
    return item


def replace_file(path: Path, data: bytes | None) -> None:
    """Put another file in its place, as package managers do, or none."""
    if data is None:
        path.unlink()
        return
    draft = path.with_suffix(".new")
    draft.write_bytes(data)
    draft.rename(path)


async def logged(service: Service, text: str, times: int = 1) -> None:
    """Return once the log holds a text so often."""
    async with asyncio.timeout(30):
        while service.log().count(text) < times:  # noqa: ASYNC110 - a file tells nobody that it grows
            await asyncio.sleep(0.05)


async def served(service: Service, mirror: Mirror, path: str) -> tuple[int, bytes]:
    reply = await read(URL(service.base + mirror.mount + path))
    return reply.status, reply.body


async def test_a_new_key_counts_without_a_reload_and_nobody_waits(
    tmp_path: Path,
    mirror: Mirror,
    tree: SignedTree,
    origin: Origin,
    item: TreeItem,
    keyring: Path,
    key: SigningKey,
    other: SigningKey,
) -> None:  # fmt: skip
    """The site has no origin then: what it holds is proved again. Later it is signed with the new key."""
    config = write_config(tmp_path, mirror, settings=QUICKLY)
    async with run_service(config) as service:
        before = [await served(service, mirror, path) for path in (INDEX, LIST, item.path)]
        assert [status for status, _ in before] == [200] * 3
        await origin.stop()
        replace_file(keyring, other.public_armored() + key.public_armored())
        await logged(service, "keyring.changed")
        await logged(service, "config.accepted")
        await logged(service, "worker.draining")
        assert [await served(service, mirror, path) for path in (INDEX, LIST, item.path)] == before

        tree.key = other
        tree.publish()
        await origin.start()
        wanted = (tree.root / INDEX).read_bytes()
        async with asyncio.timeout(30):
            while (await served(service, mirror, INDEX))[1] != wanted:  # noqa: ASYNC110 - it is asked
                await asyncio.sleep(0.1)
    assert "Traceback" not in service.log()


async def test_a_key_that_was_revoked_stops_to_count_without_a_reload(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, origin: Origin, keyring: Path
) -> None:
    with SigningKey("Changing <changing@example.test>") as key:
        tree.key = key
        tree.add_item(PRODUCT, "20250718", "squashfs")
        tree.publish()
        replace_file(keyring, key.public_binary())
        async with run_service(write_config(tmp_path, mirror, settings=QUICKLY)) as service:
            assert (await served(service, mirror, INDEX))[0] == 200
            await origin.stop()
            key._revoke()
            replace_file(keyring, key.public_binary())
            await logged(service, "config.accepted")
            await logged(service, "worker.draining")
            status, body = await served(service, mirror, INDEX)

    assert status == 503
    assert b"has been revoked" in body
    assert f"key {key.fingerprint} has been revoked" in service.log()


@pytest.mark.parametrize("content", [b"", b"half a key", None], ids=["empty", "broken", "gone"])
async def test_a_broken_keyring_changes_nothing_and_says_why(
    tmp_path: Path,
    mirror: Mirror,
    item: TreeItem,
    keyring: Path,
    key: SigningKey,
    content: bytes | None,
) -> None:  # fmt: skip
    """A worker that dies is replaced all the same. The same keys in another form need no new processes."""
    async with run_service(write_config(tmp_path, mirror, settings=QUICKLY)) as service:
        assert await served(service, mirror, item.path) == (200, item.read())
        workers = service.worker_pids()
        replace_file(keyring, content)
        await logged(service, "keyring.rejected")

        assert str(keyring) in service.log()
        assert service.worker_pids() == workers
        os.kill(workers[0], signal.SIGKILL)
        await logged(service, "worker.ready", 2)
        assert await served(service, mirror, item.path) == (200, item.read())
        workers = service.worker_pids()
        replace_file(keyring, key.public_armored())
        assert (await served(service, mirror, INDEX))[0] == 200
        assert service.worker_pids() == workers

    assert "keyring.changed" not in service.log()
