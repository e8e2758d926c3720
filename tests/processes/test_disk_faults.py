"""What a failing disk does to clients: nothing. What it does to the operator: it is told, and mends itself.

Each table runs services through one fault after the other. While a fault
lasts, every client gets every byte, right; `/-/ready` names the fault where it
lasts; when it has gone, the next item is stored again without a restart.
"""

import asyncio
import contextlib
import errno
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from support.exchange import Reply, read
from support.failing_disk import (
    FailingDisk,
    filled_up,
    in_the_way,
    locked,
    overwrite,
    removed,
    small_file_system,
)
from support.keys import SigningKey
from support.origin import Origin
from support.running import MOUNT
from support.tree import SignedTree, TreeItem
from support.workers import Workers, run_workers
from yarl import URL

from proxy.digest import Digest
from proxy.mirror import Mirror
from proxy.store.ledger import Ledger
from proxy.store.pins import Pins

KIB = 1024
INDEX = "streams/v1/index.sjson"
PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
SETTINGS = '[cache]\nmin_free = "0 B"\n[freshness]\nfresh_for = "1h"\nretry_after = "100ms"\n'
CLIENTS = 3
SERVICES = 4
"""That go through a table at once."""
SIZE_BYTES = 1536 * KIB
PATIENCE_S = 40.0
KEEPER_TRIES_WITHIN_S = 20.0

NOT_STORED = "fwd=uri-miss; detail=not-stored"
STORED = "fwd=uri-miss; stored"
JOINED = "fwd=uri-miss; collapsed"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A fault, and what may come of it."""

    name: str
    put_on: Callable[["Stage"], AbstractContextManager[object]]
    told: str = ""
    """What `/-/ready` says; empty when it is nothing that lasts, or that keeps nothing from being stored."""
    is_stored: bool | None = False
    """Whether the item is stored all the same; None where that depends on when the service mends itself."""


@dataclass
class Stage:
    """A running service, its data, and the items that nobody has asked for yet."""

    workers: Workers
    held: TreeItem
    fresh: list[TreeItem]
    index: bytes
    disk: FailingDisk | None = None
    table: list[str] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.workers.data_dir

    def failing(self, *rules: str) -> AbstractContextManager[None]:
        assert self.disk is not None
        return self.disk.failing(*rules)

    def blob(self, item: TreeItem) -> Path:
        return self.data / "blobs" / "sha256" / item.digest[:2] / item.digest

    async def suffers(self, row: Row) -> None:
        """Go through one fault; every deviation goes into the table."""
        item = self.fresh.pop()
        with row.put_on(self):
            during = await asyncio.gather(*(self.get(item.path) for _ in range(CLIENTS)))
            held, index = await self.get(self.held.path), await self.get(INDEX)
            was_stored = self.blob(item).exists()
            status, reasons = await (self.told() if row.told else self.ready())
        problems = [
            f"a client got {one.status} {one.cache_status}"
            for one in during
            if not one.is_complete or one.body != item.read()
        ]
        if row.is_stored is False and was_stored:
            problems.append("it was stored")
        if held.body != self.held.read():
            problems.append(f"what is held was answered with {held.status}")
        if index.body != self.index:
            problems.append(f"the index was answered with {index.status}")
        if status != (503 if row.told else 200) or row.told not in reasons:
            problems.append(f"/-/ready said {status}: {reasons!r}")
        problems += await self.recovers(item, is_stored=row.is_stored)
        ways = ", ".join(sorted({one.cache_status.removeprefix("fwd=uri-miss; ") for one in during}))
        told = reasons.removeprefix("the store cannot be written: ") or "-"
        self.table.append(f"{row.name:40} {ways:25} {told:70.70} {'; '.join(problems) or 'recovered'}")
        assert not problems, "\n".join(self.table)

    async def recovers(self, item: TreeItem, *, is_stored: bool | None) -> list[str]:
        """Return what is not as before once the fault has gone; nobody restarts anything."""
        pids = self.workers.pids
        try:
            async with asyncio.timeout(PATIENCE_S):
                while (await self.ready())[0] != 200:  # noqa: ASYNC110 - the event is in the service
                    await asyncio.sleep(0.05)
                first = reply = await self.get(item.path)
                while reply.cache_status != "hit":
                    await asyncio.sleep(0.05)
                    reply = await self.get(item.path)
        except TimeoutError:
            return [f"not recovered: {await self.ready()}"]
        wanted = {"hit"} if is_stored else {STORED, "hit"}
        problems = [] if first.cache_status in wanted | {JOINED} else [f"then it was {first.cache_status}"]
        if reply.body != item.read():
            problems.append("what was stored then is wrong")
        if self.workers.pids != pids:
            problems.append("a worker died")
        return problems

    async def get(self, path: str) -> Reply:
        async with asyncio.timeout(PATIENCE_S):
            return await read(self.workers.url(path))

    async def refresh(self) -> tuple[int, str]:
        """Have the mirror checked; return the status, and what is said of it."""
        url = f"{self.workers.service.base}/-/api/v1/refresh"
        async with (
            aiohttp.ClientSession(headers={"Host": "localhost", "X-Sstream-Proxy": "1"}) as session,
            session.post(url, data="{}") as response,
        ):
            told = await response.json()
            return response.status, told.get("problem") or told["text"]

    async def told(self) -> tuple[int, str]:
        """Return what `/-/ready` says once the keeper has found something, or has had the time for it."""
        found = await self.ready()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KEEPER_TRIES_WITHIN_S):
                while found[0] == 200:
                    await asyncio.sleep(0.05)
                    found = await self.ready()
        return found

    async def ready(self) -> tuple[int, str]:
        """Return the status of `/-/ready`, and its reasons."""
        async with asyncio.timeout(PATIENCE_S):
            reply = await read(URL(f"{self.workers.service.base}/-/ready"))
        return reply.status, "; ".join(json.loads(reply.body)["reasons"])


@asynccontextmanager
async def stage(
    folder: Path, mirror: Mirror, tree: SignedTree, rows: int, disk: FailingDisk | None = None
) -> AsyncIterator[Stage]:
    """Run a service that holds one item, and has one more to fetch for each row."""
    held = tree.add_item(PRODUCT, "20250718", "held", size=SIZE_BYTES)
    fresh = [tree.add_item(PRODUCT, "20250718", f"fresh-{number}", size=SIZE_BYTES) for number in range(rows)]
    tree.publish()
    env = None if disk is None else disk.env
    async with run_workers(folder, mirror, workers=1, settings=SETTINGS, env=env) as workers:
        set_up = Stage(workers, held, fresh, (tree.root / INDEX).read_bytes(), disk)
        await workers.log.seen("store.reconciled")
        for path in (INDEX, held.path):
            assert (await set_up.get(path)).status == 200
        assert await set_up.ready() == (200, "")
        await asyncio.to_thread(pin, set_up.data, held)  # Or a full disk would be mended by evicting it.
        yield set_up
        print("\n".join(set_up.table))  # noqa: T201 - shown with -s


async def suffer(
    rows: list[Row],
    folder: Path,
    key: SigningKey,
    keyring: Path,
    build_disk: Callable[[Path], FailingDisk] | None = None,
) -> None:
    """Go through all faults of a table by several services at once: most of it is waiting."""

    async def go_through(some: list[Row], own: Path) -> None:
        await asyncio.to_thread(own.mkdir)
        tree = SignedTree(own / "upstream", key)
        disk = None if build_disk is None else await asyncio.to_thread(build_disk, own)
        async with Origin(tree.root) as origin:
            mirror = Mirror(name="test", mount=MOUNT, origins=(origin.url,), keyring=str(keyring))
            async with stage(own, mirror, tree, len(some), disk) as set_up:
                for row in some:
                    await set_up.suffers(row)

    async with asyncio.TaskGroup() as group:
        for number in range(SERVICES):
            group.create_task(go_through(rows[number::SERVICES], folder / str(number)))


def pin(data: Path, item: TreeItem) -> None:
    with contextlib.closing(Ledger(data / "ledger")) as ledger:
        Pins(ledger).pin_all("test", [Digest(item.digest)])


# Calls that fail


def calls(name: str, told: str, *rules: str, is_stored: bool = False) -> Row:
    """Return a row for system calls that fail."""
    return Row(name=name, put_on=lambda stage: stage.failing(*rules), told=told, is_stored=is_stored)


CALLS = [
    calls("short writes everywhere", "", "write /data/ 0 0", is_stored=True),
    calls("EIO at a blob's first byte", "Input/output error", f"write /incoming/ {errno.EIO} 0"),
    # Each process has so much room, and what the keeper tries out is small.
    calls("ENOSPC in mid-blob", "", f"room /incoming/ {errno.ENOSPC} {SIZE_BYTES // 2}"),
    calls("EDQUOT when a file is made", "Disk quota exceeded", f"open /incoming/ {errno.EDQUOT} 0"),
    calls("EACCES when a file is made", "Permission denied", f"open /incoming/ {errno.EACCES} 0"),
    calls("EIO when a blob is synced", "Input/output error", f"fsync /incoming/ {errno.EIO} 0"),
    calls("EROFS when a blob gets its name", "Read-only file system", f"rename /blobs/ {errno.EROFS} 0"),
    calls("EIO when its folder is synced", "Input/output error", f"fsync /blobs/ {errno.EIO} 0"),
    calls("EIO when a blob is marked as proved", "", f"chmod /incoming/ {errno.EIO} 0"),
    calls("EIO when the ledger is written", "ledger cannot be used", f"write /ledger/ {errno.EIO} 0"),
    calls("ENOSPC when the ledger is written", "ledger cannot be used", f"write /ledger/ {errno.ENOSPC} 0"),
    calls("EIO when the ledger is synced", "", f"fsync /ledger/ {errno.EIO} 0", is_stored=True),
    calls(
        "ENOSPC for every write",
        "No space left",
        *(f"{one} /data/ {errno.ENOSPC} 0" for one in ("write", "open")),
    ),
    calls(
        "all became read-only",
        "Read-only file system",
        *(f"{one} /data/ {errno.EROFS} 0" for one in ("write", "open", "rename", "unlink", "chmod")),
    ),
]


@pytest.mark.skipif(not FailingDisk.can_be_built(), reason="needs gcc")
async def test_failing_system_calls(tmp_path: Path, key: SigningKey, keyring: Path) -> None:
    await suffer(CALLS, tmp_path, key, keyring, FailingDisk)


# The file system


PLACES = [
    Row(name="a full file system", put_on=lambda stage: filled_up(stage.data), told="No space left"),
    Row(
        name="a file where 'incoming' was",
        put_on=lambda stage: in_the_way(stage.data / "incoming"),
        told="Not a directory",
    ),
    Row(
        name="a file where 'blobs' was",
        put_on=lambda stage: in_the_way(stage.data / "blobs"),
        told="Not a directory",
    ),
    Row(name="'incoming' removed", put_on=lambda stage: removed(stage.data / "incoming"), is_stored=True),
    Row(name="everything removed", put_on=lambda stage: removed(*stage.data.iterdir()), is_stored=True),
]


async def test_failing_file_system(tmp_path: Path, mirror: Mirror, tree: SignedTree) -> None:
    with small_file_system(tmp_path / "data", "24m") as is_mounted:
        rows = PLACES if is_mounted else PLACES[1:]
        async with stage(tmp_path, mirror, tree, len(rows)) as set_up:
            for row in rows:
                await set_up.suffers(row)


async def test_a_service_that_starts_on_a_full_disk_serves_what_it_holds_and_passes_on_the_rest(
    tmp_path: Path, mirror: Mirror, tree: SignedTree
) -> None:
    with small_file_system(tmp_path / "data", "24m") as is_mounted:
        if not is_mounted:
            pytest.skip("needs to mount a small file system")
        await start_without(tmp_path, mirror, tree, lambda stage: filled_up(stage.data))


@pytest.mark.skipif(not FailingDisk.can_be_built(), reason="needs gcc")
@pytest.mark.parametrize("table", ["", "records", "blobs"])
async def test_a_service_that_starts_and_cannot_open_its_ledger_serves_what_it_holds(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, table: str
) -> None:
    disk = await asyncio.to_thread(FailingDisk, tmp_path)
    rules = [f"{call} /ledger/{table} {errno.ENOSPC} 0" for call in ("write", "open")]
    await start_without(tmp_path, mirror, tree, lambda _: disk.failing(*rules), disk)


async def start_without(
    folder: Path,
    mirror: Mirror,
    tree: SignedTree,
    put_on: Callable[[Stage], AbstractContextManager[object]],
    disk: FailingDisk | None = None,
) -> None:
    """Start a service with a fault, and check that clients get what there is, and that it mends itself."""
    async with stage(folder, mirror, tree, 1, disk) as set_up:
        pass
    (folder / "log").unlink()
    (item,), held = set_up.fresh, set_up.held
    env = None if disk is None else disk.env
    with contextlib.ExitStack() as fault:
        fault.enter_context(put_on(set_up))
        async with run_workers(folder, mirror, workers=1, settings=SETTINGS, env=env) as workers:
            set_up.workers = workers
            assert (await set_up.get(INDEX)).body == set_up.index
            assert (await set_up.get(held.path)).body == held.read()
            passed = await set_up.get(item.path)
            assert (passed.body, passed.cache_status) == (item.read(), NOT_STORED)
            fault.close()
            assert await set_up.recovers(item, is_stored=False) == []


@pytest.mark.skipif(not FailingDisk.can_be_built(), reason="needs gcc")
async def test_what_the_disk_did_not_take_completes_no_slow_client(
    tmp_path: Path, mirror: Mirror, tree: SignedTree
) -> None:
    """A kernel may forget pages that it could not write, and read from the disk what was there before."""
    disk = await asyncio.to_thread(FailingDisk, tmp_path)
    item = tree.add_item(PRODUCT, "20250718", "slow", size=64 * 1024 * KIB)
    async with stage(tmp_path, mirror, tree, 0, disk) as set_up:
        workers = set_up.workers
        (client,) = await workers.ask(workers.pids[0], item.path)
        with set_up.failing(f"fsync /incoming/ {errno.EIO} 0"):
            assert await client.begin() == 200
            await client.received(64 * KIB)
            await workers.log.seen("blob.not_filled")
        for lost in open_files(workers.pids[0], f"/incoming/{item.digest}"):
            with contextlib.suppress(FileNotFoundError):  # The fill lets go of its own.
                await asyncio.to_thread(lost.write_bytes, bytes(64 * 1024 * KIB))

        reply = await client.rest()

    assert not reply.is_complete or reply.body == item.read()


def open_files(pid: int, part: str) -> list[Path]:
    """Return the files that a process has open and whose path, when they had one, contains `part`."""
    found = []
    for one in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if part in os.readlink(one):  # noqa: PTH115 - it may name nothing any more
                found.append(one)
    return found


# Documents


@pytest.mark.skipif(not FailingDisk.can_be_built(), reason="needs gcc")
async def test_lists_on_a_failing_disk(tmp_path: Path, mirror: Mirror, tree: SignedTree) -> None:
    """Those that are here are served on, and confirmed if they are still the newest; new ones wait."""
    disk = await asyncio.to_thread(FailingDisk, tmp_path)
    async with stage(tmp_path, mirror, tree, 0, disk) as set_up:
        with set_up.failing(f"write /data/ {errno.ENOSPC} 0"):
            assert await set_up.refresh() == (200, "checked test")
            tree.publish()
            status, problem = await set_up.refresh()
            assert (status, "No space left" in problem) == (502, True)
            assert (await set_up.get(INDEX)).body == set_up.index
            assert (await set_up.get(set_up.held.path)).cache_status == "hit"

        # What is kept beside the ledger, and the operators' book, are worth no refusal.
        with set_up.failing(f"* /generations/ {errno.EROFS} 0", f"* /audit.log {errno.ENOSPC} 0"):
            assert await set_up.refresh() == (200, "checked test")
            assert (await set_up.get(INDEX)).body == (tree.root / INDEX).read_bytes() != set_up.index
        await workers_say(set_up, "generation.copy_not_written", "audit.not_written")

        tree.publish()
        assert await set_up.refresh() == (200, "checked test")
        assert (await set_up.get(INDEX)).body == (tree.root / INDEX).read_bytes()


async def workers_say(stage: Stage, *events: str) -> None:
    for event in events:
        await stage.workers.log.seen(event)


# The ledger


def databases(stage: Stage) -> list[Path]:
    return [stage.data / "ledger" / name / "cache.db" for name in ("records", "blobs")]


def overwritten(stage: Stage) -> AbstractContextManager[None]:
    for one in databases(stage):
        overwrite(one)
    return nullcontext()


LEDGERS = [
    Row(name="records locked for long", put_on=lambda stage: locked(databases(stage)[0]), told="locked"),
    Row(
        name="rows of blobs locked for long",
        put_on=lambda stage: locked(databases(stage)[1]),
        told="locked",
        is_stored=True,
    ),
    Row(name="both locked for long", put_on=lambda stage: locked(*databases(stage)), told="locked"),
    Row(name="the ledger removed", put_on=lambda stage: removed(stage.data / "ledger"), is_stored=True),
    Row(
        name="the ledger overwritten with nonsense",
        put_on=overwritten,
        told="ledger cannot be used",
        is_stored=None,
    ),
]


async def test_failing_ledger(tmp_path: Path, key: SigningKey, keyring: Path) -> None:
    await suffer(LEDGERS, tmp_path, key, keyring)
