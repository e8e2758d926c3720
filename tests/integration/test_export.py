"""`export` and `inventory`, as a person runs them."""

import hashlib
import subprocess
from pathlib import Path

import pytest
from support.commands import Commands
from support.keys import SigningKey
from support.maas import maas_tree
from support.origin import Origin
from support.tree import SignedTree

from proxy.bundles.contents import read_contents
from proxy.bundles.oci import blob_path, read_index, read_layout, read_manifest

SELECTION = ("--maas", "noble", "--arch", "amd64")


@pytest.fixture
def tree(tmp_path: Path, key: SigningKey) -> SignedTree:
    """Return a tree like MAAS's: two releases, two architectures, boot loaders."""
    return maas_tree(tmp_path / "upstream", key, releases=("22.04", "24.04"), arches=("amd64", "arm64"))


@pytest.fixture
async def commands(tmp_path: Path, origin: Origin, keyring: Path) -> Commands:
    """Return the commands for that tree, once some of it is here."""
    commands = Commands(tmp_path, origin, keyring)
    assert (await commands.run("prefetch", *SELECTION)).returncode == 0
    return commands


async def test_a_bundle_is_an_oci_layout_whose_digests_are_right(commands: Commands, tmp_path: Path) -> None:
    folder = tmp_path / "out/bundle"
    done = await commands.run("export", "maas", *SELECTION, "--to", str(folder))
    assert (done.returncode, done.stderr) == (0, "")
    read_layout((folder / "oci-layout").read_bytes())
    (named,) = read_index((folder / "index.json").read_bytes())
    manifest = read_manifest((folder / blob_path(named.digest)).read_bytes())
    contents = read_contents((folder / blob_path(manifest.contents.digest)).read_bytes())
    assert named.name == contents.mirror == "maas"
    for file in contents.files():
        data = (folder / blob_path(file.sha256)).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (file.sha256, file.size)
    assert _sums_are_right(folder)


def _sums_are_right(folder: Path) -> bool:
    command = ["sha256sum", "-c", "--strict", "--quiet", "SHA256SUMS"]
    return subprocess.run(command, cwd=folder, check=False).returncode == 0
