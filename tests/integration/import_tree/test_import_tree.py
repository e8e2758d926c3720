"""`import --tree`: what sstream-mirror, rsync or wget left becomes what the cache serves."""

import asyncio
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.audit import take_stock
from support.commands import Commands, events
from support.exchange import read
from support.failing_disk import small_file_system
from support.importing import COMPLETE, FAILED, INCOMPLETE, REFUSED, USAGE
from support.keys import SigningKey
from support.left_trees import INDEX, PRODUCT, Copy, Nowhere, add, taken
from support.origin import Origin
from support.serving import run_service
from support.tree import SignedTree, TreeItem
from yarl import URL

from proxy.bundles.contents import Contents, File, write_contents
from proxy.config.load import load_config
from proxy.digest import digest_of
from proxy.documents.records import trouble_of
from proxy.jobs.importing.activating import Activation
from proxy.jobs.importing.outcomes import Outcome, Report, State
from proxy.runtime import open_runtime
from proxy.sources.carried.import_origin import ImportOrigin

LIST = "streams/v1/com.ubuntu.maas:stable:v3:download.sjson"


def kinds(summary: dict[str, Any]) -> dict[str, list[str]]:
    return {kind: [one["path"] for one in found["paths"]] for kind, found in summary["leftovers"].items()}


async def ready(commands: Commands, *filters: str) -> int:
    return (await commands.run("ready", *filters)).returncode


async def test_what_sstream_mirror_left_is_served_without_being_copied(
    commands: Commands, items: list[TreeItem], copy: Copy
) -> None:
    left = copy()
    code, summary, result = await taken(commands, left)
    assert code == COMPLETE, result.stderr
    assert [one["state"] for one in summary["generations"]] == ["served"]
    assert (summary["taken_files"], summary["copied_files"]) == (len(items), 0)
    assert kinds(summary) == {"hint": [".data/references.json"]}
    assert await commands.held(items) == items
    if summary["linked_files"]:
        assert all(commands.blob(one).samefile(left / one.path) for one in items)
    assert await ready(commands, f"product_name={PRODUCT}") == 0

    (left / f"{items[0].path}.part").write_bytes(b"broken off, and begun anew")
    code, summary, _ = await taken(commands, left)
    assert (code, summary["taken_files"], summary["held_files"]) == (COMPLETE, 0, len(items))
    assert kinds(summary)["part"] == [f"{items[0].path}.part"]


async def test_files_are_found_by_their_bytes_wherever_they_lie(
    commands: Commands, items: list[TreeItem], copy: Copy
) -> None:
    left = copy()
    squashfs, kernel, initrd = (left / one.path for one in items)
    squashfs.rename(left / "renamed")
    (left / "deep/er").mkdir(parents=True)
    kernel.rename(left / "deep/er" / kernel.name.replace("boot", "bo%3Aot"))
    initrd.rename(initrd.with_name(f"{initrd.name}.part"))
    (left / LIST).rename(left / LIST.replace(":", "%3A"))
    assert (await taken(commands, left.parent.parent))[0] == REFUSED  # There is upstream's tree, too.
    code, summary, result = await taken(commands, left.parent)
    assert code == COMPLETE, result.stderr
    assert summary["folder"] == str(left)
    assert await commands.held(items) == items


async def test_what_is_damaged_is_told_by_kind_and_the_rest_is_taken(
    commands: Commands, items: list[TreeItem], copy: Copy
) -> None:
    left = copy()
    squashfs, kernel, initrd = (left / one.path for one in items)
    squashfs.write_bytes(squashfs.read_bytes()[:-1] + b"?")
    kernel.write_bytes(kernel.read_bytes()[:-1])
    (left / "a-link").symlink_to(initrd)
    (left / "notes").write_bytes(b"")
    older = items[0].path.replace("20250701", "20250601.1")
    (left / older).parent.mkdir()
    (left / older).write_bytes(b"of an older generation")
    os.mkfifo(left / "fifo")
    (left / "streams/v1/other.sjson").write_text("not a document of this mirror")
    code, summary, result = await taken(commands, left)
    assert code == INCOMPLETE, result.stderr
    assert kinds(summary) == {
        "wrong_hash": [items[0].path],
        "wrong_size": [items[1].path],
        "link": ["a-link"],
        "other": ["fifo"],
        "document": ["streams/v1/other.sjson"],
        "unlisted": ["notes"],
        "other_generation": [older],
        "hint": [".data/references.json"],
    }
    assert [one["path"] for one in summary["generations"][0]["missing"]] == sorted(
        one.path for one in items[:2]
    )
    assert await commands.held(items) == items[2:]

    good = copy()
    code, summary, _ = await taken(commands, good)
    assert (code, summary["taken_files"]) == (COMPLETE, 2)


async def test_a_newer_tree_waits_until_what_is_selected_is_complete(
    commands: Commands, tree: SignedTree, items: list[TreeItem], copy: Copy
) -> None:
    assert (await taken(commands, copy()))[1]["taken_files"] == len(items)
    newer = add(tree, "20250801")
    left = copy()
    lost = left / newer[0].path
    data = lost.read_bytes()
    lost.unlink()
    code, summary, result = await taken(commands, left, "version_name=20250801")
    assert (code, summary["generations"][0]["state"]) == (INCOMPLETE, "waiting"), result.stderr
    assert await ready(commands, "version_name=20250801") != 0
    assert await ready(commands, f"product_name={PRODUCT}") == 0

    lost.write_bytes(data)
    code, summary, _ = await taken(commands, left, "version_name=20250801")
    assert (code, summary["generations"][0]["state"]) == (COMPLETE, "served")
    assert await ready(commands, "version_name=20250801") == 0


async def test_an_older_tree_is_refused_and_its_wanted_files_are_taken(
    commands: Commands, tree: SignedTree, items: list[TreeItem], copy: Copy
) -> None:
    old = copy().rename(copy().with_name("old"))
    add(tree, "20250801")
    newer = copy()
    shutil.rmtree(newer / Path(items[0].path).parent)
    assert (await taken(commands, newer))[0] == COMPLETE

    code, summary, _ = await taken(commands, old)
    assert (code, summary["taken_files"]) == (INCOMPLETE, len(items))
    assert "older" in summary["only_blobs"]
    assert await commands.held(items) == items
    assert (await taken(commands, old, "version_name=20250801"))[0] == REFUSED

    code, summary, result = await taken(commands, old, "--accept-older")
    assert (code, summary["generations"][0]["is_new"]) == (COMPLETE, True), result.stderr
    assert "import" in (commands.data / "audit.log").read_text()


async def test_an_unsigned_tree_gives_files_that_accepted_lists_name(
    commands: Commands, items: list[TreeItem], copy: Copy, tree: SignedTree
) -> None:
    left = copy()
    signed = left.parent / "signed"
    shutil.copytree(left / "streams", signed / "streams")
    for path in (left / "streams/v1").iterdir():
        path.unlink()
    for path in (tree.root / "streams/v1").glob("*.json"):
        shutil.copy(path, left / "streams/v1")
    code, summary, _ = await taken(commands, left)
    assert (code, summary["taken_files"]) == (REFUSED, 0)

    assert (await taken(commands, signed))[0] == COMPLETE
    code, summary, _ = await taken(commands, left)
    assert (code, summary["taken_files"]) == (COMPLETE, len(items))
    assert summary["only_blobs"] == "its lists are not signed"
    assert take_stock(commands.data).pinned >= {one.digest for one in items}
    (left.parent / "empty").mkdir()  # A disk that is not mounted, say.
    code, summary, _ = await taken(commands, left.parent / "empty")
    assert (code, summary["taken_files"]) == (REFUSED, 0)


async def test_lists_signed_by_a_stranger_are_refused(
    commands: Commands, tree: SignedTree, items: list[TreeItem], copy: Copy, stranger: SigningKey
) -> None:
    left = copy()
    (left / INDEX).write_bytes(stranger.clearsign((tree.root / "streams/v1/index.json").read_bytes()))
    code, summary, _ = await taken(commands, left)
    assert (code, summary["taken_files"], await commands.held(items)) == (REFUSED, 0, [])


async def test_a_half_updated_tree_changes_nothing_that_is_served(
    commands: Commands, tree: SignedTree, items: list[TreeItem], copy: Copy
) -> None:
    assert (await taken(commands, copy()))[0] == COMPLETE
    newer = add(tree, "20250801")
    left = copy()
    (left / LIST).unlink()
    code, summary, _ = await taken(commands, left)
    assert code == INCOMPLETE
    assert "half updated" in summary["only_blobs"]
    assert await ready(commands, f"product_name={PRODUCT}") == 0
    assert await commands.held(newer) == []
    assert items


async def test_a_tree_of_a_server_is_fetched(
    tree: SignedTree, items: list[TreeItem], tmp_path: Path, keyring: Path
) -> None:
    commands = Commands(tmp_path, Nowhere(), keyring)
    async with Origin(tree.root) as server:
        code, _, result = await taken(commands, f"{server.url}streams/v1", "maas", f"product_name={PRODUCT}")
    assert code == COMPLETE, result.stderr
    assert await commands.held(items) == items


@pytest.mark.parametrize("how", ["configured", "switched"])
async def test_a_site_that_is_offline_fetches_what_its_own_server_has(
    tree: SignedTree, items: list[TreeItem], tmp_path: Path, keyring: Path, how: str
) -> None:
    commands = Commands(tmp_path, Nowhere(), keyring)
    if how == "configured":
        commands.config.write_text(f"offline = true\n{commands.config.read_text()}")
    else:
        assert (await commands.run("offline", "on")).returncode == 0
    for one in items[:2]:
        one.data_path.unlink()
    async with Origin(tree.root) as server:
        result = await commands.run("import", "--tree", server.url)
        assert result.returncode == INCOMPLETE, result.stderr
        assert not [one for one in result.stdout.splitlines() if one.startswith("FAILED ")]
        (line,) = (one for one in result.stderr.splitlines() if "not complete" in one)
        assert "2 files that the lists name" in line
        assert all(one.path in line for one in items[:2])
        assert await commands.held(items) == items[2:]

        code, _, result = await taken(commands, server.url)
        absent = events(result)["absent"]
        assert (code, absent["event"], absent["files"]) == (INCOMPLETE, "absent", 2)
        assert absent["paths"] == sorted(one.path for one in items[:2])
        assert (await taken(commands, server.url, f"path={items[2].path}"))[0] == COMPLETE
    assert await ready(commands, f"path={items[2].path}") == 0
    assert (await commands.run("prefetch", f"path={items[0].path}")).returncode == INCOMPLETE


async def test_a_tree_that_does_not_fit_is_refused_before_anything_is_taken(
    commands: Commands, items: list[TreeItem], tree: SignedTree, tmp_path: Path
) -> None:
    with small_file_system(tmp_path / "data", "1m") as is_mounted:
        if not is_mounted:
            pytest.skip("only root mounts file systems")
        for number in range(4):
            tree.add_item(PRODUCT, "20250801", f"large{number}", size=400_000)
        tree.publish()
        code, _, result = await taken(commands, tree.root)
        assert (code, "it does not fit" in result.stderr) == (FAILED, True), result.stderr
        assert await commands.held(tree.items) == []
        assert (await taken(commands, tree.root, "version_name=20250701"))[0] == COMPLETE
        assert await commands.held(tree.items) == items


async def test_what_is_wrong_with_a_server_is_told_and_not_held_against_upstream(
    commands: Commands, tree: SignedTree, items: list[TreeItem], stranger: SigningKey
) -> None:
    dead = await commands.run("import", "--tree", Nowhere.url)
    assert (dead.returncode, "cannot connect" in dead.stderr) == (FAILED, True), dead.stderr
    for scheme in ("ftp", "rsync"):
        assert (await commands.run("import", "--tree", f"{scheme}://127.0.0.1/x")).returncode == USAGE
    async with Origin(tree.root) as server:
        good = (tree.root / INDEX).read_bytes()
        (tree.root / INDEX).write_bytes(
            stranger.clearsign((tree.root / "streams/v1/index.json").read_bytes())
        )
        refused = await commands.run("import", "--tree", server.url)
        assert (refused.returncode, "REFUSED" in refused.stderr) == (REFUSED, True), refused.stderr
        (tree.root / INDEX).write_bytes(good)
        old = {path: path.read_bytes() for path in (tree.root / "streams/v1").iterdir()}
        newer = add(tree, "20250801")
        assert (await taken(commands, server.url))[0] == COMPLETE
        for path, data in old.items():
            path.write_bytes(data)
        older = await commands.run("import", "--tree", server.url)
        assert (older.returncode, "--accept-older" in older.stderr) == (REFUSED, True), older.stderr
    assert await commands.held([*items, *newer]) == [*items, *newer]

    assert (await commands.in_ledger(lambda ledger: trouble_of(ledger, "maas"))).failures == 0


async def test_a_tree_whose_lists_are_being_written_is_not_refused_but_incomplete(
    commands: Commands, items: list[TreeItem], copy: Copy
) -> None:
    left = copy()
    (left / INDEX).unlink()
    (left / INDEX).symlink_to("index.sjson")
    code, summary, result = await taken(commands, left)
    assert items
    assert (code, summary["taken_files"]) == (INCOMPLETE, 0), result.stderr


async def test_what_another_import_has_served_meanwhile_does_not_wait(
    commands: Commands, items: list[TreeItem], copy: Copy
) -> None:
    assert (await taken(commands, copy()))[1]["taken_files"] == len(items)
    origins, report = {"maas": ImportOrigin()}, Report()
    config = await asyncio.to_thread(load_config, commands.config, {})
    async with open_runtime(config, carried=origins) as cache:
        generation = (await cache.edition("maas")).generation
        served = tuple(
            File(path=path, sha256=one.digest, size=one.item.size_bytes)
            for path, one in generation.documents.items()
        )
        for documents in (served, (replace(served[0], sha256=items[0].digest), *served[1:])):
            contents = Contents(
                mirror="maas",
                generation=0,
                index_path=generation.index_path,
                accepted_at=generation.accepted_at,
                written_by="another import",
                selection="",
                documents=documents,
                items=(),
            )
            digest = digest_of(write_contents(contents))
            outcome = Outcome(mirror="maas", bundle="", contents=contents, digest=digest, state=State.WAITING)
            report.outcomes.append(outcome)
        await Activation(cache, origins, report, 0.0, is_forced=False).serve_complete("maas")
    assert [one.state for one in report.outcomes] == [State.SERVED, State.REPLACED]


async def test_a_tree_without_the_plain_flavours_replaces_one_that_had_them(
    commands: Commands, tree: SignedTree, items: list[TreeItem], copy: Copy
) -> None:
    code, summary, _ = await taken(commands, tree.root)
    assert (code, summary["taken_files"]) == (COMPLETE, len(items))
    add(tree, "20250801")
    code, summary, result = await taken(commands, copy())
    assert (code, summary["generations"][0]["state"]) == (COMPLETE, "served"), result.stderr
    assert await ready(commands, "version_name=20250801") == 0


@pytest.mark.usefixtures("items")
async def test_the_same_lists_without_the_plain_flavours_take_none_from_clients(
    commands: Commands, tree: SignedTree, copy: Copy
) -> None:
    assert (await taken(commands, tree.root))[0] == COMPLETE
    before = await commands.run("inventory")

    code, summary, result = await taken(commands, copy())

    assert (code, summary["generations"][0]["state"]) == (COMPLETE, "served"), result.stderr
    after = await commands.run("inventory")
    assert "  streams/v1/index.json\n" in before.stdout
    assert after.stdout == before.stdout
    assert (await commands.run("import", "--waiting")).returncode == COMPLETE


async def test_the_same_lists_do_not_wait_for_items_that_another_tree_lacks(
    commands: Commands, tree: SignedTree, items: list[TreeItem], copy: Copy
) -> None:
    assert (await taken(commands, tree.root))[0] == COMPLETE
    await commands.run("purge", f"path={items[0].path}")
    left = copy()
    (left / items[0].path).unlink()

    code, summary, _ = await taken(commands, left, "maas", "version_name=20250701")

    assert (code, summary["generations"][0]["state"]) == (INCOMPLETE, "served")
    assert [one["path"] for one in summary["generations"][0]["missing"]] == [items[0].path]


async def test_a_tree_of_another_stream_is_refused(
    commands: Commands, items: list[TreeItem], copy: Copy, tmp_path: Path, key: SigningKey
) -> None:
    assert (await taken(commands, copy()))[1]["taken_files"] == len(items)
    other = SignedTree(tmp_path / "candidate", key)
    other.add_item(PRODUCT, "20250801", "squashfs", content_id="com.ubuntu.maas:candidate:v3:download")
    other.publish()
    code, summary, _ = await taken(commands, other.root)
    assert (code, "another stream" in summary["only_blobs"]) == (REFUSED, True)


async def test_a_running_server_serves_what_was_taken_at_once(
    commands: Commands, tree: SignedTree, items: list[TreeItem], copy: Copy
) -> None:
    settings = 'listen = ["127.0.0.1:0"]\nworkers = 1\n'
    commands.config.write_text(settings + commands.config.read_text())
    async with run_service(commands.config) as server:
        assert (await read(URL(f"{server.base}/m/{INDEX}"))).status == 503
        assert (await taken(commands, copy()))[0] == COMPLETE
        for path in (INDEX, items[0].path):
            reply = await read(URL(f"{server.base}/m/{path}"))
            assert (reply.status, reply.body) == (200, (tree.root / path).read_bytes())


async def test_where_servers_are_trusted_a_folder_proves_nothing(
    commands: Commands, items: list[TreeItem], copy: Copy
) -> None:
    text = commands.config.read_text().replace(
        '"http://127.0.0.1:9/"]', '"https://127.0.0.1:9/"]\ntrust = "tls"'
    )
    lines = [line for line in text.splitlines() if not line.startswith("keyring")]
    commands.config.write_text("\n".join(lines))
    code, summary, result = await taken(commands, copy())
    assert code == REFUSED, result.stderr
    assert "trusts its servers" in summary["only_blobs"]
    assert await commands.held(items) == []


def state(folder: Path) -> dict[Path, tuple[int, int]]:
    """Return the files in a folder, and when each was written last, with its mode."""
    files = [one for one in folder.rglob("*") if one.is_file()]  # Who reads SQLite changes its folder.
    return {one: (one.lstat().st_mtime_ns, one.lstat().st_mode) for one in files}
