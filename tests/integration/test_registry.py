"""Bundles go through a registry that a site has already: pushed, replicated, pulled, and imported, identical.

These need Debian's `skopeo` and `docker-registry`, and are skipped where one of them is absent.
"""

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.commands import Commands
from support.drafted_bundles import Draft, draft_of, files_of, run_importer
from support.origin import Origin
from support.registry import Registry, needs_registry, run_registry, skopeo
from support.tree import SignedTree

from proxy.bundles.oci import Descriptor, read_index, write_index

pytestmark = needs_registry

PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
REPOSITORY = "images/bundles"


class Nowhere:
    """An origin that nobody can reach."""

    url = "http://127.0.0.1:9/"


@pytest.fixture(scope="module")
def registries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Registry, Registry]]:
    """Return the registries of two sites."""
    folder = tmp_path_factory.mktemp("registries")
    with run_registry(folder / "here") as here, run_registry(folder / "there") as there:
        yield here, there


def publish(tree: SignedTree, version: str, size: int = 3000) -> None:
    for name in ("boot-kernel", "boot-initrd", "squashfs"):
        tree.add_item(PRODUCT, version, name, size=size)
    tree.add_item(PRODUCT, version, "empty", path=f"odd/{version}/a:b+c", data=b"")
    tree.publish(detached=True)


def blobs_of(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in files_of(folder).items() if name.startswith("blobs/")}


def expected(draft: Draft) -> dict[str, bytes]:
    return {one.path: draft.files[one.sha256] for one in draft.contents.files()}


async def test_what_is_exported_in_parts_is_imported_from_another_sites_registry(
    registries: tuple[Registry, Registry], tree: SignedTree, origin: Origin, keyring: Path, tmp_path: Path
) -> None:
    here, there = registries
    publish(tree, "20260101", size=400_000)
    sender = Commands(tmp_path, origin, keyring)
    assert (await sender.run("prefetch", "ftype~.")).returncode == 0
    done = await sender.run("export", "maas", "--to", str(tmp_path / "usb"), "--part-size", "1 MiB")
    assert done.returncode == 0, done.stderr
    whole = tmp_path / "whole"

    def carry() -> None:
        parts = sorted(tmp_path.glob("usb-*of*"))
        assert len(parts) > 1
        for part in parts:
            shutil.copytree(part, whole, dirs_exist_ok=True)
        skopeo("copy", f"oci:{whole}:maas", here.name(REPOSITORY, "2026-01"))
        skopeo(
            "sync", "--src=docker", "--dest=docker", f"{here.address}/{REPOSITORY}", f"{there.address}/images"
        )
        skopeo("copy", there.name(REPOSITORY, "2026-01"), f"oci:{tmp_path / 'pulled'}:maas")
        skopeo("copy", there.name(REPOSITORY, "2026-01"), f"oci-archive:{tmp_path / 'pulled.tar'}:maas")

    await asyncio.to_thread(carry)
    assert blobs_of(tmp_path / "pulled") == blobs_of(whole)
    for name in ("pulled", "pulled.tar"):
        (site := tmp_path / f"site-{name}").mkdir()
        receiver = Commands(site, Nowhere(), keyring)
        done = await receiver.run("import", str(tmp_path / name))
        assert done.returncode == 0, done.stderr
        assert await receiver.held(tree.items) == tree.items
        plain = await asyncio.to_thread(
            run_importer, "--keyring", keyring, "--to", site / "tree", tmp_path / name
        )
        assert plain.code == 0, plain.said
        assert {one.path: one.read() for one in tree.items}.items() <= files_of(site / "tree").items()


def test_a_difference_has_only_what_it_carries(
    registries: tuple[Registry, Registry], tree: SignedTree, keyring: Path, tmp_path: Path
) -> None:
    here, _ = registries
    publish(tree, "20260101")
    first = draft_of(tree)
    publish(tree, "20260201")
    second = draft_of(tree).without_items(one.path for one in first.contents.items)
    for tag, draft in (("full", first), ("difference", second)):
        folder = draft.write_folder(tmp_path / tag)
        skopeo("copy", f"oci:{folder}:test", here.name("images/lab", tag))
        skopeo("copy", here.name("images/lab", tag), f"oci:{tmp_path / 'pulled'}-{tag}:test")
        assert blobs_of(tmp_path / f"pulled-{tag}") == blobs_of(folder)
        ended = run_importer("--keyring", keyring, "--to", tmp_path / "site", tmp_path / f"pulled-{tag}")
        assert ended.code == 0, ended.said
    assert files_of(tmp_path / "site") == expected(second)


def test_each_mirror_of_a_bundle_is_an_image_of_its_own(
    registries: tuple[Registry, Registry], tree: SignedTree, keyring: Path, tmp_path: Path
) -> None:
    here, _ = registries
    publish(tree, "20260101")
    draft, folder = draft_of(tree), tmp_path / "usb"
    named: list[Descriptor] = []
    for mirror in ("stable", "candidate"):
        one = replace(draft, contents=replace(draft.contents, mirror=mirror))
        named += read_index((one.write_folder(folder) / "index.json").read_bytes())
    (folder / "index.json").write_bytes(write_index(named))
    for mirror in ("stable", "candidate"):
        skopeo("copy", f"oci:{folder}:{mirror}", here.name("images/all", mirror))
        skopeo("copy", here.name("images/all", mirror), f"oci:{tmp_path / 'pulled'}:{mirror}")
    assert blobs_of(tmp_path / "pulled") == blobs_of(folder)
    start = ("--keyring", keyring, "--to", tmp_path / "site", tmp_path / "pulled")
    ended = run_importer(*start)
    assert (ended.code, ended.said) == (
        2,
        "Name one of the bundle's mirrors with --mirror: candidate, stable.\n",
    )
    assert run_importer(*start, "--mirror", "stable").code == 0
    assert files_of(tmp_path / "site") == expected(draft)
