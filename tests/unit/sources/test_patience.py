"""How long the origins of an item are asked on."""

from random import Random

import pytest
from support.running import Clock

from proxy.sources.errors import OriginUnreachable
from proxy.sources.patience import Patience

GONE = OriginUnreachable("a", "it is gone")


@pytest.fixture
def patience(clock: Clock) -> Patience:
    return Patience(clock, Random(1))


def test_the_next_byte_is_waited_for_from_the_last_one_on(patience: Patience, clock: Clock) -> None:
    """Whatever origins do meanwhile, and however long they take for it."""
    clock.advance(7)
    assert patience.silence_s == 7
    patience.came()
    clock.advance(2)
    patience.failed(GONE, has_begun=True)
    assert patience.silence_s == 2


def test_failures_count_until_bytes_come_and_the_last_one_is_known(patience: Patience) -> None:
    for _ in range(3):
        patience.failed(GONE, has_begun=False)
    patience.failed(GONE, has_begun=True)
    assert patience.failed_tries == 3
    patience.came()
    assert patience.failed_tries == 0
    assert patience.last is GONE


def test_pauses_grow_until_bytes_come(patience: Patience) -> None:
    first, *_, last = [patience.next_pause_s() for _ in range(8)]
    assert first <= 0.2
    assert 2.5 <= last <= 5.0
    patience.came()
    assert patience.next_pause_s() <= 0.2
