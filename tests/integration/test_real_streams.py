"""Genuine published streams: Ubuntu's of 2016, MAAS's of 2025, and the history of a small live server."""

import json
import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from support.fixtures import (
    FIXTURES,
    INDEX_2016,
    INDEX_2020_OTHER_KEY,
    MAAS_2025,
    OTHER_KEY,
    PRODUCTS_2016,
    PRODUCTS_2016_PATH,
    UBUNTU_FINGERPRINT,
    published_2016,
)
from support.origin import Origin
from support.running import Clock, RunningProxy, make_config, run_proxy

from proxy.mirror import Mirror, Trust

INDEX = "streams/v1/index.sjson"
PLAIN_INDEX = "streams/v1/index.json"
IMAGES = "streams/v1/images.json"
HISTORY = sorted((FIXTURES / "kriszos+kriszos.github.io" / "history").iterdir())
MAAS_LISTS = {
    "com.ubuntu.maas:stable:1:bootloader-download": "simplestreams_bootloaders.json",
    "com.ubuntu.maas:stable:centos-bases-download": "simplestreams_centos.json",
    "com.ubuntu.maas:stable:v3:download": "simplestreams_ubuntu.json",
}


@pytest.fixture
def ubuntu(mirror: Mirror) -> Mirror:
    """Return a mirror that believes Ubuntu's cloud-image keys."""
    return replace(mirror, keyring="ubuntu-cloudimage")


@pytest.fixture
def unsigned(mirror: Mirror) -> Mirror:
    """Return a mirror that is believed for its TLS alone; here without any."""
    return replace(mirror, trust=Trust.TLS)


def publish(state: Path, root: Path) -> None:
    """Make `root` the tree that `state` holds, without the files that it has not.

    Each is as old as its copy: all files of an unpacked archive have one time.
    """
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(state, root, copy_function=shutil.copyfile)


def publish_maas(root: Path) -> None:
    (root / "streams/v1").mkdir(parents=True)
    shutil.copyfile(MAAS_2025 / "simplestreams_index.json", root / PLAIN_INDEX)
    for content_id, name in MAAS_LISTS.items():
        shutil.copyfile(MAAS_2025 / name, root / f"streams/v1/{content_id}.json")


def listed_items(root: Path, path: str) -> list[dict[str, Any]]:
    """Return all items of a products list."""
    document = json.loads((root / path).read_text())
    return [
        item
        for product in document["products"].values()
        for version in product["versions"].values()
        for item in version["items"].values()
    ]


async def test_ubuntus_stream_of_2016_is_served_byte_for_byte(
    tmp_path: Path, origin: Origin, ubuntu: Mirror
) -> None:
    """An index with dead lists, a list of 2.5 MB, real signatures and the keyring that comes along."""
    published_2016(origin.root)
    async with run_proxy(make_config(tmp_path / "data", ubuntu)) as proxy:
        index, products = await proxy.read(INDEX), await proxy.read(PRODUCTS_2016_PATH)
        status = await proxy.documents.status()

        assert (index.status, products.status) == (200, 200)
        assert index.body == INDEX_2016.read_bytes()
        assert products.body == PRODUCTS_2016.read_bytes()
        assert status["items"] == 6_996
        assert status["signed_by"] == UBUNTU_FINGERPRINT
        assert (status["documents"], status["failures"], status["refusals"]) == (2, 0, 0)
        assert len(status["absent"]) == 10
        for path in status["absent"]:
            assert (await proxy.read(path)).status == 404


async def test_colons_of_real_paths_may_be_escaped(tmp_path: Path, origin: Origin, ubuntu: Mirror) -> None:
    published_2016(origin.root)
    async with run_proxy(make_config(tmp_path / "data", ubuntu)) as proxy:
        for colon in ("%3A", "%3a"):
            reply = await proxy.read(PRODUCTS_2016_PATH.replace(":", colon))
            assert sha256(reply.body).digest() == sha256(PRODUCTS_2016.read_bytes()).digest()


async def test_an_upstream_that_stores_escaped_names_is_understood(
    tmp_path: Path, origin: Origin, ubuntu: Mirror
) -> None:
    published_2016(origin.root)
    stored = origin.root / PRODUCTS_2016_PATH
    stored.rename(stored.with_name(stored.name.replace(":", "%3A")))
    async with run_proxy(make_config(tmp_path / "data", ubuntu)) as proxy:
        assert (await proxy.read(PRODUCTS_2016_PATH)).body == PRODUCTS_2016.read_bytes()


async def test_items_of_2016_that_upstream_has_no_more_are_absent(
    tmp_path: Path, origin: Origin, ubuntu: Mirror
) -> None:
    published_2016(origin.root)
    listed = "server/releases/xenial/release-20160420.3/ubuntu-16.04-server-cloudimg-amd64-lxd.tar.xz"
    async with run_proxy(make_config(tmp_path / "data", ubuntu)) as proxy:
        assert (await proxy.read(listed, "HEAD")).headers["Content-Length"] == "792"
        assert (await proxy.read(listed)).status == 404
        assert origin.count(listed) == 1
        assert (await proxy.read("server/releases/no/such.img")).status == 404


async def test_the_index_of_2020_signed_by_another_key_is_refused(
    tmp_path: Path, origin: Origin, ubuntu: Mirror
) -> None:
    published_2016(origin.root)
    async with run_proxy(make_config(tmp_path / "data", ubuntu)) as proxy:
        good = await proxy.read(INDEX)
        shutil.copyfile(INDEX_2020_OTHER_KEY, origin.root / INDEX)

        await proxy.documents.checks.revalidate()

        assert (await proxy.read(INDEX)).body == good.body == INDEX_2016.read_bytes()
        assert "which is not in the mirror's keyring" in (await proxy.documents.status())["last_refusal"]


async def test_the_index_of_2020_is_served_under_the_key_that_signed_it(
    tmp_path: Path, origin: Origin, mirror: Mirror
) -> None:
    """None of the lists that it names is there."""
    published_2016(origin.root)
    shutil.copyfile(INDEX_2020_OTHER_KEY, origin.root / INDEX)
    (origin.root / PRODUCTS_2016_PATH).unlink()
    mirror = replace(mirror, keyring=str(OTHER_KEY))
    async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
        assert (await proxy.read(INDEX)).body == INDEX_2020_OTHER_KEY.read_bytes()
        assert (await proxy.documents.status())["items"] == 0


async def test_a_live_servers_history_is_followed_from_state_to_state(
    tmp_path: Path, origin: Origin, unsigned: Mirror, clock: Clock
) -> None:
    """Its images are served and stay, its disks are listed and absent, documents come as published."""
    published: dict[str, bytes] = {}
    async with run_proxy(make_config(tmp_path / "data", unsigned), clock) as proxy:
        for state in HISTORY:
            publish(state, origin.root)
            clock.advance(3600)
            await proxy.documents.checks.revalidate()

            for path in (PLAIN_INDEX, IMAGES):
                assert (await proxy.read(path)).body == (state / path).read_bytes()
            for item in listed_items(state, IMAGES):
                await check_item(proxy, state, item, published)
            for path, content in published.items():
                assert (await proxy.read(path)).body == content
        status = await proxy.documents.status()

    assert (status["generation"], status["failures"], status["refusals"]) == (len(HISTORY), 0, 0)
    assert len(published) == 19
    assert all(origin.count(path) == 1 for path in published)


async def check_item(
    proxy: RunningProxy, state: Path, item: dict[str, Any], published: dict[str, bytes]
) -> None:
    reply = await proxy.read(item["path"])
    if item["ftype"] == "incus.tar.xz":
        assert sha256(reply.body).hexdigest() == item["sha256"]
        published[item["path"]] = (state / item["path"]).read_bytes()
    else:
        assert reply.status == 404


async def test_what_left_the_history_is_gone_a_day_later(
    tmp_path: Path, origin: Origin, unsigned: Mirror, clock: Clock
) -> None:
    [image] = [item for item in listed_items(HISTORY[0], IMAGES) if item["ftype"] == "incus.tar.xz"]
    async with run_proxy(make_config(tmp_path / "data", unsigned), clock) as proxy:
        publish(HISTORY[0], origin.root)
        assert (await proxy.read(image["path"])).status == 200
        publish(HISTORY[-1], origin.root)
        await proxy.documents.checks.revalidate()

        assert (await proxy.read(image["path"])).status == 200
        clock.advance(24 * 3600)
        assert (await proxy.read(image["path"])).status == 404


async def test_the_excerpts_of_the_maas_stream_of_2025_are_read_and_served(
    tmp_path: Path, origin: Origin, unsigned: Mirror
) -> None:
    publish_maas(origin.root)
    async with run_proxy(make_config(tmp_path / "data", unsigned)) as proxy:
        paths = {
            item["path"]: item
            for content_id in MAAS_LISTS
            for item in listed_items(origin.root, f"streams/v1/{content_id}.json")
        }
        index = await proxy.read(PLAIN_INDEX)
        status = await proxy.documents.status()

        assert index.body == (MAAS_2025 / "simplestreams_index.json").read_bytes()
        for content_id, name in MAAS_LISTS.items():
            reply = await proxy.read(f"streams/v1/{content_id}.json")
            assert reply.body == (MAAS_2025 / name).read_bytes()
        assert (status["documents"], status["items"], status["absent"]) == (4, len(paths), [])
        for path, item in paths.items():
            head = await proxy.read(path, "HEAD")
            assert (head.status, head.headers["Content-Length"]) == (200, str(item["size"]))
