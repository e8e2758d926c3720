"""Bundles carried to a site without a network: imported beside its server, which serves them at once."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support.bundles import contents_of, write_bundle, write_tar
from support.commands import Commands, Result
from support.exchange import read
from support.running import Service
from support.serving import run_service
from support.tree import SignedTree, TreeItem
from yarl import URL

PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
INDEX = "streams/v1/index.sjson"
COMPLETE, FAILED, USAGE, INCOMPLETE, REFUSED = range(5)


class Nowhere:
    """An origin that nobody can reach."""

    url = "http://127.0.0.1:9/"


@pytest.fixture
def commands(tmp_path: Path, keyring: Path) -> Commands:
    """Return the commands of the far site."""
    return Commands(tmp_path, Nowhere(), keyring)


@pytest.fixture
async def server(commands: Commands) -> AsyncIterator[Service]:
    """Return the far site's server, which is offline."""
    settings = 'listen = ["127.0.0.1:0"]\nworkers = 1\noffline = true\n'
    commands.config.write_text(settings + commands.config.read_text())
    async with run_service(commands.config) as service:
        yield service


def add(tree: SignedTree, *versions: str) -> list[TreeItem]:
    found = [
        tree.add_item(PRODUCT, version, name, size=3000 + number)
        for version in versions
        for number, name in enumerate(("squashfs", "boot-kernel"))
    ]
    tree.publish()
    return found


async def imported(commands: Commands, *arguments: str | Path) -> tuple[int, dict[str, Any], Result]:
    result = await commands.run("import", "--json", *map(str, arguments))
    summary = json.loads(result.stdout.splitlines()[-1]) if result.stdout else {}
    return result.returncode, summary, result


async def got(server: Service, path: str) -> tuple[int, bytes]:
    reply = await read(URL(f"{server.base}/m/{path}", encoded=True))
    return reply.status, reply.body


def states(summary: dict[str, Any]) -> list[tuple[int, str]]:
    return [(one["generation"], one["state"]) for one in summary["generations"]]


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
    line = json.loads((commands.data / "audit.log").read_text().splitlines()[-1])
    assert (line["action"], line["what"], line["blobs"]) == ("import", "usb", 2)
    code, summary, _ = await imported(commands, folder)
    assert (code, summary["held_files"], summary["taken_files"]) == (COMPLETE, 2, 0)


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
    code, summary, _ = await imported(commands, parts[0])
    assert (code, states(summary)) == (COMPLETE, [(2, "served")])
    assert await got(server, INDEX) == (200, (tree.root / INDEX).read_bytes())
    assert await commands.held(tree.items) == tree.items


async def test_bundles_in_odd_order_are_served_once_the_gap_is_closed(
    commands: Commands, server: Service, tree: SignedTree, tmp_path: Path
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
    assert await got(server, INDEX) == (200, (tree.root / INDEX).read_bytes())
    code, summary, _ = await imported(commands, tmp_path / "1")
    assert (code, states(summary)) == (REFUSED, [(1, "older")])
    code, summary, _ = await imported(commands, tmp_path / "1", "--accept-older")
    assert (code, states(summary)) == (COMPLETE, [(1, "served")])
