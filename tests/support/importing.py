"""Imports at a site without a network: of bundles whose lists are a tree's, and what is served then."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from yarl import URL

from support.commands import Commands, Result
from support.exchange import read
from support.running import Service
from support.tree import SignedTree, TreeItem

PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
INDEX = "streams/v1/index.sjson"
ACCEPTED = "generations/maas.json"
COMPLETE, FAILED, USAGE, INCOMPLETE, REFUSED = range(5)


def add(tree: SignedTree, *versions: str) -> list[TreeItem]:
    """Publish two items of each version; return them."""
    found = [
        tree.add_item(PRODUCT, version, name, size=3000 + number)
        for version in versions
        for number, name in enumerate(("squashfs", "boot-kernel"))
    ]
    tree.publish()
    return found


async def imported(commands: Commands, *arguments: str | Path) -> tuple[int, dict[str, Any], Result]:
    """Import; return the exit code, the summary, and all that was said."""
    result = await commands.run("import", "--json", *map(str, arguments))
    summary = json.loads(result.stdout.splitlines()[-1]) if result.stdout else {}
    return result.returncode, summary, result


async def piped(commands: Commands, *archives: Path) -> tuple[int, dict[str, Any], str]:
    """Import what comes through a pipe, one archive after the other."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "proxy", "import", "--config", str(commands.config), "--json", "-",
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    data = b"".join([await asyncio.to_thread(one.read_bytes) for one in archives])
    out, err = await process.communicate(data)
    assert process.returncode is not None
    return process.returncode, json.loads(out.splitlines()[-1]), err.decode()


async def got(server: Service, path: str) -> tuple[int, bytes]:
    """Return status and body of what a server has at a path of the mirror."""
    reply = await read(URL(f"{server.base}/m/{path}", encoded=True))
    return reply.status, reply.body


def states(summary: dict[str, Any]) -> list[tuple[int, str]]:
    """Return the generations that a summary names, and what became of each."""
    return [(one["generation"], one["state"]) for one in summary["generations"]]
