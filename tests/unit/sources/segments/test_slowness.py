"""When one connection is too slow, and it is worth it to fetch ahead over further ones."""

import pytest

from proxy.sources.segments.slowness import LEAST_LEFT_BYTES, SlownessCheck, comes_soon

MIB = 1024 * 1024
GIB = 1024 * MIB


@pytest.mark.parametrize(
    ("count", "waited_s", "left_bytes", "rate_bytes"),
    [
        (MIB, 0.9, GIB, MIB),
        (MIB, 0.4, GIB, None),  # The client is slow.
        (64 * MIB, 1.0, GIB, None),  # That is fast.
        (MIB, 1.0, LEAST_LEFT_BYTES - 1, None),
        (10 * MIB, 1.0, 10 * MIB, None),  # It is nearly over.
        (10 * MIB, 1.0, 10 * MIB + 1, 10 * MIB),
    ],
)
def test_an_origin_is_slow_that_is_waited_for_while_much_is_left(
    count: int, waited_s: float, left_bytes: int, rate_bytes: int | None
) -> None:
    check = SlownessCheck()
    assert check.slow_rate(5.0, MIB, 3.0, GIB) is None
    assert check.slow_rate(6.0, MIB + count, waited_s, left_bytes) == rate_bytes


def test_it_looks_soon_and_then_at_longer_times_from_look_to_look() -> None:
    check = SlownessCheck()
    seen = [check.slow_rate(tenth / 10, tenth * MIB, 0.1, GIB) for tenth in range(22)]
    assert [tenth for tenth, rate in enumerate(seen) if rate is not None] == [1, 11, 21]


def test_another_connection_is_looked_at_from_its_beginning() -> None:
    check = SlownessCheck()
    check.slow_rate(0.0, 0, 0.0, GIB)
    check.restart()
    assert check.slow_rate(1.0, MIB, 1.0, GIB) is None
    assert check.slow_rate(3.0, 5 * MIB, 2.0, GIB) == 2 * MIB


def test_the_rest_comes_soon_within_a_second() -> None:
    assert comes_soon(MIB, MIB)
    assert not comes_soon(MIB + 1, MIB)
