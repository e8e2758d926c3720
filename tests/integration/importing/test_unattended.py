"""A running server serves by itself what was imported and has become complete."""

import asyncio
import json
from pathlib import Path

from support.bundles import contents_of, write_bundle
from support.commands import Commands
from support.importing import INCOMPLETE, INDEX, add, got, imported
from support.serving import run_service
from support.tree import SignedTree

from proxy.store.local.store import LocalStore

PATIENCE_S = 180.0


async def test_a_server_serves_what_has_become_complete(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    settings = 'listen = ["127.0.0.1:0"]\nworkers = 1\noffline = true\n'
    commands.config.write_text(settings + commands.config.read_text())
    add(tree, "20250701")
    await imported(commands, write_bundle(tmp_path / "1", tree, contents_of(tree)))
    lost, _ = add(tree, "20250801")
    contents = contents_of(tree, generation=2)
    code, _, _ = await imported(commands, write_bundle(tmp_path / "2", tree, contents, without=[lost.path]))
    assert code == INCOMPLETE
    data = await asyncio.to_thread((tree.root / lost.path).read_bytes)
    await asyncio.to_thread(LocalStore(commands.data).put, data)  # Whoever brings it.

    new = await asyncio.to_thread((tree.root / INDEX).read_bytes)
    async with run_service(commands.config) as server:
        [line] = await _audited_by_server(commands.data)
        assert await got(server, INDEX) == (200, new)
        assert await got(server, lost.path) == (200, data)

    assert (line["action"], line["problem"]) == ("import", "")
    assert "generation 2" in line["text"]
    assert "is served" in line["text"]


async def _audited_by_server(data_dir: Path) -> list[dict[str, str]]:
    """Return what the server has written into the audit log, once there is something."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            text = await asyncio.to_thread((data_dir / "audit.log").read_text)
            found = [one for one in map(json.loads, text.splitlines()) if one["by"] == "server"]
            if found:
                return found
            await asyncio.sleep(0.05)
