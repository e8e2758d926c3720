"""The plain importer makes the tree of a bundle that `export --tree` writes, byte for byte."""

import asyncio
import hashlib
from pathlib import Path

import pytest
from support.commands import Commands
from support.drafted_bundles import files_of, run_importer
from support.keys import SigningKey
from support.maas import maas_tree
from support.origin import Origin
from support.tree import SignedTree

PRODUCT = "com.ubuntu.maas.stable:v3:boot:24.04:amd64:ga-24.04"
SELECTION = ("--maas", "noble", "--arch", "amd64")


@pytest.fixture
def tree(tmp_path: Path, key: SigningKey) -> SignedTree:
    """Return a tree like MAAS's."""
    return maas_tree(tmp_path / "upstream", key, releases=("22.04", "24.04"), versions=1, scale=1 / 10_000)


async def export(commands: Commands, *arguments: str) -> str:
    for line in (["prefetch", *SELECTION], ["export", *SELECTION, *arguments]):
        done = await commands.run(line[0], *line[1:])
        assert done.returncode == 0, done.stderr
    return done.stdout


async def test_it_equals_export_tree_after_a_full_bundle_and_after_a_difference(
    tree: SignedTree, origin: Origin, keyring: Path, tmp_path: Path
) -> None:
    commands = Commands(tmp_path, origin, keyring)
    before = None
    for generation in (1, 2):
        bundle = tmp_path / f"usb-{generation}"
        since = () if before is None else ("--since", str(before))
        told = await export(commands, "--to", str(bundle), *since)
        await export(commands, "--tree", str(tmp_path / "tree"))

        def check(bundle: Path = bundle, told: str = told) -> None:
            program = bundle / "import-bundle.py"
            start = ("--keyring", keyring, "--to", tmp_path / "plain")
            ended = run_importer(*start, program=program)
            assert ended.code == 0, ended.said
            assert files_of(tmp_path / "plain") == files_of(tmp_path / "tree")
            digest = hashlib.sha256(program.read_bytes()).hexdigest()
            assert f"import-bundle.py, for sites without sstream-proxy, has the SHA-256 {digest}" in told

        await asyncio.to_thread(check)
        before = bundle
        tree.add_item(PRODUCT, "20991231", "squashfs", size=5000)
        tree.publish()
