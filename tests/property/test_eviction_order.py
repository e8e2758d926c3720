"""Eviction against a model that tries every way."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from proxy.digest import Digest
from proxy.store.eviction_order import Usage, choose_evicted

USAGES = st.lists(
    st.builds(
        Usage,
        st.sampled_from("abcdefgh").map(Digest),
        st.integers(0, 50),
        st.floats(0, 100) | st.integers(0, 3).map(float),
    ),
    max_size=8,
    unique_by=lambda usage: usage.digest,
)
PROTECTED = st.sets(st.sampled_from("abcdefgh").map(Digest))


def size(usages: Iterable[Usage]) -> int:
    """Add sizes up."""
    return sum(usage.size_bytes for usage in usages)


@given(USAGES, PROTECTED, st.integers(-10, 300))
def test_what_goes_is_the_shortest_run_of_the_oldest_that_helps(
    usages: list[Usage], protected: set[Digest], needed_bytes: int
) -> None:
    """No protected one, none newer than one that stays, none too many, and none at all if it is in vain."""
    chosen = choose_evicted(usages, protected, needed_bytes)
    free = sorted(
        (usage for usage in usages if usage.digest not in protected), key=lambda usage: usage.used_at
    )
    runs = (free[:count] for count in range(len(free) + 1))
    assert chosen == next((run for run in runs if size(run) >= needed_bytes), [])


@given(USAGES, PROTECTED, st.integers(1, 300))
def test_what_goes_is_right_in_other_words(
    usages: list[Usage], protected: set[Digest], needed_bytes: int
) -> None:
    """The same, said one property at a time."""
    chosen = choose_evicted(usages, protected, needed_bytes)
    staying = [usage for usage in usages if usage not in chosen and usage.digest not in protected]
    assert protected.isdisjoint(usage.digest for usage in chosen)
    assert all(gone.used_at <= stays.used_at for gone in chosen for stays in staying)
    if chosen:
        assert size(chosen) >= needed_bytes > size(chosen[:-1])
    else:
        assert size(staying) < needed_bytes
