"""An item at an HTTP origin: what its headers say is believed as far as it cannot do harm."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from support.faults import Fault
from support.origin import Origin
from support.upstreams import Meter, asked_with

from proxy.sources.errors import OriginAbsent, OriginError, OriginMisbehaved, PageSent, WrongLength
from proxy.sources.http.item import HttpItem
from proxy.sources.http.origin import HttpOrigin
from proxy.sources.http.sessions import Sessions
from proxy.sources.options import UpstreamOptions
from proxy.sources.origin import ItemOptions

DATA = bytes(range(250)) * 40
ENCODED = {"Content-Encoding": "gzip"}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Origin]:
    (tmp_path / "item").write_bytes(DATA)
    async with Origin(tmp_path) as server:
        yield server


@pytest.fixture
async def origin(server: Origin) -> AsyncIterator[HttpOrigin]:
    async with Sessions(UpstreamOptions(stall_timeout_s=2)) as sessions:
        yield asked_with(sessions, server, Meter())


async def read(item: HttpItem, *, is_replaceable: bool = False, offset: int = 0) -> bytes:
    got = b""
    async for piece in item.pieces(offset, ItemOptions(is_replaceable=is_replaceable)):
        got += piece if isinstance(piece, bytes) else piece.read()
    return got


async def test_what_comes_encoded_at_any_length_is_put_off_once_while_another_may_have_it_plain(
    server: Origin, origin: HttpOrigin
) -> None:
    """Some say so of files that are compressed themselves: the next time it is taken as it is."""
    server.fault("item", Fault(chunked=True, headers=ENCODED))
    item = origin.item("item", len(DATA))
    with pytest.raises(OriginMisbehaved, match="it came encoded as gzip, which nobody asked for"):
        await read(item, is_replaceable=True)
    assert await read(item, is_replaceable=True) == DATA
    assert await read(origin.item("item", len(DATA)), is_replaceable=False) == DATA


async def test_what_comes_encoded_with_the_length_of_the_item_is_taken(
    server: Origin, origin: HttpOrigin
) -> None:
    server.fault("item", Fault(headers=ENCODED))
    assert await read(origin.item("item", len(DATA)), is_replaceable=True) == DATA


async def test_a_wrong_length_is_told_with_what_may_have_caused_it(
    server: Origin, origin: HttpOrigin
) -> None:
    server.fault(
        "item", Fault(truncate_to=100, headers=ENCODED | {"Content-Type": "text/html; charset=utf-8"})
    )
    with pytest.raises(WrongLength) as told:
        await read(origin.item("item", len(DATA)))
    assert told.value.problem == (
        f"its copy has 100 bytes, the list says {len(DATA)}; it came encoded as gzip, "
        "which nobody asked for; it is an HTML page: does it want a login, or allow no further connection?"
    )


PAGE = b"<html><body>One connection at a time, please.</body></html>"


@pytest.mark.parametrize("offset", [0, 500])
async def test_nothing_of_a_page_is_handed_on_also_if_its_length_is_not_announced(
    server: Origin, origin: HttpOrigin, offset: int
) -> None:
    """Whatever is asked for; a client would have got its beginning as that of the item."""
    server.fault("item", Fault(body=PAGE, chunked=True))
    item = origin.item("item", len(DATA))
    for _ in range(2 if offset else 1):
        with pytest.raises(OriginError) as told:
            await anext(item.pieces(offset, ItemOptions()))
    assert isinstance(told.value, PageSent)
    assert told.value.problem.startswith(f"its copy has {len(PAGE)} bytes, the list says {len(DATA)}; ")


@pytest.mark.parametrize("count", [1, 100], ids=["short", "long"])
async def test_an_item_that_is_called_a_page_is_taken_by_its_length(
    server: Origin, origin: HttpOrigin, count: int
) -> None:
    (server.root / "item").write_bytes(DATA * count)
    server.fault("item", Fault(chunked=True, headers={"Content-Type": "text/html"}))
    assert await read(origin.item("item", len(DATA) * count)) == DATA * count


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_a_page_in_place_of_a_part_says_nothing_of_parts(
    server: Origin, origin: HttpOrigin, is_chunked: bool
) -> None:
    server.fault("item", Fault(body=PAGE, chunked=is_chunked))
    part = origin.item("item", len(DATA)).part(10, 20, ItemOptions())
    with pytest.raises(PageSent) as told:
        await anext(part.chunks())
    size = "another number of" if is_chunked else len(PAGE)
    assert told.value.problem == (
        f"its copy has {size} bytes, the list says {len(DATA)}; it is an HTML page: does it want a login, "
        "or allow no further connection?"
    )


async def test_ranges_and_the_beginning_are_tried_in_turn_while_both_fail(
    server: Origin, origin: HttpOrigin
) -> None:
    """Only a range is ever about the question."""
    server.fault("item", Fault(status=500))
    item = origin.item("item", len(DATA))
    about_question = []
    for _ in range(4):
        with pytest.raises(OriginError) as told:
            await read(item, offset=500)
        about_question.append(told.value.is_about_question)
    assert [request.headers.get("Range") for request in server.gets("item")] == ["bytes=500-", None] * 2
    assert about_question == [True, False] * 2
    server.heal()
    assert await read(item, offset=500) == DATA[500:]


async def test_an_origin_without_ranges_repeats_what_is_here_already(
    server: Origin, origin: HttpOrigin
) -> None:
    server.fault("item", Fault(ignore_range=True))
    assert await read(origin.item("item", len(DATA)), offset=500) == DATA[500:]


async def test_what_is_repeated_of_a_large_item_is_skipped_too(server: Origin, origin: HttpOrigin) -> None:
    """The rest of a large reply comes straight from its socket only where nothing is to be skipped."""
    data = DATA * 400
    (server.root / "large").write_bytes(data)
    server.fault("large", Fault(ignore_range=True))
    assert await read(origin.item("large", len(data)), offset=500) == data[500:]


async def test_a_whole_reply_to_a_range_is_taken_only_if_it_says_what_it_is(
    server: Origin, origin: HttpOrigin
) -> None:
    """One with a length is the item from its beginning; of another nobody knows where it begins."""
    server.fault("item", Fault(ignore_range=True))
    assert await read(origin.item("item", len(DATA)), offset=100) == DATA[100:]
    server.fault("item", Fault(ignore_range=True, chunked=True))
    async with origin.open("item", offset=100) as reply:
        assert (reply.is_unplaced, reply.total) == (True, None)
    async with origin.open("item") as reply:
        assert reply.is_unplaced


async def test_whoever_ends_a_transfer_early_has_seen_the_origin_give_the_rest(
    server: Origin, origin: HttpOrigin
) -> None:
    """What it refused before that is not counted any more: all of the item is dear."""
    item = origin.item("item", len(DATA))
    for offset in range(1, 9):
        async with aclosing(item.pieces(offset, ItemOptions())) as pieces:
            await anext(pieces)
        server.fault("item", Fault(status=404), times=1)
        with pytest.raises(OriginAbsent):
            await read(item, offset=offset)
    assert all("Range" in seen.headers for seen in server.gets("item"))
