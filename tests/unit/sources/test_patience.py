"""How long the origins of an item are asked on."""

from random import Random

import pytest
from support.running import Clock

from proxy.sources.errors import OriginUnreachable
from proxy.sources.patience import Patience

KIB = 1024
GONE = OriginUnreachable("a", "it is gone")


@pytest.fixture
def patience(clock: Clock) -> Patience:
    return Patience(clock, Random(1), 100)


def test_the_next_byte_is_waited_for_from_the_last_one_on(patience: Patience, clock: Clock) -> None:
    """Whatever origins do meanwhile, and however long they take for it."""
    clock.advance(7)
    assert patience.silence_s == 7
    patience.came()
    clock.advance(2)
    patience.failed(GONE, 200, has_begun=True)
    assert patience.silence_s == 2


def test_failures_count_until_bytes_come_and_the_last_one_is_known(patience: Patience) -> None:
    for _ in range(3):
        patience.failed(GONE, 100, has_begun=False)
    patience.failed(GONE, 200, has_begun=True)
    assert patience.failed_tries == 3
    patience.came()
    assert patience.failed_tries == 0
    assert patience.last is GONE


@pytest.mark.parametrize("brought_bytes", [0, 1, 64 * KIB - 1])
def test_pauses_grow_while_each_try_brings_hardly_anything(patience: Patience, brought_bytes: int) -> None:
    """However much that is together."""
    position = 100
    pauses = []
    for tries in range(1, 9):
        patience.came()
        position += brought_bytes
        patience.failed(GONE, position, has_begun=brought_bytes > 0)
        assert patience.poor_tries == tries
        pauses.append(patience.next_pause_s())
    assert pauses[0] <= 0.2
    assert 2.5 <= pauses[-1] <= 5.0
    patience.failed(GONE, position + 64 * KIB, has_begun=True)
    assert patience.poor_tries == 0
    assert patience.next_pause_s() <= 0.2
