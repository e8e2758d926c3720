"""What `import --dry-run` says: what would be taken, whether that fits, and what would be served by it."""

import asyncio
from pathlib import Path

from support.bundles import contents_of, write_bundle
from support.commands import Commands
from support.importing import COMPLETE, FAILED, INCOMPLETE, PRODUCT, REFUSED, add, imported, states
from support.tree import SignedTree


async def test_a_rehearsal_tells_what_an_import_would_take_and_writes_nothing(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    first = add(tree, "20250701")
    old = write_bundle(tmp_path / "1", tree, contents_of(tree))
    add(tree, "20250801")
    new = write_bundle(tmp_path / "2", tree, contents_of(tree, known=first, generation=2))
    code, summary, result = await imported(commands, "--dry-run", new)
    # It is incomplete, and what is served before is nothing at all.
    assert (code, states(summary), summary["taken_files"]) == (INCOMPLETE, [(2, "served")], 2), result.stderr
    assert not commands.data.exists()

    await imported(commands, old, new)
    before = await asyncio.to_thread(_files_and_times, commands.data)
    code, summary, _ = await imported(commands, "--dry-run", old)

    assert (code, states(summary), summary["event"]) == (REFUSED, [(1, "older")], "plan")
    assert await asyncio.to_thread(_files_and_times, commands.data) == before


def _files_and_times(folder: Path) -> dict[Path, int]:
    return {one: one.stat().st_mtime_ns for one in folder.rglob("*") if one.is_file()}


async def test_a_rehearsal_tells_which_waiting_generations_would_be_served_and_which_would_wait_still(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    first = add(tree, "20250701")
    await imported(commands, write_bundle(tmp_path / "1", tree, contents_of(tree)))
    lost, _ = add(tree, "20250801")
    contents = contents_of(tree, generation=2)
    cut = write_bundle(tmp_path / "2-cut", tree, contents, without=[lost.path])
    whole = write_bundle(tmp_path / "2", tree, contents)
    await imported(commands, cut)
    other = add(tree, "20250901")
    three = contents_of(tree, [*first, *other], generation=3)
    newer_cut = write_bundle(tmp_path / "3-cut", tree, three, without=[other[0].path])
    with_lost = write_bundle(tmp_path / "4", tree, contents_of(tree, generation=4), without=[other[0].path])

    _, summary, _ = await imported(commands, "--dry-run", newer_cut)
    assert (states(summary), [one["missing_bytes"] for one in summary["left_waiting"]]) == (
        [(3, "waiting")],
        [lost.size],
    )
    text = (await commands.run("import", "--dry-run", str(newer_cut))).stdout
    assert "would take 1 file" in text
    assert "which has waited since" in text
    assert "waits still" in text

    _, summary, _ = await imported(commands, "--dry-run", with_lost)
    assert (states(summary), summary["left_waiting"]) == ([(4, "waiting"), (2, "served")], [])
    assert [one["waited_since"] is None for one in summary["generations"]] == [True, False]
    code, summary, _ = await imported(commands, "--dry-run", whole)
    assert (code, states(summary), summary["left_waiting"]) == (COMPLETE, [(2, "served")], [])


async def test_a_rehearsal_counts_what_is_kept_in_the_store(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    settings = commands.config.read_text()
    commands.config.write_text(settings.replace('min_free = "0"', 'min_free = "0"\nlimit = "1 MiB"'))
    first = tree.add_item(PRODUCT, "20250701", "squashfs", size=600_000)
    tree.publish()
    one = write_bundle(tmp_path / "1", tree, contents_of(tree))
    assert (await imported(commands, "--dry-run", one))[0] == COMPLETE
    assert (await imported(commands, one))[0] == COMPLETE
    tree.add_item(PRODUCT, "20250801", "squashfs", size=500_000)
    tree.publish()
    two = write_bundle(tmp_path / "2", tree, contents_of(tree, known=[first], generation=2))

    code, plan, _ = await imported(commands, "--dry-run", two)

    assert (code, 0 < plan["lacking_bytes"] < 500_000, plan["taken_bytes"]) == (FAILED, True, 500_000)
