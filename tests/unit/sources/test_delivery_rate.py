"""Whether an origin only trickles, by the time that was spent waiting for it."""

from proxy.sources.delivery_rate import DeliveryRate


def test_less_than_the_least_over_a_whole_span_is_weak() -> None:
    rate = DeliveryRate(100, 2.0)
    for _ in range(3):
        rate.note(50, 0.6)
        assert not rate.is_weak
    rate.note(0, 0.6)
    assert (rate.is_weak, rate.rate_bytes) == (True, 62)


def test_each_span_is_judged_by_itself() -> None:
    rate = DeliveryRate(100, 1.0)
    rate.note(10, 1.0)
    assert rate.is_weak
    rate.note(100, 1.0)
    assert not rate.is_weak


def test_who_is_never_waited_for_is_never_weak() -> None:
    """However seldom he is read: bytes that were here already say nothing about him."""
    rate = DeliveryRate(10**9, 1.0)
    for _ in range(1000):
        rate.note(1, 0.0)
    assert not rate.is_weak
