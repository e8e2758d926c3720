"""Pins are named where they matter, and do not outlive what came of nothing."""

import json
from pathlib import Path

import pytest
from support.commands import Commands
from support.origin import Origin
from support.running import make_config, run_proxy
from support.tree import SignedTree, TreeItem

from proxy.mirror import Mirror
from proxy.store.limits import StoreLimits


@pytest.fixture
def item(tree: SignedTree) -> TreeItem:
    item = tree.add_item("p", "1", "squashfs", size=5000, release="noble")
    tree.publish()
    return item


@pytest.fixture
def commands(tmp_path: Path, origin: Origin, keyring: Path, item: TreeItem) -> Commands:  # noqa: ARG001
    return Commands(tmp_path, origin, keyring)


async def pins_of(commands: Commands) -> dict[str, dict[str, int]]:
    stats = json.loads((await commands.run("stats", "--json")).stdout)
    pins: dict[str, dict[str, int]] = stats["store"]["pins"]
    return pins


async def test_a_pin_is_listed_before_anything_of_it_is_here(commands: Commands) -> None:
    await commands.run("pin", "release=noble", "--name", "early")

    assert await pins_of(commands) == {"early": {"blobs": 0, "bytes": 0, "awaited_blobs": 1}}
    assert "early: 0 blobs, 0 B, 1 more not here yet" in (await commands.run("stats")).stdout


async def test_evict_and_unpin_name_the_pins(commands: Commands) -> None:
    await commands.run("prefetch", "release=noble")
    (name,) = await pins_of(commands)

    evicted = await commands.run("evict", "release=noble")
    unknown = await commands.run("unpin", "--name", "no such pin")
    let_go = await commands.run("unpin", "--name", name)
    gone = await commands.run("evict", "release=noble")

    assert f"kept by the pins {name!r}" in evicted.stderr
    assert unknown.returncode == 1
    assert (
        f"there is no pin 'no such pin'; there are: {name!r} (--name says which is meant)" in unknown.stderr
    )
    assert let_go.returncode == 0
    assert "1 blob gone" in gone.stdout


async def test_a_prefetch_of_which_nothing_comes_leaves_no_pin(commands: Commands, item: TreeItem) -> None:
    item.data_path.unlink()
    result = await commands.run("prefetch", "release=noble")

    assert result.returncode == 3
    assert await pins_of(commands) == {}


async def test_what_does_not_fit_is_a_problem_and_min_free_is_named(
    tmp_path: Path, origin: Origin, keyring: Path, item: TreeItem
) -> None:
    commands = Commands(tmp_path, origin, keyring)
    text = commands.config.read_text()
    commands.config.write_text(text.replace('min_free = "0"', 'min_free = "100000 GiB"'))

    refused = await commands.run("prefetch", "release=noble")

    assert refused.returncode == 1
    assert "[cache] min_free keeps 97.7 TiB of the " in refused.stderr
    assert await pins_of(commands) == {}
    assert item.path not in (await commands.run("stats")).stdout


async def test_an_item_that_is_too_large_for_the_store_is_told_of(
    tmp_path: Path, mirror: Mirror, item: TreeItem
) -> None:
    config = make_config(tmp_path / "small", mirror, cache=StoreLimits(limit_bytes=4000, min_free_bytes=0))
    async with run_proxy(config) as proxy:
        got = await proxy.read(item.path)
        async with proxy.get("/-/stats") as reply:
            stats = await reply.json()

    assert got.body == item.read()
    assert stats["store"]["without_room"] == [{"path": item.path, "size_bytes": item.size}]
    (problem,) = [one["text"] for one in stats["problems"] if "no room" in one["text"]]
    assert f"has no room for {item.path} (4.9 KiB), not even after eviction" in problem


async def test_a_pin_has_a_name_that_can_be_read(commands: Commands) -> None:
    """`--name "$NAME"` with nothing in it; a name that would write on the terminal of whoever looks."""
    for name in ("", " ", "a\nb", "\x1b[2J", "x" * 201):
        refused = await commands.run("pin", "release=noble", "--name", name)
        assert refused.returncode == 1
        assert "is no name for a pin: write 1 to 200 letters" in refused.stderr
    assert await pins_of(commands) == {}


async def test_unpin_of_what_the_pin_does_not_keep_names_those_that_do(commands: Commands) -> None:
    await commands.run("pin", "release=noble", "--name", "lab")
    await commands.run("pin", "--digest", "0" * 64)

    by_another = await commands.run("unpin", "release=noble")
    by_none = await commands.run("unpin", "--digest", "1" * 64)
    misspelt = await commands.run("unpin", "--name", "by-hand")

    assert [one.returncode for one in (by_another, by_none, misspelt)] == [1, 1, 1]
    assert "the pin 'by hand' keeps nothing of what is meant; it is kept by: 'lab'" in by_another.stderr
    assert "keeps nothing of what is meant; no pin does" in by_none.stderr
    assert "did you mean 'by hand'?" in misspelt.stderr
    assert set(await pins_of(commands)) == {"lab", "by hand"}
