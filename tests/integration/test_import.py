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
