"""A recording takes what clients really asked for, however it was answered, and nothing else."""

import asyncio
import json
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.commands import Result
from support.running import Clock, RunningProxy
from support.tree import SignedTree, TreeItem
from support.warm import run_warm

from proxy.bundles.lockfile import read_lockfile
from proxy.runtime import open_recording_folder

PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
INDEX = "streams/v1/index.sjson"
LIST = "streams/v1/com.ubuntu.maas:stable:v3:download.sjson"


class Site:
    """The commands of an operator, over the data directory of a proxy."""

    def __init__(self, proxy: RunningProxy, folder: Path) -> None:
        self._proxy = proxy
        self._config = folder / "site.toml"
        (mirror,) = proxy.config.mirrors
        self._config.write_text(
            f'data_dir = "{proxy.config.data_dir}"\n[[mirror]]\nname = "{mirror.name}"\n'
            f'mount = "{mirror.mount}"\norigins = ["{mirror.origins[0]}"]\nkeyring = "{mirror.keyring}"\n'
        )

    async def run(self, *arguments: str) -> Result:
        """Run `record` with these arguments."""
        status, out, err = await run_warm(
            ["record", arguments[0], "--config", str(self._config), *arguments[1:]]
        )
        return Result(arguments, status, out.decode(), err.decode())

    async def counts(self, *names: str) -> list[int]:
        """Return how many files recordings have taken, as this process has written it down."""
        await self._proxy.cache.recorder.write_down()
        threads = self._proxy.cache.storage.threads
        folder = await threads.disk(open_recording_folder, self._proxy.config)
        with closing(folder.board):
            recordings = [await threads.disk(folder.read, name) for name in names]
            return [len((await threads.disk(folder.taken, one)).files) for one in recordings]

    async def taken(self, name: str) -> set[tuple[str, str]]:
        """Return how, and at which paths, something was asked for."""
        shown = await self.shown(name)
        return {(file["kind"], file["path"]) for file in shown["files"]}

    async def shown(self, name: str) -> dict[str, Any]:
        """Return all that `record show` tells."""
        result = await self.run("show", name, "--json")
        assert result.returncode == 0, result.stderr
        found: dict[str, Any] = json.loads(result.stdout)
        return found


@pytest.fixture
def site(proxy: RunningProxy, tmp_path: Path) -> Site:
    return Site(proxy, tmp_path)


@pytest.fixture
def items(tree: SignedTree) -> list[TreeItem]:
    found = [tree.add_item(PRODUCT, "20250718", f"item-{number}", size=1000) for number in range(5)]
    tree.publish()
    return found


class PassingClock(Clock):
    """A clock that passes as that of the commands does, and may be set ahead of it."""

    def __init__(self) -> None:
        super().__init__(0.0)

    def __call__(self) -> float:
        return time.time() + self.now


@pytest.fixture
def clock() -> Clock:
    return PassingClock()


async def test_all_ways_to_ask_are_recorded_once(
    proxy: RunningProxy, site: Site, items: list[TreeItem]
) -> None:
    hit, missed, ranged, looked, before = items
    await proxy.read(before.path)
    await proxy.read(hit.path)
    await proxy.fills_ended()
    started = await site.run("start", "lab")
    assert started.returncode == 0, started.stderr
    for _ in range(6):  # From the third on, the reply cache answers.
        await proxy.read(INDEX)
        await proxy.read(hit.path)
        await proxy.read(ranged.path, Range="bytes=10-19")
    await proxy.read(LIST)
    await proxy.read(missed.path)
    await proxy.read(looked.path, "HEAD")
    assert (await proxy.read("nothing")).status == 404

    assert await site.taken("lab") == {
        ("got", INDEX),
        ("got", LIST),
        ("got", hit.path),
        ("got", missed.path),
        ("got", ranged.path),
        ("looked at", looked.path),
        ("absent", "nothing"),
    }
    assert "1 by HEAD, 1 not there" in (await site.run("list")).stdout
    page, stats = (await proxy.read("/-/")).body.decode(), json.loads((await proxy.read("/-/stats")).body)
    assert "is recorded as <strong>lab</strong>" in page
    assert [one["name"] for one in stats["recordings"]] == ["lab"]
    assert stats["lockfile"] == ""
    kept = await proxy.cache.storage.threads.ledger(proxy.cache.storage.pins.pinned_by, "recording lab")
    assert {hit.digest, missed.digest, ranged.digest} <= kept
    assert before.digest not in kept


async def test_a_reply_that_was_ready_before_is_recorded_too(
    proxy: RunningProxy, site: Site, items: list[TreeItem]
) -> None:
    for _ in range(6):
        await proxy.read(items[0].path)
    await site.run("start", "lab")
    await proxy.read(items[0].path)
    assert await site.taken("lab") == {("got", items[0].path)}


async def test_recordings_do_not_disturb_each_other(
    proxy: RunningProxy, site: Site, items: list[TreeItem], clock: Clock
) -> None:
    await asyncio.gather(
        site.run("start", "all"),
        site.run("start", "others", "--client", "192.0.2.0/24"),
        site.run("start", "ours", "--client", "127.0.0.0/8", "--client", "::1", "--most", "2"),
        site.run("start", "hour", "--mirror", "test", "--for", "1h"),
    )
    for item in items[:3]:
        await proxy.read(item.path)
    names = ("all", "others", "ours", "hour")
    assert await site.counts(*names) == [3, 0, 2, 3]
    full = await site.run("show", "ours")
    assert "1 more request could not be recorded" in full.stderr

    assert "say which one" in (await site.run("stop")).stderr
    assert (await site.run("stop", "all")).returncode == 0
    assert "has ended already" in (await site.run("stop", "all")).stderr
    clock.advance(7200)  # After the hour of the last one, too.
    await proxy.read(items[3].path)
    assert await site.counts(*names) == [3, 0, 2, 3]

    assert "already" in (await site.run("start", "all")).stderr
    deleted = await asyncio.gather(*(site.run("delete", name) for name in names))
    assert [one.returncode for one in deleted] == [0] * 4
    assert not await proxy.cache.storage.threads.ledger(proxy.cache.storage.pins.names)
    assert "there are none" in (await site.run("show", "all")).stderr
    audit = [json.loads(line) for line in (proxy.config.data_dir / "audit.log").read_text().splitlines()]
    assert [line["action"] for line in audit] == [
        *["record start"] * 4,
        "record stop",
        *["record delete"] * 4,
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["../x"], "no name for a recording"),
        (["a" * 65], "no name for a recording"),
        (["x", "--client", "10.0.0.1/8"], "inside a network"),
        (["x", "--mirror", "tset"], "no mirror 'tset'"),
        (["x", "--for", "soon"], "--for"),
        (["x", "--until", "soon"], "14:30"),
        (["x", "--for", "1h", "--until", "14:30"], "give one of them"),
        (["x", "--until", "2001-01-01T00:00"], "end before"),
        (["x", "--from", "2001-01-01T00:00"], "is past"),
    ],
)
@pytest.mark.usefixtures("items")
async def test_what_makes_no_sense_is_refused(site: Site, arguments: list[str], told: str) -> None:
    result = await site.run("start", *arguments)
    assert result.returncode == 2
    assert told in result.stderr
    assert "Traceback" not in result.stderr


async def test_a_lockfile_has_each_generation_that_was_asked_for(
    proxy: RunningProxy, site: Site, items: list[TreeItem], tree: SignedTree, tmp_path: Path
) -> None:
    await site.run("start", "lab")
    first_index = (await proxy.read(INDEX)).body
    await proxy.read(items[0].path)
    await proxy.read(items[1].path)
    tree.remove_version("20250718", PRODUCT)
    newer = tree.add_item(PRODUCT, "20250801", "item-0", size=500)
    tree.publish()
    await proxy.cache.refresh("test")
    await proxy.read(INDEX)
    await proxy.read(LIST)
    await proxy.read(newer.path)
    await proxy.read(items[2].path)  # By the list that was replaced.

    lock = tmp_path / "lab.lock"
    stopped = await site.run("stop", "--lock", str(lock))
    assert stopped.returncode == 0, stopped.stderr
    lockfile = read_lockfile(lock.read_bytes())
    old, new = lockfile.of_mirror("test")
    assert old.contents.generation < new.contents.generation
    assert {one.path for one in old.contents.items} == {one.path for one in items[:3]}
    assert [(one.path, one.sha256, one.size) for one in new.contents.items] == [
        (newer.path, newer.digest, newer.size)
    ]
    assert {one.path for one in old.served_documents} == {INDEX, LIST}
    assert {one.path for one in new.served_documents} == {INDEX, LIST}
    index = next(one for one in old.contents.documents if one.path == INDEX)
    assert lockfile.data[index.sha256] == first_index
    assert new.contents.origins == proxy.config.mirrors[0].origins
    again = await site.run("show", "lab", "--lock", "-")
    assert again.stdout.encode() == lock.read_bytes()
