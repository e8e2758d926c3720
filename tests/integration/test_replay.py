"""What a lab used once is replayed from a lockfile: offline, elsewhere, and after upstream has moved on."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
from support.maas_import import Fetched, fetch_source
from support.origin import Origin
from support.running import MOUNT, Clock, Service, make_config, run_proxy
from support.serving import write_config
from support.tree import SignedTree, TreeItem
from support.warm import run_warm
from yarl import URL

from proxy.bundles.contents import read_contents
from proxy.bundles.lockfile import Lockfile, read_lockfile, write_lockfile
from proxy.bundles.oci import blob_path, read_index, read_manifest
from proxy.digest import Digest
from proxy.jobs.pins import pin_served_lock
from proxy.mirror import Mirror
from proxy.store.ledger import Ledger
from proxy.store.pins import Pins

BOOT = "com.ubuntu.maas:stable:1:bootloader-download"
CENTOS = "com.ubuntu.maas:stable:centos-bases-download"
INDEX = "streams/v1/index.sjson"
FILES = ("boot-kernel", "boot-initrd", "squashfs")
WANTED = {("ubuntu", "noble", "amd64"), ("ubuntu", "jammy", "amd64")}


def publish(tree: SignedTree, version: str) -> list[TreeItem]:
    """Publish three releases and the boot loader in one version and no other; old files stay."""
    items = []
    for release in ("noble", "jammy", "focal"):
        product = f"com.ubuntu.maas.stable:v3:boot:{release}:amd64:ga"
        tree.product(product, os="ubuntu", release=release, arch="amd64", subarch="ga")["versions"].clear()
        items += [tree.add_item(product, version, name, size=3000) for name in FILES]
        tree.add_item(product, version, "root-image.manifest", size=30)
    loader = "com.ubuntu.maas.stable:1:grub-efi-signed:uefi:amd64"
    fields = {"os": "grub-efi-signed", "arch": "amd64", "bootloader-type": "uefi"}
    tree.product(loader, BOOT, **fields)["versions"].clear()
    items.append(tree.add_item(loader, version, "archive.tar.xz", size=2000, content_id=BOOT))
    other = "com.ubuntu.maas.stable:centos-bases:9:amd64"
    tree.product(other, CENTOS, os="centos", release="9", arch="amd64")["versions"].clear()
    tree.add_item(other, version, "root-tgz", size=100, content_id=CENTOS)
    tree.publish()
    return [item for item in items if "focal" not in item.path]


async def lines_of(service: Service, event: str) -> list[str]:
    """Return the lines of an event in the log, once there is one: a thread of its own writes them."""
    async with asyncio.timeout(60):
        while True:
            found = [line for line in service.log().splitlines() if event in line]
            if found:
                return found
            await asyncio.sleep(0.05)


async def import_as_maas(base: str, keyring: Path) -> list[Fetched]:
    """Import two releases as MAAS does, with their boot loader; return the images."""
    images: dict[str, Fetched] = {}
    gate = asyncio.Event()
    gate.set()
    async with aiohttp.ClientSession() as session:
        key = await asyncio.to_thread(keyring.read_bytes)
        await fetch_source(session, f"{base}{MOUNT}", key, WANTED, images, gate, lambda _: None)
    return list(images.values())


class Lab(NamedTuple):
    """A lab's run that was recorded, and what has become of upstream since."""

    folder: Path
    lock: Path
    replies: dict[str, bytes]
    """What each recorded request got, by path."""
    items: list[TreeItem]

    @property
    def lockfile(self) -> Lockfile:
        """What it locks."""
        return read_lockfile(self.lock.read_bytes())


async def command(folder: Path, name: str, *arguments: str) -> tuple[int, str]:
    """Run a command over a folder's configuration; return its status, and all that it says."""
    words = [name, "--config", str(folder / "config.toml"), *arguments]
    if name == "record":
        words = [name, arguments[0], "--config", str(folder / "config.toml"), *arguments[1:]]
    status, out, err = await run_warm(words)
    return status, out.decode() + err.decode()


@pytest.fixture
async def lab(tmp_path: Path, mirror: Mirror, tree: SignedTree, keyring: Path) -> Lab:
    """Return a lab that was recorded while MAAS imported; upstream has a newer generation now."""
    items = publish(tree, "20250718")
    folder = tmp_path / "a"
    folder.mkdir()
    other = replace(mirror, name="other", mount="/other/")
    write_config(folder, other, mirror, settings='[cache]\nmin_free = "0"\n')
    clock = Clock()
    clock.advance(3600)  # All is asked for after the recording has begun by the clock of the command.
    async with run_proxy(make_config(folder / "data", mirror), clock) as proxy:
        status, said = await command(folder, "record", "start", "lab", "--for", "2h")
        assert status == 0, said
        images = await import_as_maas(proxy.base, keyring)
        assert len(images) == 3
        assert all(image.is_complete for image in images)
        lock = tmp_path / "lab.lock"
        status, said = await command(folder, "record", "show", "lab", "--lock", str(lock))
        assert status == 0, said
        (locked,) = read_lockfile(lock.read_bytes()).locked
        paths = [file.path for file in (*locked.served_documents, *locked.contents.items)]
        replies = {path: (await proxy.read(path)).body for path in paths}
    assert len(paths) == 4 + 7
    publish(tree, "20250801")
    return Lab(folder, lock, replies, items)


@asynccontextmanager
async def serving(folder: Path, *arguments: str) -> AsyncIterator[Service]:
    options = ("--config", str(folder / "config.toml"), *arguments)
    service = await asyncio.to_thread(lambda: Service(*options, log=folder / "log"))
    try:
        yield service
    finally:
        await asyncio.to_thread(service.stop)


async def get(base: str, path: str) -> tuple[int, bytes]:
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.get(URL(f"{base}{path}", encoded=True)) as response,
    ):
        return response.status, await response.read()


async def stats(base: str) -> dict[str, Any]:
    """Return what a proxy says of itself."""
    found: dict[str, Any] = json.loads((await get(base, "/-/stats"))[1])
    return found


async def check_replay(base: str, lab: Lab, keyring: Path) -> None:
    """See that everything is answered as it was in the lab, from what is here, and nothing else is."""
    before = await stats(base)
    images = await import_as_maas(base, keyring)
    assert len(images) == 3
    assert all(image.is_complete for image in images)
    for path, body in lab.replies.items():
        assert await get(base, MOUNT + path) == (200, body), path
    beyond = (
        f"{lab.items[0].path.replace('noble', 'focal')}",
        lab.items[0].path.replace("20250718", "20250801"),
        "streams/v1/index.json",
        "..",
    )
    for path in beyond:
        status, said = await get(base, MOUNT + path)
        assert status == 404, path
        assert b"not in the lockfile of the recording lab, and nothing else is served" in said or path == ".."
    assert len(lab.lockfile.locked[0].unasked) == 0  # MAAS asks for all lists.
    assert (await get(base, f"/other/{INDEX}"))[0] == 404
    after = await stats(base)
    assert list(after["mirrors"]) == ["test"]
    assert after["mirrors"]["test"]["is_ready"]
    assert after["problems"] == []
    assert after["lockfile"] == "the lockfile of the recording lab"
    assert after["limits"]["lockfile"] - before["limits"]["lockfile"] >= len(beyond) - 1
    assert after["total"]["fetched_bytes"] == before["total"]["fetched_bytes"]
    earlier, later = (one["mirrors"]["test"]["requests"] for one in (before, after))
    assert {outcome for outcome, count in later.items() if count > earlier[outcome]} == {"hit", "absent"}


async def test_a_recorded_run_is_replayed_offline_without_a_miss(
    lab: Lab, keyring: Path, mirror: Mirror, tree: SignedTree
) -> None:
    status, said = await command(lab.folder, "refresh", "test")
    assert status == 0, said
    status, said = await command(lab.folder, "ready", "--lock", str(lab.lock))
    assert status == 0, said
    async with serving(lab.folder, "--lock", str(lab.lock), "--offline") as service:
        assert f"{service.base}/other/" not in service.banner
        assert f"url={service.base}{MOUNT}" in service.banner
        await check_replay(service.base, lab, keyring)
        # No line for each path; what is beyond a mirror's mount is none of the lockfile's.
        lacked = f"test/{lab.items[0].path.replace('noble', 'focal')}"
        assert sum(lacked in line for line in await lines_of(service, "lockfile.lacks")) == 1

        kept = {file.sha256 for file in lab.lockfile.locked[0].contents.files()}
        assert await pinned(lab.folder / "data", "serve --lock") == kept
        await check_another_lockfile(service, lab)
    # What was accepted before is accepted still; what was served is kept until something else is.
    async with run_proxy(make_config(lab.folder / "data", mirror, offline=True)) as proxy:
        assert (await proxy.read(INDEX)).body == (tree.root / INDEX).read_bytes() != lab.replies[INDEX]
        await pin_served_lock(proxy.cache, None)
    assert await pinned(lab.folder / "data", "serve --lock") == set()

    gone = lab.items[1]
    (lab.folder / "data/blobs/sha256" / gone.digest[:2] / gone.digest).unlink()
    status, said = await command(lab.folder, "ready", "--lock", str(lab.lock))
    assert status == 1
    assert f"test {gone.path} is missing" in said
    assert "1 file is missing or wrong" in said
    assert f"prefetch --lock {lab.lock}" in said
    assert (await command(lab.folder, "prefetch", "--lock", str(lab.lock)))[0] == 0
    assert (await command(lab.folder, "ready", "--lock", str(lab.lock)))[0] == 0


async def check_another_lockfile(service: Service, lab: Lab) -> None:
    """See that SIGHUP brings a lockfile of fewer items, and a damaged one changes nothing."""
    lockfile = lab.lockfile
    (locked,) = lockfile.locked
    left, *rest = locked.contents.items
    fewer = replace(lockfile, locked=(replace(locked, contents=replace(locked.contents, items=(left,))),))
    for text, word in ((write_lockfile(fewer), "config.accepted"), (b"<<<<<<< HEAD", "config.rejected")):
        lab.lock.with_name("next").write_bytes(text)
        lab.lock.with_name("next").replace(lab.lock)
        service.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(60):
            while word not in service.log():  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.01)
        assert (await get(service.base, MOUNT + left.path))[0] == 200
        assert (await get(service.base, MOUNT + rest[0].path))[0] == 404
    assert "git has left a conflict in it, in line 1" in service.log()
    async with asyncio.timeout(60):
        while rest[0].sha256 in await pinned(lab.folder / "data", "serve --lock"):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
    lab.lock.write_bytes(write_lockfile(lockfile))


async def pinned(data_dir: Path, pin: str) -> set[Digest]:
    """Return what a pin keeps."""

    def read() -> set[Digest]:
        with closing(Ledger(data_dir / "ledger", time.time)) as ledger:
            return Pins(ledger).pinned_by(pin)

    return await asyncio.to_thread(read)


async def test_an_empty_cache_and_a_lockfile_equal_the_run_after_upstream_has_moved_on(
    lab: Lab, tmp_path: Path, mirror: Mirror, keyring: Path, origin: Origin
) -> None:
    elsewhere = tmp_path / "b"
    elsewhere.mkdir()
    write_config(elsewhere, mirror, settings='[cache]\nmin_free = "0"\n')
    asked = len(origin.requests)
    status, said = await command(elsewhere, "prefetch", "--lock", str(lab.lock))
    assert status == 0, said
    assert not [one for one in origin.requests[asked:] if "streams/" in str(one)]
    config = make_config(elsewhere / "data", mirror)
    async with run_proxy(replace(config, offline=True), lockfile=lab.lockfile) as proxy:
        await check_replay(proxy.base, lab, keyring)
    # The recorded generation is the accepted one, and a check replaces it by the newer one.
    async with run_proxy(replace(config, offline=True)) as proxy:
        assert (await proxy.read(INDEX)).body == lab.replies[INDEX]
    files = lab.lockfile.locked[0].contents.files()
    assert {file.sha256 for file in files} <= await pinned(elsewhere / "data", f"lock {lab.lock}")
    async with run_proxy(config) as proxy:
        assert await proxy.cache.refresh("test") is None
        newer = (await proxy.read(INDEX)).body
        assert newer != lab.replies[INDEX]
    # From then on the lockfile takes nothing back.
    assert (await command(elsewhere, "prefetch", "--lock", str(lab.lock)))[0] == 0
    async with run_proxy(replace(config, offline=True)) as proxy:
        assert (await proxy.read(INDEX)).body == newer


async def check_far_side(folder: Path, lab: Lab, mirror: Mirror) -> None:
    """See that what was exported, imported beyond the gap, answers as the lab did."""
    far = folder / "far"
    far.mkdir()
    write_config(far, mirror, settings='offline = true\n[cache]\nmin_free = "0"\n')
    status, said = await command(far, "import", str(folder / "--lock"))
    assert status == 0, said
    status, said = await command(far, "ready", "--lock", str(lab.lock))
    assert status == 0, said
    config = make_config(far / "data", mirror, offline=True)
    async with run_proxy(config, lockfile=lab.lockfile) as proxy:
        for path, body in lab.replies.items():
            assert (await proxy.read(path)).body == body
    gone = lab.items[0]
    (far / "data/blobs/sha256" / gone.digest[:2] / gone.digest).unlink()
    status, said = await command(far, "prefetch", "--lock", str(lab.lock))
    assert (status, "the proxy is offline" in said) == (3, True)


async def test_a_recorded_run_is_exported_and_a_lockfile_that_proves_nothing_refused(
    lab: Lab, tmp_path: Path, mirror: Mirror
) -> None:
    for by, which in (("--lock", str(lab.lock)), ("--record", "lab")):
        out = tmp_path / by
        status, said = await command(lab.folder, "export", by, which, "--to", str(out))
        assert status == 0, said
        (manifest,) = read_index((out / "index.json").read_bytes())
        contents = read_manifest((out / blob_path(manifest.digest)).read_bytes()).contents
        found = read_contents((out / blob_path(contents.digest)).read_bytes())
        assert {file.path for file in found.files()} == lab.replies.keys()
        for file in found.files():
            assert (out / blob_path(file.sha256)).read_bytes() == lab.replies[file.path]
    status, said = await command(lab.folder, "export", by, which, "--rule", "x", "--to", str(tmp_path / "no"))
    assert (status, "give one of them" in said) == (2, True)
    await check_far_side(tmp_path, lab, mirror)

    lockfile = lab.lockfile
    (locked,) = lockfile.locked
    kernel = next(file for file in locked.contents.items if "boot-kernel" in file.path)
    other = replace(kernel, sha256=lab.items[-1].digest)
    items = tuple(other if file is kernel else file for file in locked.contents.items)
    forged = replace(lockfile, locked=(replace(locked, contents=replace(locked.contents, items=items)),))
    stranger = replace(locked.contents, mirror="stranger")
    cases = {
        "forged": (write_lockfile(forged), kernel.path),
        "foreign": (
            write_lockfile(replace(lockfile, locked=(replace(locked, contents=stranger),))),
            "of a mirror 'stranger'; here are: other, test. If one of these is the same",
        ),
        "cut": (lab.lock.read_bytes()[:-40], "no lockfile"),
    }
    runs = []
    for name, (text, _) in cases.items():
        (tmp_path / name).write_bytes(text)
        words = ("serve", "prefetch", "ready") if name == "forged" else ("serve", "ready")
        runs += [(name, word) for word in words]
    results = await asyncio.gather(
        *(command(lab.folder, word, "--lock", str(tmp_path / name)) for name, word in runs)
    )
    for (name, _), (status, said) in zip(runs, results, strict=True):
        assert status in {1, 2}, said
        assert cases[name][1] in said
