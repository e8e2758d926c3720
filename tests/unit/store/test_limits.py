"""How much room is made ahead of need."""

import pytest

from proxy.store.limits import StoreLimits

GIB = 1024**3


@pytest.mark.parametrize(
    ("limit_bytes", "headroom_bytes"),
    [(None, GIB), (100 * GIB, GIB), (20 * GIB, GIB), (10 * GIB, GIB // 2), (100, 5), (0, 0)],
)
def test_a_twentieth_of_the_limit_is_kept_free_and_no_more_than_a_gibibyte(
    limit_bytes: int | None, headroom_bytes: int
) -> None:
    assert StoreLimits(limit_bytes=limit_bytes).headroom_bytes == headroom_bytes


def test_a_gibibyte_of_the_disk_stays_free_unless_told_otherwise() -> None:
    assert StoreLimits().min_free_bytes == GIB
