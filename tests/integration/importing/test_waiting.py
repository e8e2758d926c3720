"""Generations that wait for a part or an earlier bundle, what is served meanwhile, and older bundles."""

import asyncio
import html
import json
from pathlib import Path
from typing import Any

from support.bundles import contents_of, write_bundle, write_tar
from support.commands import Commands, Result
from support.exchange import read
from support.importing import (
    ACCEPTED,
    COMPLETE,
    INCOMPLETE,
    INDEX,
    PRODUCT,
    REFUSED,
    USAGE,
    add,
    got,
    imported,
    states,
)
from support.running import Service
from support.tree import SignedTree
from yarl import URL

from proxy.digest import digest_of
from proxy.store.local.store import LocalStore
from proxy.store.pins import Pins


async def test_parts_come_in_any_order_and_a_generation_waits_for_the_last(
    commands: Commands, server: Service, tree: SignedTree, tmp_path: Path
) -> None:
    first = add(tree, "20250701")
    write_bundle(tmp_path / "full", tree, contents_of(tree))
    await imported(commands, tmp_path / "full")
    before = await got(server, INDEX)
    second = add(tree, "20250801")
    contents = contents_of(tree, known=first, generation=2)
    parts = [
        write_tar(
            tmp_path / f"{number}.tar",
            write_bundle(tmp_path / f"{number}", tree, contents, without=[missing.path]),
        )
        for number, missing in enumerate(second)
    ]

    code, summary, _ = await imported(commands, parts[1])

    assert (code, states(summary)) == (INCOMPLETE, [(2, "waiting")])
    assert [one["path"] for one in summary["generations"][0]["missing"]] == [second[1].path]
    assert await got(server, INDEX) == before
    ready = await commands.run("ready")
    assert (ready.returncode, "generation 2 of maas" in ready.stderr) == (0, True), ready.stderr
    stats = json.loads((await commands.run("stats", "--json")).stdout)
    [one] = stats["mirrors"]["maas"]["waiting"]
    assert (one["generation"], one["missing_files"], one["missing_bytes"]) == (2, 1, second[1].size)
    assert any("generation 2" in problem["text"] for problem in stats["problems"])
    code, summary, _ = await imported(commands, parts[0])
    assert (code, states(summary)) == (COMPLETE, [(2, "served")])
    assert await got(server, INDEX) == (200, (tree.root / INDEX).read_bytes())
    assert await commands.held(tree.items) == tree.items
    stats = json.loads((await commands.run("stats", "--json")).stdout)
    assert stats["mirrors"]["maas"]["waiting"] == []


async def test_bundles_in_odd_order_are_served_once_the_gap_is_closed(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    items = add(tree, "20250701")
    write_bundle(tmp_path / "1", tree, contents_of(tree))
    await imported(commands, tmp_path / "1")
    for number in (2, 3):
        more = add(tree, f"2025080{number}")
        write_bundle(tmp_path / f"{number}", tree, contents_of(tree, known=items, generation=number))
        items += more

    code, summary, result = await imported(commands, tmp_path / "3")
    assert (code, states(summary)) == (INCOMPLETE, [(3, "waiting")])
    code, summary, result = await imported(commands, tmp_path / "2")

    assert (code, states(summary)) == (COMPLETE, [(2, "served"), (3, "served")]), result.stdout
    accepted = json.loads((commands.data / ACCEPTED).read_text())
    assert accepted["documents"][INDEX]["digest"] == digest_of((tree.root / INDEX).read_bytes())
    code, summary, _ = await imported(commands, tmp_path / "1")
    assert (code, states(summary)) == (REFUSED, [(1, "older")])
    code, summary, _ = await imported(commands, tmp_path)  # All of them on one stick, once more.
    assert (code, states(summary)) == (COMPLETE, [(1, "superseded"), (2, "superseded"), (3, "served")])
    code, summary, _ = await imported(commands, "--dry-run", tmp_path)
    assert (code, [one["is_new"] for one in summary["generations"]]) == (COMPLETE, [False] * 3)
    code, summary, _ = await imported(commands, tmp_path / "1", "--accept-older")
    assert (code, states(summary)) == (COMPLETE, [(1, "served")])


async def test_what_waits_is_tried_again_without_a_bundle(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    await commands.run("offline", "off")  # Makes the data directory, and asks no origin.
    assert (await commands.run("import", "--waiting")).stdout == "nothing that was imported waits\n"
    first = add(tree, "20250701")
    await imported(commands, write_bundle(tmp_path / "1", tree, contents_of(tree)))
    for number in (2, 3):
        more = add(tree, f"2025080{number}")
        contents = contents_of(tree, first + more, generation=number)
        bundle = write_bundle(tmp_path / f"{number}", tree, contents, without=[more[0].path])
        await imported(commands, bundle)
        if number == 2:
            lost = more[0]

    code, summary, _ = await imported(commands, "--waiting")
    assert (code, states(summary)) == (INCOMPLETE, [(2, "waiting"), (3, "waiting")])
    assert [one["path"] for one in summary["generations"][0]["missing"]] == [lost.path]

    data = await asyncio.to_thread((tree.root / lost.path).read_bytes)
    await asyncio.to_thread(LocalStore(commands.data).put, data)  # Whoever brings it.
    told = (await commands.run("ready")).stderr
    assert "generation 2 of maas" in told.splitlines()[0]
    assert "`import --waiting` serves it" in told.splitlines()[0]
    code, summary, _ = await imported(commands, "--waiting")
    assert (code, states(summary)) == (INCOMPLETE, [(2, "served"), (3, "waiting")])

    code, summary, _ = await imported(commands, "--waiting", "--activate")
    assert (code, states(summary)) == (INCOMPLETE, [(3, "served")])
    code, summary, _ = await imported(commands, "--waiting")
    assert (code, states(summary)) == (COMPLETE, [])
    assert (await commands.run("import", "--waiting", str(tmp_path / "1"))).returncode == USAGE


async def test_pages_and_commands_tell_what_waits_and_since_when(
    commands: Commands, server: Service, tree: SignedTree, tmp_path: Path
) -> None:
    add(tree, "20250701")
    await imported(commands, write_bundle(tmp_path / "1", tree, contents_of(tree)))
    lost, _ = add(tree, "20250801")
    contents = contents_of(tree, generation=2)
    await imported(commands, write_bundle(tmp_path / "cut", tree, contents, without=[lost.path]))
    text = "has generation 2 of", "(cut), which has waited since 20", "for 1 file (2.9 KiB)"
    for page in ("/-/releases", "/-/"):
        reply = await read(URL(f"{server.base}{page}"))
        told = html.unescape(reply.body.decode())
        assert [one in told for one in (*text, "sstream-proxy import --waiting")] == [True] * 4
    told = " ".join((await commands.run("stats")).stdout.split())
    assert [one in told for one in (*text, "sstream-proxy import --waiting")] == [True] * 4


async def test_what_is_here_of_a_generation_that_waits_is_counted_without_a_server(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    add(tree, "20250701")
    await imported(commands, write_bundle(tmp_path / "1", tree, contents_of(tree)))
    lost, _ = add(tree, "20250801")
    contents = contents_of(tree, generation=2)
    await imported(commands, write_bundle(tmp_path / "2", tree, contents, without=[lost.path]))

    store = json.loads((await commands.run("stats", "--json")).stdout)["store"]

    [pin] = store["pins"].values()
    blobs = await asyncio.to_thread(lambda: [*LocalStore(commands.data).scan()])
    assert (pin["awaited_blobs"], store["blobs"]) == (1, len(blobs))
    assert store["bytes"] == sum(one.size_bytes for one in blobs)
    data = await asyncio.to_thread((tree.root / lost.path).read_bytes)
    await asyncio.to_thread(LocalStore(commands.data).put, data)  # Whoever brings it.
    told = " ".join((await commands.run("stats")).stdout.split())
    assert "and lacks nothing any more -> `sstream-proxy import --waiting` serves it" in told


async def test_an_operator_may_have_a_generation_served_though_items_are_missing(
    commands: Commands, server: Service, tree: SignedTree, tmp_path: Path
) -> None:
    add(tree, "20250701")
    await imported(commands, write_bundle(tmp_path / "1", tree, contents_of(tree)))
    new, other = add(tree, "20250801")
    two = write_bundle(tmp_path / "2", tree, contents_of(tree, generation=2), without=[other.path])
    code, summary, _ = await imported(commands, two)
    assert (code, states(summary)) == (INCOMPLETE, [(2, "waiting")])
    code, summary, _ = await imported(commands, two, "--activate")
    assert (code, states(summary)) == (INCOMPLETE, [(2, "served")])
    assert await got(server, INDEX) == (200, (tree.root / INDEX).read_bytes())
    assert await got(server, new.path) == (200, new.read())
    assert (await got(server, other.path))[0] == 504


async def test_an_older_bundle_closes_a_gap_and_is_refused_only_if_nothing_of_it_is_of_use(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    old = add(tree, "20250701")
    contents = contents_of(tree)
    parts = [write_bundle(tmp_path / f"1-{one.digest}", tree, contents, without=[one.path]) for one in old]
    newer = add(tree, "20250801")
    two = write_bundle(tmp_path / "2", tree, contents_of(tree, known=old, generation=2))
    last, _ = add(tree, "20250901")
    contents = contents_of(tree, known=[*old, *newer], generation=3)
    three = write_bundle(tmp_path / "3", tree, contents)
    cut = write_bundle(tmp_path / "3-cut", tree, contents, without=[last.path])

    codes = []
    for path in (two, cut, parts[0], parts[0], parts[1], three, parts[1]):
        rehearsed = _what_came(await imported(commands, "--dry-run", path))
        code, summary, result = await imported(commands, path)
        assert rehearsed == _what_came((code, summary, result))
        codes.append((code, states(summary), [one["used_files"] for one in summary["generations"]]))

    assert codes == [
        (INCOMPLETE, [(2, "served")], [0]),
        (INCOMPLETE, [(3, "waiting")], [0]),
        (INCOMPLETE, [(1, "older")], [1]),  # What is served lacks the other.
        (REFUSED, [(1, "older")], [0]),
        (INCOMPLETE, [(1, "older")], [1]),  # What waits lacks one still.
        (COMPLETE, [(3, "served")], [0]),
        (REFUSED, [(1, "older")], [0]),
    ], result.stdout
    assert await commands.held(tree.items) == tree.items
    accepted = json.loads((commands.data / ACCEPTED).read_text())
    assert accepted["documents"][INDEX]["digest"] == digest_of((tree.root / INDEX).read_bytes())


def _what_came(run: tuple[int, dict[str, Any], Result]) -> tuple[Any, ...]:
    """Return what is the same of an import and its rehearsal."""
    code, summary, _ = run
    told = ("taken_files", "taken_bytes", "held_files", "generations", "refused", "incomplete")
    return code, *(summary[one] for one in told)


async def test_what_nothing_proves_is_not_taken_and_not_waited_for(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    add(tree, "20250701")
    await imported(commands, write_bundle(tmp_path / "1", tree, contents_of(tree)))
    [_, vague] = add(tree, "20250801")
    del tree.version(PRODUCT, "20250801")["items"]["boot-kernel"]["sha256"]
    tree.publish()
    code, summary, _ = await imported(
        commands, write_bundle(tmp_path / "2", tree, contents_of(tree, generation=2))
    )
    assert (code, states(summary)) == (COMPLETE, [(2, "served")])
    assert summary["generations"][0]["unprovable"] == [vague.path]
    assert not await commands.held([vague])


async def test_what_waited_is_let_go_once_something_newer_is_served(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    add(tree, "20250701")
    await imported(commands, write_bundle(tmp_path / "1", tree, contents_of(tree)))
    new, lost = add(tree, "20250801")
    two = write_bundle(tmp_path / "2", tree, contents_of(tree, generation=2), without=[lost.path])
    await imported(commands, two)
    assert await commands.in_ledger(lambda ledger: new.digest in Pins(ledger).protected())
    tree.remove_version("20250801")
    add(tree, "20250901")
    three = write_bundle(tmp_path / "3", tree, contents_of(tree, generation=3))
    code, summary, _ = await imported(commands, three)
    assert (code, states(summary)) == (COMPLETE, [(3, "served"), (2, "replaced")])
    pinned = await commands.in_ledger(lambda ledger: Pins(ledger).pinned_by("import maas: everything"))
    assert pinned == {item.digest for item in tree.items}
