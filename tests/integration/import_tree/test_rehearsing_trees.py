"""What `import --tree --dry-run` says: what would be taken, whether it fits, and what would be served."""

import asyncio
import os
from pathlib import Path

import pytest
from support.commands import Commands
from support.failing_disk import filled_up, small_file_system
from support.importing import COMPLETE, FAILED, INCOMPLETE, REFUSED, USAGE
from support.keys import SigningKey
from support.left_trees import INDEX, PRODUCT, Copy, add, taken
from support.origin import Origin
from support.tree import SignedTree, TreeItem


def state(folder: Path) -> dict[Path, tuple[int, int]]:
    """Return the files in a folder, and when each was written last, with its mode."""
    files = [one for one in folder.rglob("*") if one.is_file()]  # Who reads SQLite changes its folder.
    return {one: (one.lstat().st_mtime_ns, one.lstat().st_mode) for one in files}


async def test_a_rehearsal_tells_what_an_import_takes_and_changes_nothing(
    commands: Commands, items: list[TreeItem], copy: Copy, tmp_path: Path
) -> None:
    left = copy()
    before = await asyncio.to_thread(state, tmp_path)
    code, plan, result = await taken(commands, left, "--dry-run")
    text = await commands.run("import", "--tree", str(left), "--dry-run")
    assert await asyncio.to_thread(state, tmp_path) == before
    assert (code, plan["event"], plan["taken_files"]) == (COMPLETE, "plan", len(items)), result.stderr
    assert [one["state"] for one in plan["generations"]] == ["served"]
    assert text.stdout.startswith("nothing is written; an import would come to this:\n")
    assert f"would take {len(items)} files (8.8 KiB) by name and size; 0 files were here" in text.stdout
    assert "it fits: " in text.stdout
    assert text.stderr == ""

    _, summary, _ = await taken(commands, left)
    for told in ("taken_files", "taken_bytes", "held_files", "leftovers"):
        assert summary[told] == plan[told]
    before = await asyncio.to_thread(state, commands.data)
    code, plan, _ = await taken(commands, left, "--dry-run")
    assert (code, plan["taken_files"], plan["held_files"]) == (COMPLETE, 0, len(items))
    assert {one["state"] for one in plan["generations"]} == {"served"}
    assert await asyncio.to_thread(state, commands.data) == before


async def test_a_rehearsal_tells_what_is_missing_what_is_doubtful_and_what_is_refused(
    commands: Commands, items: list[TreeItem], copy: Copy, stranger: SigningKey, tree: SignedTree
) -> None:
    left = copy()
    squashfs, kernel, initrd = (left / one.path for one in items)
    squashfs.rename(left / "renamed")
    kernel.write_bytes(kernel.read_bytes()[:-10])
    code, plan, _ = await taken(commands, left, "--dry-run")
    assert (code, plan["taken_files"], plan["doubtful_files"]) == (INCOMPLETE, 1, 1)
    # It is incomplete, and what is served before is nothing at all.
    assert [one["state"] for one in plan["generations"]] == ["served"]
    assert [one["path"] for one in plan["missing"]] == [items[1].path]
    assert initrd.exists()
    told = await commands.run("import", "--tree", str(left), "--dry-run")
    assert "1 more file has a size that lists want: the import hashes them to know" in told.stdout

    (left / INDEX).write_bytes(stranger.clearsign((tree.root / "streams/v1/index.json").read_bytes()))
    code, plan, _ = await taken(commands, left, "--dry-run")
    assert (code, plan["event"], plan["taken_files"]) == (REFUSED, "plan", 0)
    assert "would take 0 files" in (await commands.run("import", "--tree", str(left), "--dry-run")).stdout
    assert (await taken(commands, "http://127.0.0.1:9/", "--dry-run"))[0] == FAILED
    assert (await taken(commands, left, "--waiting"))[0] == USAGE
    assert not commands.data.exists()


async def test_a_rehearsal_tells_what_a_server_would_be_asked_for_and_changes_nothing(
    commands: Commands, items: list[TreeItem], tree: SignedTree, stranger: SigningKey
) -> None:
    """Offline as well; no item is asked for."""
    async with Origin(tree.root) as server:
        code, plan, result = await taken(commands, server.url, "--dry-run")
        assert (code, plan["event"], plan["missing_items"]) == (COMPLETE, "plan", len(items)), result.stderr
        assert plan["fetch_bytes"] == sum(one.size for one in items)
        text = await commands.run("import", "--tree", server.url, "--dry-run", f"path={items[0].path}")
        first, about, *_ = text.stdout.splitlines()
        assert first == (
            "nothing is written; an import would come to this, if the server has all that its lists name:"
        )
        assert about == f"from maas: path={items[0].path}"
        assert not commands.data.exists()
        assert [server.count(one.path) for one in items] == [0] * len(items)

        assert (await taken(commands, server.url, f"path={items[0].path}"))[0] == COMPLETE
        newer = add(tree, "20250801")
        before = await asyncio.to_thread(state, commands.data)
        code, plan, _ = await taken(commands, server.url, "--dry-run")
        assert (code, plan["items"]) == (COMPLETE, len(items) + len(newer))
        assert plan["missing_items"] == len(items) + len(newer) - 1
        assert await asyncio.to_thread(state, commands.data) == before

        (tree.root / INDEX).write_bytes(
            stranger.clearsign((tree.root / "streams/v1/index.json").read_bytes())
        )
        assert (await taken(commands, server.url, "--dry-run"))[0] == REFUSED
        assert await asyncio.to_thread(state, commands.data) == before


async def test_a_rehearsal_without_room_for_its_copy_does_not_blame_the_data_directory_alone(
    commands: Commands, items: list[TreeItem], copy: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await taken(commands, copy()))[1]["taken_files"] == len(items)
    apart = tmp_path / "apart"
    monkeypatch.setenv("TMPDIR", str(apart))
    with small_file_system(apart, "1m") as is_mounted:
        if not is_mounted:
            pytest.skip("nothing can be mounted here")
        with filled_up(apart):
            os.truncate(apart / "ballast", 1024 * 1024 - 16 * 1024)
            code, _, result = await taken(commands, copy(), "--dry-run")
        assert list(apart.iterdir()) == []
    assert code == FAILED
    assert result.stderr.startswith(f"Error: an import is rehearsed in {apart}/")
    assert f"a copy of what {commands.data} knows, and that fails: " in result.stderr
    assert result.stderr.endswith("; $TMPDIR names another folder for the copy\n")


async def test_a_rehearsal_tells_that_a_tree_does_not_fit(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    settings = commands.config.read_text()
    commands.config.write_text(settings.replace('min_free = "0"', 'min_free = "0"\nlimit = "1 MiB"'))
    for number in range(3):
        tree.add_item(PRODUCT, "20250801", f"large{number}", size=400_000)
    tree.publish()
    code, plan, result = await taken(commands, tree.root, "--dry-run")
    assert (code, 0 < plan["lacking_bytes"] < 400_000) == (FAILED, True)
    assert "lacking ([cache] limit allows no more): raise [cache] limit" in result.stderr
    assert not (tmp_path / "data").exists()

    code, _, result = await taken(commands, tree.root)
    assert (code, "it does not fit" in result.stderr) == (FAILED, True), result.stderr
    assert await commands.held(tree.items) == []


async def test_what_needs_no_room_fits_on_a_disk_that_is_as_full_as_it_may_be(
    commands: Commands, items: list[TreeItem], copy: Copy
) -> None:
    """Links, and what is here already: rehearsed, imported from a tree, and prefetched."""
    settings = commands.config.read_text()
    commands.config.write_text(settings.replace('min_free = "0"', 'min_free = "900000 TiB"'))
    left = copy()
    for options in (("--dry-run",), (), ("--dry-run",)):
        code, _, result = await taken(commands, left, *options)
        assert code == COMPLETE, result.stderr
    assert await commands.held(items) == items

    commands.config.write_text(commands.config.read_text().replace("offline = true", "offline = false"))
    again = await commands.run("prefetch")
    assert "does not fit" not in again.stderr
    assert "fetched 0 B in 0 items" in again.stdout
