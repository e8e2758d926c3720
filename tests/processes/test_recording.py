"""A recording reaches all workers at once, and what they have noted outlives them."""

import os
import signal
from pathlib import Path

from support.tree import SignedTree
from support.warm import run_warm
from support.workers import Workers, ended, run_workers

from proxy.bundles.lockfile import read_lockfile
from proxy.mirror import Mirror

PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
"""Its items lie below a path without colons."""


async def read(workers: Workers, pid: int, path: str) -> None:
    (asked,) = await workers.ask(pid, path)
    assert (await asked.rest()).status == 200
    await asked.leave()


async def test_all_workers_record_and_a_killed_one_loses_nothing_that_was_shown(
    tmp_path: Path, mirror: Mirror, tree: SignedTree
) -> None:
    first, second, third = (
        tree.add_item(PRODUCT, "20250718", f"item-{number}", size=1000) for number in range(3)
    )
    tree.publish()

    async def record(*arguments: str) -> str:
        config = ("--config", str(tmp_path / "config.toml"))
        status, out, err = await run_warm(["record", arguments[0], *config, *arguments[1:]])
        assert status == 0, err
        return out.decode()

    async with run_workers(tmp_path, mirror) as workers:
        one, other = workers.pids
        await record("start", "lab")
        await read(workers, one, first.path)
        await read(workers, other, second.path)
        shown = await record("show", "lab")
        assert first.path in shown
        assert second.path in shown
        os.kill(one, signal.SIGKILL)
        await ended(one)
        await workers.log.seen("worker.ready", 3)
        (new,) = {*workers.pids} - {other}
        await read(workers, new, first.path)
        await read(workers, new, third.path)
        await record("stop", "--lock", str(tmp_path / "lab.lock"))
        await read(workers, other, third.path)
    (locked,) = read_lockfile((tmp_path / "lab.lock").read_bytes()).locked
    assert {one.path for one in locked.contents.items} == {first.path, second.path, third.path}
