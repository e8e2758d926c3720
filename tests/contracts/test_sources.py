"""What every kind of origin promises to those who use it, whatever it is made of."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from random import Random
from time import monotonic

import pytest
from support.sources import KINDS, OPTIONS, Kind
from support.tree import random_blocks

from proxy.sources.candidates import Doubts, Source
from proxy.sources.document import CONFIRMED, FetchOptions, Validators
from proxy.sources.errors import (
    ItemAbsent,
    OriginAbsent,
    OriginError,
    OriginOverdid,
    OriginUnreachable,
    WrongLength,
)
from proxy.sources.freshness import Freshness
from proxy.sources.origin import ItemOptions, Piece
from proxy.sources.pull import Pull
from proxy.sources.route import Route
from proxy.sources.segments.hosts import Hosts

SIZE = 4_000_000
DATA = b"".join(random_blocks("item", SIZE))
INDEX = "streams/v1/index.sjson"
ITEM = "pool/root-image"
TEXT = b'{"format": "index:1.0"}\n'
OFFSETS = [0, 1, 65_536, SIZE // 2, SIZE - 1]
ODD_NAMES = ["a b", "a:b", "a+b", "100%", "a%3Ab", "für", "a=b,c;d", "(a)'!"]


@pytest.fixture(params=KINDS)
async def kind(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kind]:
    """Return an origin that has a document and an item."""
    async with KINDS[request.param](tmp_path) as kind:
        kind.write(INDEX, TEXT)
        kind.write(ITEM, DATA)
        yield kind


async def taken(piece: Piece) -> bytes:
    """Take the bytes of a piece, as whoever writes them to a file does."""
    if isinstance(piece, bytes):
        return piece
    before = piece.left_bytes
    buffer = memoryview(bytearray(100_000))
    count = await asyncio.to_thread(piece.read_into, buffer)
    assert piece.left_bytes == before - count
    return bytes(buffer[:count])


async def drain(pieces: AsyncGenerator[Piece, None], got: bytearray, after_each: Callable[[], None]) -> None:
    """Add all pieces to `got`, and do something after each."""
    async with contextlib.aclosing(pieces):
        async for piece in pieces:
            got += await taken(piece)
            after_each()


async def read(kind: Kind, path: str, size: int, offset: int = 0) -> bytes:
    """Read an item from an offset to its end."""
    got = bytearray()
    await drain(kind.origin.item(path, size).pieces(offset, ItemOptions()), got, lambda: None)
    return bytes(got)


async def test_a_document_comes_whole(kind: Kind) -> None:
    found = await kind.origin.fetch(INDEX, Validators())
    assert found is not None
    assert found.data == TEXT
    assert kind.meter.received_bytes == len(TEXT)
    assert kind.meter.failures == 0


@pytest.mark.parametrize("freshness", Freshness)
async def test_a_document_that_has_not_changed_does_not_come_again(kind: Kind, freshness: Freshness) -> None:
    first = await kind.origin.fetch(INDEX, Validators())
    assert first is not None
    assert first.validators != Validators()
    received = kind.meter.received_bytes
    assert await kind.origin.fetch(INDEX, first.validators, FetchOptions(freshness)) is None
    assert kind.meter.received_bytes == received


async def test_a_document_that_has_changed_comes_with_other_validators(kind: Kind) -> None:
    first = await kind.origin.fetch(INDEX, Validators())
    assert first is not None
    kind.write(INDEX, TEXT + b"\n")
    second = await kind.origin.fetch(INDEX, first.validators)
    assert second is not None
    assert second.data == TEXT + b"\n"
    assert second.validators != first.validators


async def test_validators_of_another_origin_are_no_obstacle(kind: Kind) -> None:
    """They may be left over from an earlier configuration, or an earlier release."""
    for stranger in (Validators(etag='"1-2-3"'), Validators(etag="\N{SNOWMAN}", last_modified="yesterday")):
        found = await kind.origin.fetch(INDEX, stranger)
        assert found is not None
        assert found.data == TEXT


async def test_an_empty_document_is_one(kind: Kind) -> None:
    kind.write("streams/v1/empty.json", b"")
    found = await kind.origin.fetch("streams/v1/empty.json", Validators())
    assert found is not None
    assert found.data == b""


async def test_what_is_not_there_is_absent(kind: Kind) -> None:
    for path in ("streams/v1/other.sjson", "other/item", f"{ITEM}/below"):
        with pytest.raises(OriginAbsent) as absent:
            await kind.origin.fetch(path, Validators())
        assert absent.value.origin == kind.origin.name
        with pytest.raises(OriginAbsent):
            await read(kind, path, 1000)
    assert kind.meter.failures == 0


async def test_a_document_over_the_limit_is_refused(kind: Kind) -> None:
    kind.write(INDEX, b"x" * OPTIONS.document_limit_bytes)
    assert await kind.origin.fetch(INDEX, Validators()) is not None
    kind.write(INDEX, b"x" * (OPTIONS.document_limit_bytes + 1))
    received = kind.meter.received_bytes
    with pytest.raises(OriginOverdid, match="document_limit"):
        await kind.origin.fetch(INDEX, Validators())
    assert (kind.meter.received_bytes, kind.meter.exceeded_times) == (received, 1)


@pytest.mark.parametrize("offset", OFFSETS)
async def test_an_item_comes_from_any_offset_to_its_end(kind: Kind, offset: int) -> None:
    assert await read(kind, ITEM, SIZE, offset) == DATA[offset:]
    assert kind.meter.received_bytes == SIZE - offset


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 1), (0, SIZE), (1, SIZE - 1), (70_000, 140_000), (SIZE - 1, SIZE)]
)
async def test_a_part_of_an_item_comes_by_itself_and_beside_others(kind: Kind, start: int, stop: int) -> None:
    item = kind.origin.item(ITEM, SIZE)

    async def read_part() -> bytes:
        part, got = item.part(start, stop, ItemOptions()), b""
        async with contextlib.aclosing(part.chunks()) as chunks:
            async for chunk in chunks:
                got += chunk
        assert part.place == ""
        return got

    assert [*await asyncio.gather(read_part(), read_part())] == [DATA[start:stop]] * 2
    assert kind.meter.failures == 0


async def test_a_part_of_a_copy_of_another_length_is_refused(kind: Kind) -> None:
    kind.write(ITEM, DATA + b"?")
    chunks = kind.origin.item(ITEM, SIZE).part(5, 10, ItemOptions()).chunks()
    with pytest.raises(OriginError):
        await anext(chunks)


@pytest.mark.parametrize("name", ODD_NAMES)
async def test_a_canonical_path_names_a_file_literally(kind: Kind, name: str) -> None:
    kind.write(f"pool/{name}", name.encode())
    size = len(name.encode())
    assert await read(kind, f"pool/{name}", size) == name.encode()
    found = await kind.origin.fetch(f"pool/{name}", Validators())
    assert found is not None
    assert found.data == name.encode()


async def test_what_is_stored_under_an_escaped_name_is_found(kind: Kind) -> None:
    """Some publish a colon as %3A, and FAT cannot hold it otherwise."""
    kind.write("streams/v1/com.ubuntu.maas%3Av3.sjson", TEXT)
    found = await kind.origin.fetch("streams/v1/com.ubuntu.maas:v3.sjson", Validators())
    assert found is not None
    assert found.data == TEXT


@pytest.mark.parametrize("actual", [0, 1, SIZE // 2, SIZE - 1, SIZE + 1])
async def test_a_copy_of_another_length_is_said_to_be_one(kind: Kind, actual: int) -> None:
    """With the name of the origin and both lengths, at whatever offset, at the second try at the latest."""
    kind.write(ITEM, (DATA + b"?")[:actual])
    for offset in (0, SIZE // 2):
        item = kind.origin.item(ITEM, SIZE)
        with pytest.raises(OriginError) as error:
            await drain(item.pieces(offset, ItemOptions()), bytearray(), lambda: None)
        if error.value.is_about_question:
            with pytest.raises(OriginError) as error:
                await drain(item.pieces(offset, ItemOptions()), bytearray(), lambda: None)
        assert isinstance(error.value, WrongLength)
        told = f"{kind.origin.name}: its copy has {actual} bytes, the list says {SIZE}"
        assert str(error.value).startswith(told)


@pytest.mark.parametrize("after", [0, 1_000_000, SIZE - 1])
async def test_what_ends_early_is_an_error_after_all_that_came(kind: Kind, after: int) -> None:
    kind.prepare_cut(ITEM, after)
    got = bytearray()
    pieces = kind.origin.item(ITEM, SIZE).pieces(0, ItemOptions())
    with pytest.raises(OriginError) as error:
        await drain(pieces, got, lambda: kind.cut(ITEM, after))
    assert len(got) < SIZE
    assert DATA.startswith(got)
    assert error.value.origin == kind.origin.name


async def test_an_origin_is_blamed_by_its_name(kind: Kind) -> None:
    assert kind.origin.name.endswith("/")
    assert kind.origin.item(ITEM, SIZE).place == ""
    with pytest.raises(OriginAbsent, match=f"^{kind.origin.name}: "):
        await kind.origin.fetch("streams/v1/other.sjson", Validators())


async def test_an_origin_out_of_reach_is_unreachable_and_not_empty(kind: Kind) -> None:
    await kind.go_away()
    for _ in range(2):
        with pytest.raises(OriginUnreachable) as error:
            await kind.origin.fetch(INDEX, Validators())
        assert error.value.origin == kind.origin.name
        with pytest.raises(OriginUnreachable):
            await read(kind, ITEM, SIZE)
    assert kind.meter.failures == 4


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def until(expected: int) -> None:
    """Return when no more descriptors are open than before; a thread or a server may be closing one."""
    async with asyncio.timeout(5):
        while open_descriptors() > expected:  # noqa: ASYNC110 - the kernel has no event for it
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("how", ["closed", "cancelled"])
async def test_whoever_leaves_midway_leaves_nothing_open(kind: Kind, how: str) -> None:
    await read(kind, ITEM, SIZE)
    await kind.settled()
    tasks, descriptors = asyncio.all_tasks(), open_descriptors()

    async def begin() -> None:
        async with contextlib.aclosing(kind.origin.item(ITEM, SIZE).pieces(0, ItemOptions())) as pieces:
            async for piece in pieces:
                await taken(piece)
                if how == "closed":
                    return
                begun.set()
                await asyncio.Event().wait()

    begun = asyncio.Event()
    reading = asyncio.create_task(begin())
    if how == "cancelled":
        await begun.wait()
        reading.cancel()
    await asyncio.wait([reading])
    assert reading.cancelled() == (how == "cancelled")
    await kind.settled()
    await until(descriptors)
    assert {one for one in asyncio.all_tasks() if not one.done()} <= tasks


async def test_whoever_leaves_before_an_answer_leaves_nothing_open(kind: Kind) -> None:
    await read(kind, ITEM, SIZE)
    await kind.settled()
    descriptors = open_descriptors()
    for _ in range(20):
        fetching = asyncio.create_task(kind.origin.fetch(INDEX, Validators(), CONFIRMED))
        reading = asyncio.create_task(read(kind, ITEM, SIZE))
        await asyncio.sleep(0)
        fetching.cancel()
        reading.cancel()
        await asyncio.wait([fetching, reading])
    await kind.settled()
    await until(descriptors)
    assert open_descriptors() <= descriptors


async def test_many_are_read_at_once(kind: Kind) -> None:
    """Each gets its own bytes, and a document does not wait for items to end."""
    names = [f"pool/{number}" for number in range(20)]
    for number, name in enumerate(names):
        kind.write(name, DATA[number : number + 1_500_000])
    *items, document = await asyncio.gather(
        *(read(kind, name, 1_500_000) for name in names), kind.origin.fetch(INDEX, Validators())
    )
    assert items == [DATA[number : number + 1_500_000] for number in range(20)]
    assert document is not None


PAIRS = list(itertools.product(KINDS, KINDS))


@pytest.fixture(params=PAIRS, ids="-then-".join)
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Kind, Kind]]:
    """Return two origins of the same item, of any two kinds."""
    async with contextlib.AsyncExitStack() as stack:
        kinds = []
        for number, name in enumerate(request.param):
            root = tmp_path / str(number)
            root.mkdir()
            kind = await stack.enter_async_context(KINDS[name](root))
            kind.write(INDEX, TEXT)
            kind.write(ITEM, DATA)
            kinds.append(kind)
        yield kinds[0], kinds[1]


def pull_from(*kinds: Kind) -> Pull:
    route = Route([kind.origin for kind in kinds], clock=monotonic)
    return Pull([Source(route, ITEM)], SIZE, 0, OPTIONS, Random(1), Doubts(), Hosts(4, monotonic))


async def test_a_transfer_goes_on_at_another_origin_with_the_next_byte(pair: tuple[Kind, Kind]) -> None:
    first, second = pair
    first.prepare_cut(ITEM, 2_000_000)
    pull = pull_from(first, second)
    got = bytearray()
    await drain(pull.pieces(), got, lambda: first.cut(ITEM, 2_000_000))
    assert got == DATA
    assert [part.origin for part in pull.parts] == [first.origin.name, second.origin.name]
    assert [part.stop for part in pull.parts] == [pull.parts[1].start, SIZE]
    assert 0 < pull.parts[0].stop <= 2_000_000


async def test_an_origin_out_of_reach_is_passed_over(pair: tuple[Kind, Kind]) -> None:
    first, second = pair
    await first.go_away()
    pull = pull_from(first, second)
    assert b"".join([await taken(piece) async for piece in pull.pieces()]) == DATA
    assert pull.contributors == {second.origin.name}


async def test_an_item_that_neither_has_is_absent(pair: tuple[Kind, Kind]) -> None:
    for kind in pair:
        (kind.root / ITEM).unlink()
    pull = pull_from(*pair)
    with pytest.raises(ItemAbsent):
        await drain(pull.pieces(), bytearray(), lambda: None)
    assert pull.absent_at(ITEM) == {kind.origin.name for kind in pair}
