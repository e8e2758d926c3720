"""What several origins had sent is used again, of each only what it had sent itself."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.transfers import listed
from support.tree import SignedTree, TreeItem

from proxy.fills.kept_parts import KeptItem
from proxy.simplestreams.model import Item
from proxy.sources.pull import Part
from proxy.system.threads import Threads

A, B, C = "http://a.example/", "http://b.example/", "http://c.example/"
PARTS = [Part(A, 0, 100), Part(B, 100, 200), Part(A, 200, 300, "http://mirror.example/"), Part(C, 300, 400)]


@pytest.fixture
async def kept() -> AsyncIterator[KeptItem]:
    threads = Threads()
    kept = KeptItem(threads)
    yield kept
    kept._drop()
    await threads.close()


@pytest.fixture
def item(listing: TreeItem) -> Item:
    return listed(listing)


@pytest.fixture
def arrived(tmp_path: Path) -> Iterator[int]:
    """Return a descriptor of 400 bytes, each of which says where it is."""
    (tmp_path / "arrived").write_bytes(bytes(place % 256 for place in range(400)))
    fd = os.open(tmp_path / "arrived", os.O_RDONLY)
    yield fd
    os.close(fd)


async def test_each_origin_has_what_it_sent_and_no_other_part(
    kept: KeptItem, item: Item, arrived: int
) -> None:
    kept.keep(item, arrived, PARTS)
    with kept.lent(item) as parts:
        assert parts is not None
        assert [parts.held(A, offset) for offset in (0, 99, 100, 199, 299, 300)] == [
            Part(A, 0, 100),
            Part(A, 99, 100),
            None,
            None,
            Part(A, 299, 300, "http://mirror.example/"),
            None,
        ]
        assert [parts.next_start(A, offset) for offset in (0, 100, 199, 200, 399)] == [
            200,
            200,
            200,
            None,
            None,
        ]
        assert [parts.next_start(B, offset) for offset in (0, 100)] == [100, None]
        assert parts.next_start("http://d.example/", 0) is None
        assert b"".join([data async for data in parts.read(150, 300)]) == os.pread(arrived, 150, 150)
        with pytest.raises(OSError, match="shorter"):
            assert [data async for data in parts.read(350, 401)]


async def test_nothing_is_used_of_an_origin_that_was_wrong(kept: KeptItem, item: Item, arrived: int) -> None:
    kept.keep(item, arrived, PARTS)
    kept.disbelieve(item, A)
    with kept.lent(item) as parts:
        assert parts is not None
        assert parts.held(A, 0) is None
        assert parts.next_start(A, 0) is None
        assert parts.held(B, 100) == PARTS[1]


async def test_of_another_item_nothing_is_kept(
    kept: KeptItem, tree: SignedTree, item: Item, arrived: int
) -> None:
    other = listed(tree.add_item("product", "1", "other", size=400))
    kept.keep(item, arrived, PARTS)
    kept.disbelieve(other, A)
    kept.forget(other)
    with kept.lent(other) as parts:
        assert parts is None
    with kept.lent(item) as parts:
        assert parts is not None
        assert parts.held(A, 0) == PARTS[0]


async def test_what_is_kept_first_stays_until_another_item_takes_its_place(
    kept: KeptItem, tree: SignedTree, item: Item, arrived: int
) -> None:
    other = listed(tree.add_item("product", "1", "other", size=400))
    kept.keep(item, arrived, PARTS)
    kept.keep(item, arrived, PARTS[2:])
    with kept.lent(item) as parts:
        assert parts is not None
        assert parts.held(A, 0) == PARTS[0]
    kept.keep(other, arrived, PARTS)
    with kept.lent(item) as parts:
        assert parts is None
    with kept.lent(other) as parts:
        assert parts is not None


async def test_one_part_alone_is_of_no_use(kept: KeptItem, item: Item, arrived: int) -> None:
    kept.keep(item, arrived, PARTS[:1])
    with kept.lent(item) as parts:
        assert parts is None


async def test_the_file_stays_open_for_whoever_uses_it(kept: KeptItem, item: Item, arrived: int) -> None:
    """It is closed when the last one has ended, and what is forgotten is lent to nobody else."""
    kept.keep(item, arrived, PARTS)
    with ExitStack() as users:
        parts = users.enter_context(kept.lent(item))
        assert parts is not None
        with kept.lent(item) as again:
            assert again is parts
            kept.forget(item)
        with kept.lent(item) as forgotten:
            assert forgotten is None
        assert parts.is_open
        assert b"".join([data async for data in parts.read(0, 400)]) == os.pread(arrived, 400, 0)
    assert not parts.is_open


async def test_what_nobody_uses_is_closed_once_it_is_forgotten(
    kept: KeptItem, item: Item, arrived: int
) -> None:
    kept.keep(item, arrived, PARTS)
    with kept.lent(item) as parts:
        pass
    assert parts is not None
    assert parts.is_open
    kept.forget(item)
    assert not parts.is_open
