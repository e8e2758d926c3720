"""The bytes ahead of an item leave in order, each once, however they come and whoever breaks off."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.sources.segments.window import LEAST_BYTES, Chunk, Segment, Sender, Window

SIZE = 9 * LEAST_BYTES + 12_345
SENDER = Sender("a")


DATA = Random(1).randbytes(SIZE)


def data(start: int, stop: int) -> bytes:
    """Return bytes of the item."""
    return DATA[start:stop]


def receive(segment: Segment, count: int) -> None:
    segment.add(Chunk(SENDER, data(segment.received, segment.received + count)))


def test_segments_follow_each_other_without_gaps_up_to_the_limit() -> None:
    window = Window(100, SIZE, 4 * LEAST_BYTES)
    first = window.claim(LEAST_BYTES, 200)
    second = window.claim(2 * LEAST_BYTES)
    assert first is not None
    assert second is not None
    assert (first.start, second.start) == (200, first.stop)
    assert window.claim(LEAST_BYTES) is None
    assert window.starts_at == 200
    window.advance(LEAST_BYTES)
    assert window.claim(LEAST_BYTES) is not None


def test_the_main_transfer_ends_where_something_has_come_that_is_missing() -> None:
    window = Window(0, SIZE, SIZE)
    first, second = window.claim(LEAST_BYTES, 1000), window.claim(LEAST_BYTES)
    assert first is not None
    assert second is not None
    assert window.takes_over_at == SIZE
    receive(first, 10)
    assert window.takes_over_at == 1000
    window.advance(1010)
    assert window.takes_over_at == SIZE
    receive(second, 1)
    window.advance(first.stop)
    assert window.takes_over_at == second.start


def test_no_segment_leaves_a_rest_that_is_not_worth_a_request() -> None:
    window = Window(0, 2 * LEAST_BYTES - 1, SIZE)
    segment = window.claim(LEAST_BYTES)
    assert segment is not None
    assert segment.stop == 2 * LEAST_BYTES - 1
    assert window.claim(LEAST_BYTES) is None


def test_what_nobody_fetches_at_the_position_is_a_hole_for_the_main_transfer() -> None:
    window = Window(0, SIZE, SIZE)
    first, second = window.claim(LEAST_BYTES), window.claim(LEAST_BYTES)
    assert first is not None
    assert second is not None
    receive(first, 1000)
    window.leave(first)
    assert window.is_covered
    assert window.take() == Chunk(SENDER, data(0, 1000))
    assert not window.is_covered
    assert window.left_behind() is first
    window.open_hole()
    assert window.starts_at == second.start
    window.advance(second.start + 10)
    receive(second, 50)
    assert window.take() == Chunk(SENDER, data(second.start + 10, second.start + 50))


def test_a_segment_is_split_where_nothing_has_come_yet() -> None:
    window = Window(0, SIZE, SIZE)
    segment = window.claim(LEAST_BYTES)
    assert segment is not None
    receive(segment, 1000)
    with pytest.raises(ValueError, match="split"):
        window.split(segment, 999)
    end = window.split(segment, 1000)
    assert segment.is_whole
    assert (end.start, end.stop) == (1000, LEAST_BYTES)
    assert segment.add(Chunk(SENDER, b"too late")) == 0


def test_the_end_that_a_transfer_leaves_can_be_claimed_anew() -> None:
    """Where nothing came at all, nothing is in the way of the main transfer."""
    window = Window(0, SIZE, SIZE)
    first, second = window.claim(LEAST_BYTES, 500), window.claim(LEAST_BYTES)
    assert first is not None
    assert second is not None
    receive(first, 100)
    window.leave(second)
    assert window.frontier == first.stop
    window.leave(first)
    assert window.frontier == 600
    assert window.left_behind() is None
    window.advance(600)
    assert window.starts_at == SIZE


@settings(deadline=None)
@given(st.integers())
def test_whatever_happens_all_bytes_leave_in_order_and_once(seed: int) -> None:
    random = Random(seed)
    window = Window(0, SIZE, random.randint(2 * LEAST_BYTES, SIZE))
    out = bytearray()
    while len(out) < SIZE:
        taken = [one for one in window.segments if one.is_taken]
        move = random.choice(
            ["claim", "claim", "receive", "receive", "leave", "retake", "split", "main", "take"]
        )
        one = random.choice(taken) if taken else None
        if move == "claim":
            start = min(SIZE, window.position + 5000) if not window.segments else None
            window.claim(random.randint(LEAST_BYTES, 2 * LEAST_BYTES), start)
        elif move == "receive" and one is not None:
            receive(one, random.choice([1, 1000, LEAST_BYTES, 3 * LEAST_BYTES]))
            if one.is_whole:
                window.leave(one)
        elif move == "leave" and one is not None:
            window.leave(one)
        elif move == "retake" and (left := window.left_behind()) is not None:
            left.is_taken = True
        elif move == "split" and one is not None and one.left_bytes:
            window.split(one, random.randint(one.received, one.stop - 1))
        elif move == "main" and not window.is_covered:
            window.open_hole()
            stop = min(SIZE, window.position + 500_000, window.starts_at + random.choice([0, 3000]))
            out += data(len(out), stop)
            window.advance(stop)
        elif move == "take" and (chunk := window.take()) is not None:
            out += chunk.data
        assert window.position == len(out)
        assert window.claimed_bytes <= max(0, window.frontier - window.position)
    assert out == DATA


def test_the_end_of_the_hole_is_taken_over() -> None:
    window = Window(0, SIZE, SIZE)
    first = window.claim(LEAST_BYTES, LEAST_BYTES)
    window.advance(1000)
    over = window.take_over(1000)
    assert window.segments == (over, first)
    assert (over.start, over.stop, window.is_covered) == (1000, LEAST_BYTES, True)
    receive(over, 10)
    assert window.takes_over_at == 1000
    for at in (999, 1000):
        with pytest.raises(ValueError, match="cannot be taken over"):
            window.take_over(at)
