"""How much of a running download a client may have: never the end before the proof, never nothing long."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.fills.feed import HOLD_BACK_BYTES, FeedOptions, drip_end, flowing_end, held_end

MIB = 1024 * 1024
OFFSETS = st.integers(0, 2**40)
OPTIONS = st.builds(FeedOptions, reserve_bytes=st.integers(0, 64 * MIB))


@given(OFFSETS, OFFSETS)
def test_the_last_64_kib_of_every_reply_wait_for_the_proof(one: int, other: int) -> None:
    """Of a part as of the whole; of a short reply all of it."""
    start, stop = sorted((one, other))
    end = held_end(start, stop)
    assert start <= end <= stop
    assert stop - end == min(HOLD_BACK_BYTES, stop - start)
    assert HOLD_BACK_BYTES == 64 * 1024


@given(OFFSETS, OPTIONS)
def test_what_flows_has_arrived_less_a_reserve(filled: int, options: FeedOptions) -> None:
    end = flowing_end(filled, options)
    assert 0 <= filled - end <= options.reserve_bytes
    assert filled - end <= filled / 8
    if filled >= 8 * options.reserve_bytes:
        assert filled - end == options.reserve_bytes


@given(st.integers(1, 2**40), OPTIONS)
def test_the_first_byte_leaves_at_once_and_the_flow_never_goes_back(
    filled: int, options: FeedOptions
) -> None:
    assert flowing_end(filled, options) >= 1
    assert flowing_end(filled - 1, options) <= flowing_end(filled, options)


@given(OFFSETS, OFFSETS)
def test_a_drip_is_something_and_little(one: int, other: int) -> None:
    position, filled = sorted((one, other))
    end = drip_end(position, filled)
    left = filled - position
    assert position <= end <= filled
    assert (end > position) == (left > 0)
    assert end - position <= max(1, left // 32)


def test_the_reserve_lasts_a_quarter_of_an_hour() -> None:
    """A client that waits ten seconds for a byte gets one every three, for longer than upstream is tried."""
    options = FeedOptions()
    filled = 16 * MIB
    position = flowing_end(filled, options)
    drips = 0
    while (end := drip_end(position, filled)) > position:
        position = end
        drips += 1
    assert position == filled
    assert drips * options.drip_interval_s > 15 * 60
    assert options.drip_interval_s < 5


def test_who_got_no_byte_is_told_so_before_they_give_up() -> None:
    """Some clients wait ten seconds for a byte; after eight they learn that no origin can be reached."""
    assert FeedOptions().first_byte_within_s <= 8
