"""Which blobs go to make room: the least recently used, never a protected one, and none in vain."""

import pytest

from proxy.digest import Digest
from proxy.store.eviction_order import Usage, choose_evicted


def usage(name: str, size_bytes: int, used_at: float) -> Usage:
    """Describe a blob."""
    return Usage(Digest(name), size_bytes, used_at)


OLD, MIDDLE, NEW = usage("old", 10, 100), usage("middle", 20, 200), usage("new", 30, 300)


@pytest.mark.parametrize(
    ("needed_bytes", "protected", "chosen"),
    [
        (1, set(), [OLD]),
        (10, set(), [OLD]),
        (11, set(), [OLD, MIDDLE]),
        (30, set(), [OLD, MIDDLE]),
        (60, set(), [OLD, MIDDLE, NEW]),
        # nothing needs to go
        (0, set(), []),
        (-5, set(), []),
        # nothing that could go would help
        (61, set(), []),
        (10**18, set(), []),
        # protected ones stay, also when that makes it impossible
        (10, {"old"}, [MIDDLE]),
        (25, {"old"}, [MIDDLE, NEW]),
        (51, {"old"}, []),
        (1, {"old", "middle", "new"}, []),
    ],
)
def test_the_least_recently_used_go_first(
    needed_bytes: int, protected: set[Digest], chosen: list[Usage]
) -> None:
    for usages in ([OLD, MIDDLE, NEW], [NEW, OLD, MIDDLE]):
        assert choose_evicted(iter(usages), protected, needed_bytes) == chosen


def test_an_empty_store_has_nothing_to_give() -> None:
    assert choose_evicted([], set(), 1) == []
