"""An item in order, whatever its origins do: resumed, failed over, given up; for origins of any kind.

The origins here are of a kind of their own: they have the item in memory, and a script of what happens.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from random import Random
from time import monotonic

import pytest
import uvloop
from support.running import Clock

from proxy.sources.candidates import Doubts, Source
from proxy.sources.document import CONFIRMED, Fetched, FetchOptions, Validators
from proxy.sources.errors import (
    ItemAbsent,
    ItemForbidden,
    ItemUnobtainable,
    OriginAbsent,
    OriginError,
    OriginForbidden,
    OriginUnreachable,
    WrongCopy,
    WrongLength,
)
from proxy.sources.freshness import Freshness
from proxy.sources.options import UpstreamOptions
from proxy.sources.origin import ItemOptions, ItemPart, Piece
from proxy.sources.pull import Part, Pull
from proxy.sources.route import Route
from proxy.sources.segments.hosts import Hosts

DATA = bytes(range(100))
OPTIONS = UpstreamOptions(give_up_after_s=0.5)

Step = int | float | Callable[[str], OriginError]
"""So many bytes, so many seconds of silence, or an error."""


class Memory:
    """A piece that a thread could read; it gives little at a time."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def left_bytes(self) -> int:
        return len(self._data)

    def read_into(self, buffer: memoryview) -> int:
        count = min(3, len(buffer), len(self._data))
        buffer[:count] = self._data[:count]
        self._data = self._data[count:]
        return count

    def read(self) -> bytes:
        buffer = bytearray(10)
        return bytes(buffer[: self.read_into(memoryview(buffer))])


class Scripted:
    """An origin that follows a script, one list of steps for each time it is asked; then it gives all."""

    def __init__(self, name: str, *tries: Sequence[Step], is_readable: bool = False) -> None:
        self.name = name
        self.host = name
        self._tries = list(tries)
        self._is_readable = is_readable
        self.asked: list[tuple[int, ItemOptions]] = []
        self.place = ""

    async def fetch(
        self, path: str, validators: Validators, options: FetchOptions = CONFIRMED
    ) -> Fetched | None:
        raise NotImplementedError

    def item(self, path: str, size_bytes: int) -> "Scripted":
        assert (path, size_bytes) == ("item", 100)
        return self

    def part(self, start: int, stop: int, options: ItemOptions) -> ItemPart:
        raise NotImplementedError

    async def pieces(self, offset: int, options: ItemOptions) -> AsyncGenerator[Piece, None]:
        self.asked.append((offset, options))
        for step in self._tries.pop(0) if self._tries else [100 - offset]:
            if isinstance(step, float):
                await asyncio.sleep(step)
                continue
            if not isinstance(step, int):
                raise step(self.name)
            if self._is_readable:
                memory = Memory(DATA[offset : offset + step])
                while memory.left_bytes:
                    yield memory
            else:
                yield DATA[offset : offset + step]
            offset += step


def gone(name: str) -> OriginError:
    return OriginUnreachable(name, "it is gone")


def absent(name: str) -> OriginError:
    return OriginAbsent(name, "it has none")


def forbidden(name: str) -> OriginError:
    return OriginForbidden(name, "it does not give it", "walls say so")


def too_long(name: str) -> OriginError:
    return WrongLength(name, 100, 101)


def odd_question(name: str) -> OriginError:
    error = gone(name)
    error.is_about_question = True
    return error


def pull_of(
    *origins: Scripted,
    doubts: Doubts = Doubts(),  # noqa: B008 - frozen
    offset: int = 0,
    hosts: Hosts | None = None,
) -> Pull:
    route, hosts = Route(origins, Clock()), hosts or Hosts(4, monotonic)
    return Pull([Source(route, "item")], 100, offset, OPTIONS, Random(1), doubts, hosts)


async def drained(pull: Pull) -> bytes:
    got = b""
    async with aclosing(pull.pieces()) as pieces:
        async for piece in pieces:
            got += piece if isinstance(piece, bytes) else piece.read()
    return got


@pytest.mark.parametrize("is_readable", [False, True])
async def test_a_transfer_is_resumed_where_it_broke_off(is_readable: bool) -> None:
    """At the next origin first; each byte comes once, and it is known whose it is."""
    a = Scripted("a", [10, 20, gone], is_readable=is_readable)
    b = Scripted("b", [30, gone], is_readable=is_readable)
    pull = pull_of(a, b)
    assert await drained(pull) == DATA
    assert [offset for offset, _ in a.asked + b.asked] == [0, 60, 30]
    assert pull.parts == [Part("a", 0, 30), Part("b", 30, 60), Part("a", 60, 100)]
    assert pull.contributors == {"a", "b"}


async def test_the_beginning_may_be_here_already() -> None:
    a = Scripted("a")
    pull = pull_of(a, offset=40)
    assert await drained(pull) == DATA[40:]
    assert pull.parts == [Part("a", 40, 100)]


async def test_all_that_is_here_needs_no_origin() -> None:
    a = Scripted("a")
    assert await drained(pull_of(a, offset=100)) == b""
    assert a.asked == []


async def test_an_error_after_the_last_byte_does_not_matter() -> None:
    assert await drained(pull_of(Scripted("a", [100, gone]))) == DATA


async def test_an_item_that_no_origin_has_is_absent() -> None:
    a, b = Scripted("a", [absent]), Scripted("b", [absent])
    pull = pull_of(a, b)
    with pytest.raises(ItemAbsent):
        await drained(pull)
    assert pull.absent_at("item") == {"a", "b"}
    assert pull.absent_at("other") == set()


async def test_an_origin_that_lacks_the_item_is_not_asked_again() -> None:
    a, b = Scripted("a", [absent]), Scripted("b", [10, gone], [gone])
    assert await drained(pull_of(a, b)) == DATA
    assert len(a.asked) == 1


async def test_a_copy_of_another_size_is_reported_when_nobody_has_a_right_one() -> None:
    pull = pull_of(Scripted("a", [too_long]), Scripted("b", [absent]))
    with pytest.raises(WrongLength):
        await drained(pull)
    assert [error.origin for error in pull.wrong_lengths] == ["a"]


async def test_an_origin_that_contradicts_itself_is_asked_again() -> None:
    """A login page, say, comes in place of the rest; the next time the rest does."""
    a = Scripted("a", [50, gone], [too_long])
    assert await drained(pull_of(a)) == DATA
    assert [offset for offset, _ in a.asked] == [0, 50, 50]


async def test_an_item_that_all_refuse_twice_is_forbidden_and_says_what_that_may_mean() -> None:
    a, b = Scripted("a", [forbidden], [forbidden]), Scripted("b", [absent])
    with pytest.raises(ItemForbidden, match=r"no origin gives item: a: it does not give it\. walls say so"):
        await drained(pull_of(a, b))
    assert len(a.asked) == 2


async def test_who_refuses_while_others_have_all_connections_that_it_allows_is_asked_again() -> None:
    """It says nothing about the item, however often it refuses, and is not asked less for that later."""
    hosts = Hosts(4, monotonic)
    hosts.connected("a", "another item")
    hosts.note_refused("a", "pool/another", "it answered with status 403")
    a = Scripted("a", [forbidden], [forbidden])
    assert await drained(pull_of(a, hosts=hosts)) == DATA
    assert len(a.asked) == 3
    hosts.disconnected("a", "another item")
    a = Scripted("a", [forbidden], [forbidden])
    with pytest.raises(ItemForbidden):
        await drained(pull_of(a, hosts=hosts))


async def test_a_refusal_that_is_over_is_forgotten() -> None:
    """Twice in a row counts, not twice at all."""
    a = Scripted("a", [forbidden], [gone], [forbidden])
    options = UpstreamOptions(give_up_after_s=20)
    route = Route([a], Clock())
    assert (
        await drained(
            Pull([Source(route, "item")], 100, 0, options, Random(1), Doubts(), Hosts(4, monotonic))
        )
        == DATA
    )


async def test_origins_that_fail_for_long_are_given_up() -> None:
    a = Scripted("a", *[[gone]] * 100)
    rounds: list[OriginError] = []
    pull = pull_of(a)

    async def note(error: OriginError) -> None:
        rounds.append(error)

    pull.after_failed_round = note
    began = asyncio.get_running_loop().time()
    with pytest.raises(ItemUnobtainable, match="item cannot be had now; last: a: it is gone"):
        await drained(pull)
    assert 0.4 < asyncio.get_running_loop().time() - began < 5
    assert len(rounds) == len(a.asked) - 1 > 0


@pytest.mark.parametrize("is_readable", [False, True])
async def test_the_silence_before_an_origin_fails_counts_too(is_readable: bool) -> None:
    """But who has sent something is asked once more, and a second origin has its turn."""
    silent: list[Step] = [50, 0.6, gone]
    a = Scripted("a", silent, [gone], is_readable=is_readable)
    with pytest.raises(ItemUnobtainable):
        await drained(pull_of(a))
    assert len(a.asked) == 2
    a = Scripted("a", silent, is_readable=is_readable)
    assert await drained(pull_of(a)) == DATA
    a, b = Scripted("a", silent, is_readable=is_readable), Scripted("b")
    assert await drained(pull_of(a, b)) == DATA
    assert [offset for offset, _ in b.asked] == [50]


async def test_a_reader_that_takes_its_time_is_no_silence() -> None:
    a = Scripted("a", [50, gone])
    got = b""
    async with aclosing(pull_of(a).pieces()) as pieces:
        async for piece in pieces:
            assert isinstance(piece, bytes)
            got += piece
            await asyncio.sleep(0.6)
    assert got == DATA


async def test_a_client_may_have_less_patience_for_the_first_byte() -> None:
    a = Scripted("a", *[[gone]] * 100)
    pull = pull_of(a)
    pull.first_byte_within_s = 0
    with pytest.raises(ItemUnobtainable):
        await drained(pull)
    assert len(a.asked) == 1
    pull = pull_of(Scripted("a", [1, gone], [gone], []))
    pull.first_byte_within_s = 0
    assert await drained(pull) == DATA[:1]


async def test_an_error_about_the_question_is_nobodys_fault() -> None:
    """The origin is asked in another way, and stays where it is in the order."""
    a, b = Scripted("a", [odd_question]), Scripted("b", [10, gone])
    route = Route([a, b], Clock())
    assert (
        await drained(
            Pull([Source(route, "item")], 100, 0, OPTIONS, Random(1), Doubts(), Hosts(4, monotonic))
        )
        == DATA
    )
    assert [one.name for one in route.order()] == ["a", "b"]


async def test_a_failure_is_noted_and_made_good() -> None:
    a, b = Scripted("a", [gone]), Scripted("b")
    route = Route([a, b], Clock())
    await drained(Pull([Source(route, "item")], 100, 0, OPTIONS, Random(1), Doubts(), Hosts(4, monotonic)))
    assert [one.name for one in route.order()] == ["b", "a"]
    await drained(
        Pull([Source(Route([a], Clock()), "item")], 100, 0, OPTIONS, Random(1), Doubts(), Hosts(4, monotonic))
    )
    route.worked(a)
    assert [one.name for one in route.order()] == ["a", "b"]


async def test_when_bytes_were_mixed_all_come_from_one_origin() -> None:
    """Another could be asked for the whole: after three tries the one is given up."""
    a, b = Scripted("a", [50, gone], *[[gone]] * 10), Scripted("b")
    pull = pull_of(a, b, doubts=Doubts(is_mixed=True, is_suspect=True))
    with pytest.raises(ItemUnobtainable):
        await drained(pull)
    assert b.asked == []
    assert 3 <= len(a.asked) <= 5
    assert {options.freshness for _, options in a.asked} == {Freshness.ANEW}


async def test_who_brings_hardly_anything_each_time_is_given_up_too_where_another_could_be_asked() -> None:
    brief: list[Step] = [10, gone]
    a, b = Scripted("a", *[brief] * 10), Scripted("b")
    with pytest.raises(ItemUnobtainable):
        await drained(pull_of(a, b, doubts=Doubts(is_mixed=True)))
    assert len(a.asked) == 3
    assert b.asked == []


async def test_who_brings_hardly_anything_each_time_is_asked_less_and_less_and_that_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Pauses double, as after a failure that brought nothing."""
    brief: list[Step] = [1, gone]
    a = Scripted("a", *[brief] * 100)
    options = UpstreamOptions(give_up_after_s=60)  # Less would cut the pauses short.
    source = Source(Route([a], Clock()), "item")
    pull = Pull([source], 100, 0, options, Random(1), Doubts(), Hosts(4, monotonic))
    with caplog.at_level(logging.WARNING), pytest.raises(TimeoutError):
        async with asyncio.timeout(2.5):
            await drained(pull)
    assert 4 <= len(a.asked) <= 6
    (told,) = [one for one in caplog.messages if one.startswith("origin.brief_answers")]
    assert told.startswith("origin.brief_answers origin=a path=item bytes=1 problem=it is gone advice=")


async def test_another_origin_goes_on_at_once_where_one_brings_hardly_anything() -> None:
    a, b = Scripted("a", [1, gone]), Scripted("b")
    assert await drained(pull_of(a, b)) == DATA
    assert [offset for offset, _ in a.asked + b.asked] == [0, 1]


async def test_who_began_is_not_given_up_while_there_is_time_and_another_to_ask() -> None:
    """Only bytes that must not be mixed are worth no more than three tries of one origin."""
    a, b = Scripted("a", [50, gone], *[[gone]] * 10), Scripted("b", [gone], [gone])
    route = Route([a, b], Clock())
    options = UpstreamOptions(give_up_after_s=60)
    assert (
        await drained(
            Pull([Source(route, "item")], 100, 0, options, Random(1), Doubts(), Hosts(4, monotonic))
        )
        == DATA
    )
    assert [len(one.asked) for one in (a, b)] == [3, 3]


async def test_origins_and_places_with_wrong_copies_are_avoided() -> None:
    doubts = Doubts(wrong_at={"a": "its digest differs", "http://mirror/": "its digest differs"})
    a, b = Scripted("a"), Scripted("b")
    assert await drained(pull_of(a, b, doubts=doubts)) == DATA
    assert a.asked == []
    ((_, options),) = b.asked
    assert options == ItemOptions(
        freshness=Freshness.KEPT, avoided={"a", "http://mirror/"}, is_replaceable=False, flow=options.flow
    )
    with pytest.raises(WrongCopy, match="a: its digest differs"):
        await drained(pull_of(a, doubts=doubts))


async def test_where_a_redirect_led_to_a_wrong_copy_is_avoided_and_the_origin_asked_again() -> None:
    def misled(name: str) -> OriginError:
        return WrongLength(name, 100, 5, place="http://mirror/")

    a = Scripted("a", [misled])
    assert await drained(pull_of(a)) == DATA
    assert [set(options.avoided) for _, options in a.asked] == [set(), {"http://mirror/"}]
    with pytest.raises(WrongLength):
        await drained(pull_of(Scripted("a", [misled], [misled])))


async def test_an_origin_knows_whether_it_can_be_replaced() -> None:
    a, b = Scripted("a", [absent]), Scripted("b")
    await drained(pull_of(a, b))
    assert [options.is_replaceable for _, options in a.asked + b.asked] == [True, False]


async def test_a_source_that_is_added_meanwhile_is_asked() -> None:
    a, b = Scripted("a", [10, gone], *[[gone]] * 100), Scripted("b")
    sources = [Source(Route([a], Clock()), "item")]
    pull = Pull(sources, 100, 0, OPTIONS, Random(1), Doubts(), Hosts(4, monotonic))
    got = b""
    async with aclosing(pull.pieces()) as pieces:
        async for piece in pieces:
            assert isinstance(piece, bytes)
            got += piece
            if len(sources) == 1:
                sources.append(Source(Route([b], Clock()), "item"))
    assert got == DATA


def test_a_pull_that_is_given_up_closes_what_it_reads() -> None:
    """On the loop that serves."""

    async def use() -> None:
        closed = asyncio.Event()

        class Endless(Scripted):
            async def pieces(self, *_: object) -> AsyncGenerator[Piece, None]:
                try:
                    yield DATA[:1]
                    await asyncio.Event().wait()
                finally:
                    closed.set()

        pieces = pull_of(Endless("a")).pieces()
        assert await anext(pieces) == DATA[:1]
        await pieces.aclose()
        assert closed.is_set()

    uvloop.run(use())
