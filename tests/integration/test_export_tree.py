"""`export --tree`: a tree for a plain web server, as a person runs it and as clients read it."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands import Commands, events
from support.failing_disk import filled_up, small_file_system
from support.keys import SigningKey
from support.maas import maas_tree
from support.origin import Origin
from support.tree import SignedTree

from proxy.digest import Digest
from proxy.store.blob_records import BlobRecords
from proxy.store.ledger import Ledger
from proxy.store.local.store import LocalStore
from proxy.store.proofs import Proofs

NOBLE = ("--maas", "noble", "--arch", "amd64")
INDEX = "streams/v1/index.sjson"


class Nowhere:
    """An origin that nobody can reach."""

    url = "http://127.0.0.1:9/"


@pytest.fixture
def tree(tmp_path: Path, key: SigningKey) -> SignedTree:
    """Return a tree like MAAS's."""
    return maas_tree(tmp_path / "upstream", key, releases=("22.04", "24.04"), versions=1, scale=1 / 10_000)


@pytest.fixture
async def commands(tmp_path: Path, origin: Origin, keyring: Path) -> Commands:
    """Return the commands for that tree, once all of it is here."""
    commands = Commands(tmp_path, origin, keyring)
    done = await commands.run("prefetch", "path~.")
    assert done.returncode == 0, done.stderr
    return commands


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on another file system."""
    for folder in map(Path, ("/dev/shm", "/var/tmp")):
        if os.access(folder, os.W_OK) and folder.stat().st_dev != tmp_path.stat().st_dev:
            with tempfile.TemporaryDirectory(dir=folder) as made:
                yield Path(made)
            return
    pytest.skip("there is no other file system")


def files(root: Path) -> dict[str, tuple[bytes, int, int]]:
    """Return bytes, inode and mtime of each file of a tree, ours left out."""
    return {
        str(path.relative_to(root)): (path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns)
        for path in root.rglob("*")
        if path.is_file() and ".sstream-proxy" not in path.relative_to(root).parts
    }


def listed(tree: SignedTree) -> set[str]:
    """Return what a mirror of a tree has: the flavours that prefetch brings, and all items."""
    documents = {str(one.relative_to(tree.root)) for one in (tree.root / "streams/v1").iterdir()}
    return {*documents, *(one.path for one in tree.items)}


@pytest.mark.skipif(shutil.which("gpgv") is None, reason="sstream-mirror verifies by gpgv")
async def test_sstream_mirror_takes_all_from_a_tree_on_a_plain_server(
    commands: Commands, tree: SignedTree, tmp_path: Path, keyring: Path
) -> None:
    www, copy = tmp_path / "www", tmp_path / "copy"
    done = await commands.run("export", "--tree", str(www))
    assert done.returncode == 0, done.stderr
    assert files(www).keys() == listed(tree)
    for path, (data, _, _) in files(www).items():
        assert data == (tree.root / path).read_bytes(), path
    async with Origin(www) as server:
        tool = Path(sys.executable).parent / "sstream-mirror"
        mirroring = await commands_process(str(tool), f"--keyring={keyring}", server.url, str(copy))
    assert mirroring == 0
    assert {path for path in files(copy) if not path.startswith(".data/")} == {
        path for path in files(www) if not path.endswith((".json", ".gpg"))
    }

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    other = Commands(elsewhere, Nowhere(), keyring)
    done = await other.run("import", "--tree", str(copy), "--json")
    summary = events(done)["summary"]
    assert (done.returncode, summary["taken_files"]) == (0, len({one.digest for one in tree.items}))
    assert set(summary["leftovers"]) == {"hint"}


async def commands_process(*command: str) -> int:
    """Run a program to its end, and return its exit code."""
    process = await asyncio.create_subprocess_exec(
        *command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    return await process.wait()


async def test_the_next_export_changes_only_what_changed(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    www = tmp_path / "www"
    assert (await commands.run("export", "--tree", str(www))).returncode == 0
    before = files(www)
    (www / "notes.html").write_text("a stranger's")
    again = await commands.run("export", "--tree", str(www), "--json")
    assert events(again)["tree"]["new_files"] == 0
    assert {path: files(www)[path] for path in before} == before

    old, *_ = tree.items
    tree.remove(old.path)
    new = tree.add_item("com.ubuntu.maas.stable:v3:boot:24.04:amd64:ga-24.04", "20991231", "squashfs")
    tree.publish()
    assert (await commands.run("prefetch", "path~.")).returncode == 0
    done = await commands.run("export", "--tree", str(www), "--delete", "--json")
    after = files(www)
    assert after.keys() == {*listed(tree), "notes.html"}
    assert after[new.path][0] == new.read()
    same = {one.path for one in tree.items} - {new.path}
    assert {path: after[path] for path in same} == {path: before[path] for path in same}
    assert events(done)["tree"]["removed_files"] == 1
    assert after[INDEX][2] > before[INDEX][2]


async def test_linked_items_need_not_be_hashed_again(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    done = await commands.run("export", "--tree", str(tmp_path / "www"), "--json")
    told = events(done)["tree"]
    if not told["linked_files"]:
        pytest.skip("this file system links nothing")

    def unproved(ledger: Ledger) -> list[str]:
        proofs = Proofs(LocalStore(commands.data), BlobRecords(ledger))
        return [one.path for one in tree.items if not proofs.is_recent(Digest(one.digest))]

    assert await commands.in_ledger(unproved) == []


async def test_what_is_not_here_is_named_and_the_rest_is_written(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    www = tmp_path / "www"
    gone = next(one for one in tree.items if one.path.endswith("squashfs"))
    commands.blob(gone).unlink()
    done = await commands.run("export", "path~.", "--tree", str(www))
    assert done.returncode == 3
    assert f"NOT HERE maas {gone.path}" in done.stderr
    assert "not complete: 1 file is not here" in done.stderr
    assert files(www).keys() == listed(tree) - {gone.path}
    rest = await commands.run("export", "--tree", str(www), "--dry-run")
    assert rest.returncode == 0
    assert "they name 1 file more" in rest.stdout


async def test_a_tree_on_another_file_system_is_a_copy_with_the_lists_date(
    commands: Commands, tree: SignedTree, elsewhere: Path
) -> None:
    done = await commands.run("export", "--tree", str(elsewhere / "www"), "--json")
    assert (done.returncode, events(done)["tree"]["linked_files"]) == (0, 0)
    assert files(elsewhere / "www").keys() == listed(tree)
    assert {(elsewhere / "www" / one.path).stat().st_mtime for one in tree.items} == {tree.updated_s}


async def test_what_is_refused_leaves_everything_as_it_was(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    def names() -> list[Path]:
        return sorted(tmp_path.iterdir())

    def bundles() -> list[Path]:
        return [*(tmp_path / "data").rglob("bundle*"), *(tmp_path / "data").rglob("*.tar")]

    before, theirs = names(), files(tree.root)
    for where in ("data/www", "data", "."):
        done = await commands.run("export", "--tree", str(tmp_path / where))
        assert done.returncode == 4
        assert re.search(": name (a folder outside of it|another folder)", done.stderr), done.stderr
    (tmp_path / "link").symlink_to(tmp_path / "data/blobs")
    before = names()
    for where in ("data/bundle", "data/images.tar", "link/bundle", "data"):
        for more in ((), ("--dry-run",)):
            done = await commands.run("export", "--to", str(tmp_path / where), *more)
            assert (done.returncode, "lies in the data directory" in done.stderr) == (4, True), where
    assert bundles() == []
    done = await commands.run("export", "--tree", str(tree.root))
    assert done.returncode == 4
    assert "has not written" in done.stderr
    for arguments in (("--to", "x.tar"), ("--part-size", "dvd"), ("--incomplete",), ("--only-part", "1")):
        done = await commands.run("export", "--tree", str(tmp_path / "www"), *arguments)
        assert done.returncode == 2
    assert names() == before
    assert files(tree.root) == theirs


async def test_a_full_disk_is_told_of_and_the_next_run_goes_on(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    with small_file_system(tmp_path / "small", "1m") as is_mounted:
        if not is_mounted:
            pytest.skip("only root mounts file systems")
        www = tmp_path / "small/www"
        with filled_up(tmp_path / "small"):
            full = await commands.run("export", "--tree", str(www))
        assert (full.returncode, "are free there" in full.stderr) == (1, True)
        assert files(www) == {}
        assert (await commands.run("export", "--tree", str(www))).returncode == 0
        assert files(www).keys() == listed(tree)
