"""Pauses between tries: growing, bounded, never in step."""

from itertools import islice
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from proxy.sources.backoff import pauses_s


@given(st.randoms(use_true_random=False), st.floats(0.01, 10), st.floats(0.01, 100))
def test_pauses_grow_up_to_their_limit(random: Random, first_s: float, limit_s: float) -> None:
    """Each lies in the upper half of a span that doubles."""
    span_s = first_s
    for pause_s in islice(pauses_s(random, first_s=first_s, limit_s=limit_s), 12):
        assert span_s / 2 <= pause_s <= span_s
        span_s = min(span_s * 2, limit_s)


def test_the_usual_pauses_are_short_at_first_and_never_long() -> None:
    pauses = list(islice(pauses_s(Random(1)), 1000))
    assert pauses[0] <= 0.2
    assert all(2.5 <= pause_s <= 5 for pause_s in pauses[6:])


def test_two_clients_do_not_stay_in_step() -> None:
    one, other = (list(islice(pauses_s(Random(seed)), 5)) for seed in (1, 2))
    assert all(mine != theirs for mine, theirs in zip(one, other, strict=True))
