"""What a bundle carries is served at once, whichever way it comes: as folders, archives, through a pipe."""

import asyncio
import json
from pathlib import Path

from support.bundles import contents_of, write_bundle, write_tar
from support.commands import Commands
from support.importing import (
    ACCEPTED,
    COMPLETE,
    FAILED,
    INCOMPLETE,
    INDEX,
    PRODUCT,
    REFUSED,
    USAGE,
    add,
    got,
    imported,
    piped,
    states,
)
from support.running import Service
from support.tree import SignedTree


async def test_a_bundle_is_served_by_a_running_server_at_once(
    commands: Commands, server: Service, tree: SignedTree, tmp_path: Path
) -> None:
    items = add(tree, "20250701")
    assert (await got(server, INDEX))[0] == 503
    folder = write_bundle(tmp_path / "usb", tree, contents_of(tree))

    code, summary, result = await imported(commands, folder)

    assert (code, states(summary)) == (COMPLETE, [(1, "served")]), result.stderr
    for path in (INDEX, items[0].path):
        assert await got(server, path) == (200, (tree.root / path).read_bytes())
    audit = commands.data / "audit.log"
    line = json.loads(audit.read_text().splitlines()[-1])
    assert (line["action"], line["what"], line["blobs"]) == ("import", "usb", 2)
    audit.unlink()
    audit.symlink_to("/dev/full")
    code, summary, result = await imported(commands, folder)
    assert (code, summary["held_files"], summary["taken_files"]) == (COMPLETE, 2, 0)
    assert "audit.not_written" in result.stderr


async def test_processes_that_import_the_same_at_once_all_find_it_served(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    add(tree, "20250701")
    bundle = write_bundle(tmp_path / "usb", tree, contents_of(tree))

    found = await asyncio.gather(*(imported(commands, bundle) for _ in range(4)))

    assert [(code, states(summary)) for code, summary, _ in found] == [(COMPLETE, [(1, "served")])] * 4
    assert sum(summary["taken_files"] for _, summary, _ in found) == 2


async def test_one_mirror_of_several_in_a_bundle_is_taken_alone(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    add(tree, "20250701")
    several = [contents_of(tree), contents_of(tree, mirror="elsewhere")]
    bundle = write_bundle(tmp_path / "both", tree, *several)

    code, summary, _ = await imported(commands, bundle)
    assert (code, states(summary)) == (REFUSED, [(1, "served")])
    assert "--mirror maas" in summary["refused"][0]["problem"]
    code, summary, result = await imported(commands, "--mirror", "maas", bundle)

    assert (code, states(summary)) == (COMPLETE, [(1, "served")]), result.stderr


async def test_archives_come_through_a_pipe_one_after_the_other(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    first = add(tree, "20250701")
    one = write_tar(tmp_path / "1.tar", write_bundle(tmp_path / "1", tree, contents_of(tree)))
    add(tree, "20250801")
    two = contents_of(tree, known=first, generation=2)
    parts = [
        write_tar(
            tmp_path / f"2-{number}.tar",
            write_bundle(tmp_path / f"2-{number}", tree, two, without=[missing.path]),
        )
        for number, missing in enumerate(tree.items[2:])
    ]

    code, summary, err = await piped(commands, one, *parts)

    assert (code, summary["refused"], summary["incomplete"]) == (COMPLETE, [], []), err
    assert states(summary) == [(1, "served"), (2, "served")]
    assert await commands.held(tree.items) == tree.items


async def test_an_archive_whose_items_come_first_is_read_from_a_file_and_kept_from_a_pipe(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    add(tree, "20250701")
    folder = write_bundle(tmp_path / "1", tree, contents_of(tree))
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert names[-1] == "oci-layout"
    backwards = write_tar(tmp_path / "1.tar", folder, names)
    code, summary, err = await piped(commands, backwards)
    assert (code, states(summary)) == (COMPLETE, [(1, "served")]), err
    code, summary, _ = await imported(commands, backwards)
    assert (code, states(summary), summary["held_files"]) == (COMPLETE, [(1, "served")], 2)


async def test_what_arrived_of_an_item_is_gone_on_with(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    small, large = add(tree, "20250701")
    large = tree.add_item(PRODUCT, "20250702", "squashfs", size=500_000)
    tree.publish()
    folder = write_bundle(tmp_path / "usb", tree, contents_of(tree))
    archive = write_tar(tmp_path / "usb.tar", folder)
    whole = archive.read_bytes()
    cut = whole.index(large.read()[:1000]) + 300_000

    code, summary, _ = await piped(commands, _cut(tmp_path, whole[:cut]))

    assert (code, states(summary)) == (INCOMPLETE, [(1, "served")])  # Something is better than nothing.
    partial = commands.data / "incoming" / large.digest
    status = partial.stat()
    assert status.st_size == 300_000
    code, summary, _ = await imported(commands, _cut(tmp_path, whole[:cut]))
    assert (code, [one["path"] for one in summary["incomplete"]]) == (INCOMPLETE, [str(tmp_path / "cut.tar")])
    code, summary, _ = await imported(commands, archive)
    assert (code, summary["taken_files"], summary["held_files"]) == (COMPLETE, 1, 2)
    assert commands.blob(large).stat().st_ino == status.st_ino
    assert await commands.held(tree.items) == tree.items
    assert small in tree.items


def _cut(folder: Path, data: bytes) -> Path:
    path = folder / "cut.tar"
    path.write_bytes(data)
    return path


async def test_what_does_not_fit_is_not_begun(commands: Commands, tree: SignedTree, tmp_path: Path) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs", size=2_000_000)
    tree.publish()
    folder = write_bundle(tmp_path / "usb", tree, contents_of(tree))
    settings = commands.config.read_text()
    commands.config.write_text(settings.replace('min_free = "0"', 'min_free = "0"\nlimit = "1 MiB"'))
    code, plan, rehearsal = await imported(commands, "--dry-run", folder)
    assert (code, "it does not fit" in rehearsal.stderr, plan["exit_code"]) == (FAILED, True, FAILED)
    assert "it does NOT fit" in (await commands.run("import", "--dry-run", str(folder))).stdout
    assert plan["lacking_bytes"] > 900_000
    code, _, result = await imported(commands, folder)
    assert (code, "it does not fit" in result.stderr, "Traceback" in result.stderr) == (FAILED, True, False)
    assert not list((commands.data / "incoming").iterdir())
    assert not (commands.data / ACCEPTED).exists()


async def test_usage_is_told(commands: Commands, tree: SignedTree, tmp_path: Path) -> None:
    add(tree, "20250701")
    folder = write_bundle(tmp_path / "usb", tree, contents_of(tree, mirror="other"))
    code, summary, _ = await imported(commands, folder)
    assert (code, "there are: maas (trust gpg)" in summary["refused"][0]["problem"]) == (REFUSED, True)
    code, summary, _ = await imported(commands, folder, "--mirror", "maas")
    assert (code, states(summary)) == (COMPLETE, [(1, "served")])
    code, summary, _ = await imported(commands, tree.root)
    assert (code, "take it with --tree" in summary["refused"][0]["problem"]) == (REFUSED, True)
    code, _, result = await imported(commands, "--tree", folder)
    assert (code, "leave --tree out" in result.stdout) == (REFUSED, True)
    for wrong in ([tmp_path / "nothing"], [folder, "--mirror", "x"], ["-", "--dry-run"], []):
        code, _, result = await imported(commands, *wrong)
        assert (code, "Traceback" in result.stderr) == (USAGE, False)
