"""Trees that somebody has left, and what an import of one came to."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.commands import Commands, Result
from support.tree import SignedTree, TreeItem

PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
INDEX = "streams/v1/index.sjson"

Copy = Callable[[], Path]


class Nowhere:
    """An origin that nobody can reach."""

    url = "http://127.0.0.1:9/"


def add(tree: SignedTree, version: str) -> list[TreeItem]:
    found = [
        tree.add_item(PRODUCT, version, name, size=3000 + number)
        for number, name in enumerate(("squashfs", "boot-kernel", "boot-initrd"))
    ]
    tree.publish()
    return found


async def taken(
    commands: Commands, folder: Path | str, *arguments: str
) -> tuple[int, dict[str, Any], Result]:
    result = await commands.run("import", "--json", *arguments, "--tree", str(folder))
    summary = json.loads(result.stdout.splitlines()[-1]) if result.stdout else {}
    return result.returncode, summary, result
