"""What is announced has been recorded."""

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.editions import OTHER_CLIENT, documents, publish
from support.generations import INDEX, STALE_S
from support.holding import ROOT
from support.mirrors import Worker, open_worker
from support.origin import Origin
from support.running import Clock
from support.tree import SignedTree

from proxy.documents.shared_facts import SharedFacts
from proxy.mirror import Mirror

CONTENTS = {"zeros": bytes(16400), "ones": b"\xff" * 16400, "garbage": b"\xa5" * 100, "nothing": b""}


@pytest.mark.parametrize("contents", CONTENTS.values(), ids=CONTENTS.keys())
async def test_no_number_is_given_twice_whatever_becomes_of_the_shared_file(
    tmp_path: Path, keyring: Path, tree: SignedTree, origin: Origin, clock: Clock, contents: bytes
) -> None:
    """While a check runs, and between two runs, as a power cut may leave it."""
    mirror = Mirror(name="test", mount="/test/", origins=(origin.url,), keyring=str(keyring))
    board = tmp_path / "data" / "boards" / "test"
    async with open_worker(tmp_path / "data", mirror, clock) as worker:
        publish(tree, "20250701")
        assert (await worker.check()).number == 1
        second = publish(tree, "20250722")
        gate = origin.gate(INDEX)
        check = asyncio.create_task(worker.check())
        await gate.waiting(1)
        with board.open("r+b") as file:
            file.write(contents.ljust(16400, b"\0"))
        gate.open()
        assert (await check).number == 2
        assert await documents(worker) == second
        item = next(one for one in tree.items if "20250722" in one.path)
        assert worker.documents.find_item(item.path) is not None
    board.write_bytes(contents)

    async with open_worker(tmp_path / "data", mirror, clock) as later:
        assert await documents(later) == second
        third = publish(tree, "20250723")
        assert (await later.check()).number == 3
        assert await documents(later, OTHER_CLIENT) == third
        assert later.editions.is_announced_loaded()


class Witness(SharedFacts):
    """The facts that workers share; at the moment of an announcement another worker looks at the records."""

    def __init__(self, path: Path, announcing: Worker, other: Worker) -> None:
        super().__init__(path)
        self._announcing = announcing
        self._other = other
        self.looks: list[asyncio.Task[None]] = []

    def announce_accepted(self, number: int) -> None:
        super().announce_accepted(number)
        # What the announcing worker has not recorded yet is not recorded before the other one has looked.
        has_looked = threading.Event()
        self._announcing.storage.threads._ledger.submit(has_looked.wait, 10)
        look = asyncio.create_task(self._other.editions.adopt_announced())
        look.add_done_callback(lambda _: has_looked.set())
        self.looks.append(look)


async def test_what_is_announced_can_be_found_by_a_worker_that_looks_at_once(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, clock: Clock
) -> None:
    async with (
        open_worker(tmp_path / "data", mirror, clock) as one,
        open_worker(tmp_path / "data", mirror, clock) as other,
    ):
        publish(tree, "20250701")
        await one.check()
        assert (await other.served()).number == 1
        board = tmp_path / "data" / "boards" / "test"
        witness = await asyncio.to_thread(Witness, board, one, other)
        one.editions.announcements._shared = witness
        second = publish(tree, "20250722")

        await one.check()

        assert len(witness.looks) == 1
        await witness.looks[0]
        assert other.editions.served is not None
        assert other.editions.served.generation.number == 2
        assert await documents(other) == second
        witness.close()


DYING = """
import asyncio, os, sys
from pathlib import Path
from support.mirrors import folder_mirror, open_worker
from support.running import Clock
from support.tree import SignedTree
from proxy.documents.shared_facts import SharedFacts

data, root, keyring, name = sys.argv[1:]
setattr(SharedFacts, name, lambda *_: os._exit(9))

async def main():
    mirror = folder_mirror(SignedTree(Path(root), None), Path(keyring))
    async with open_worker(Path(data), mirror, Clock()) as worker:
        await worker.check()
        await worker.editions.hold(2)

asyncio.run(main())
"""


async def killed_at(announcement: str, data: Path, tree: SignedTree, keyring: Path) -> None:
    """Run a worker that checks, holds generation 2, and dies where it makes an announcement."""
    command = [sys.executable, "-c", DYING, str(data), str(tree.root), str(keyring), announcement]
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    done = await asyncio.to_thread(subprocess.run, command, env=env, timeout=60, check=False)
    assert done.returncode == 9


@pytest.mark.parametrize("announcement", ["announce_accepted", "announce_held"])
async def test_what_a_worker_recorded_before_it_was_killed_is_announced_by_another(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, keyring: Path, clock: Clock, announcement: str
) -> None:
    """Between recording a generation, or that it is held, and announcing that."""
    data = tmp_path / "data"
    async with open_worker(data, mirror, clock) as living:
        publish(tree, "20250701")
        await living.check()
        second = publish(tree, "20250722")

        await killed_at(announcement, data, tree, keyring)

        recorded = await living.records.recorded()
        assert recorded.accepted is not None
        assert recorded.accepted.number == 2
        assert (recorded.held is not None) is (announcement == "announce_held")
        async with open_worker(data, mirror, clock) as started:
            assert await documents(started) == second
        assert await documents(living, OTHER_CLIENT) == second
        publish(tree, "20250723")
        clock.advance(STALE_S)
        assert (await living.check()).number == 3
        assert (await living.served()).number == (2 if announcement == "announce_held" else 3)
