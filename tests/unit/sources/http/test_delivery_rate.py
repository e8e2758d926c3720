"""Whether an origin only trickles, by the time that was spent waiting for it."""

from proxy.sources.http.delivery_rate import DeliveryRate


def test_less_than_the_least_over_a_whole_span_is_weak() -> None:
    pulse = DeliveryRate(100, 2.0)
    for _ in range(3):
        pulse.beat(50, 0.6)
        assert not pulse.is_weak
    pulse.beat(0, 0.6)
    assert (pulse.is_weak, pulse.rate_bytes) == (True, 62)


def test_each_span_is_judged_by_itself() -> None:
    pulse = DeliveryRate(100, 1.0)
    pulse.beat(10, 1.0)
    assert pulse.is_weak
    pulse.beat(100, 1.0)
    assert not pulse.is_weak


def test_who_is_never_waited_for_is_never_weak() -> None:
    """However seldom he is read: bytes that were here already say nothing about him."""
    pulse = DeliveryRate(10**9, 1.0)
    for _ in range(1000):
        pulse.beat(1, 0.0)
    assert not pulse.is_weak
