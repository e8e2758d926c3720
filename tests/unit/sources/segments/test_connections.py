"""Which connections of an item there are, what they bring, and which are too many."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from proxy.sources.candidates import Candidate
from proxy.sources.segments.connections import Connections, Rate, Transfer
from proxy.sources.segments.window import Chunk, Segment, Sender

NOTHING: Any = None
ONE, TWO = Candidate(NOTHING, "one"), Candidate(NOTHING, "two")  # type: ignore[arg-type]


def a_transfer(candidate: Candidate, start: int, rate_bytes: float, received: int = 1) -> Transfer:
    """Return one of 100 bytes, of which some have come."""
    transfer = Transfer(candidate, Segment(start, start + 100), rate_bytes, began_at=0.0)
    transfer.received_bytes = transfer.segment.add(Chunk(Sender("one"), bytes(received)))
    return transfer


@pytest.fixture
def connections() -> Connections:
    """Return a main transfer at one origin, a transfer of a part there, and two at another origin."""
    found = Connections()
    found.main, found.main_rate, found.main_works = ONE, Rate(10.0), True
    found.transfers = [a_transfer(ONE, 100, 20.0), a_transfer(TWO, 200, 40.0), a_transfer(TWO, 300, 2.0, 0)]
    return found


def test_all_count_and_all_rates_add_up(connections: Connections) -> None:
    assert (len(connections), connections.rate_bytes) == (4, 72.0)
    connections.main = None
    assert (len(connections), connections.rate_bytes) == (3, 62.0)


def test_the_usual_rate_is_that_at_the_origin_or_at_any_or_the_last_one_known(
    connections: Connections,
) -> None:
    three = Candidate(NOTHING, "three")  # type: ignore[arg-type]
    assert connections.usual_rate(ONE) == 15.0
    assert connections.usual_rate(TWO) == 40.0, "what has brought nothing yet says nothing"
    assert connections.usual_rate(three) == connections.usual_rate() == pytest.approx(70 / 3)
    connections.main = None
    connections.transfers.clear()
    assert connections.usual_rate(ONE) == pytest.approx(70 / 3)


def test_the_rate_at_an_origin_is_remembered_when_only_others_are_asked(connections: Connections) -> None:
    """A slow one must not be taken for as fast as another, nor a fast one for as slow."""
    connections.tick(1e-9)
    connections.main, connections.transfers = None, connections.transfers[:1]
    assert connections.usual_rate(TWO) == pytest.approx(40.0)
    connections.transfers.clear()
    assert connections.usual_rate(ONE) == pytest.approx(20.0, rel=0.6)


def test_a_transfer_is_silent_that_began_before_and_has_brought_nothing(connections: Connections) -> None:
    *_, last = connections.transfers
    last.began_at = 10.0
    assert connections.silent(9.0) is None
    assert connections.silent(10.0) is last
    last.received_bytes = 1
    assert connections.silent(10.0) is None


def test_rates_follow_what_comes(connections: Connections) -> None:
    for _ in range(100):
        connections.main_rate.note(5)
        connections.transfers[1].rate.note(3)
        connections.tick(0.1)
    rates = [connections.main_rate, *(one.rate for one in connections.transfers)]
    assert [one.rate_bytes for one in rates] == pytest.approx([50.0, 0.0, 30.0, 0.0], abs=1e-3)


def test_what_is_too_much_at_an_origin_goes_first_and_then_what_is_furthest_ahead(
    connections: Connections,
) -> None:
    to_one, first, last = connections.transfers
    assert connections.least_wanted(Counter([ONE, TWO, TWO])) is to_one
    assert connections.least_wanted(Counter([ONE, ONE, TWO])) is last
    assert connections.least_wanted(Counter([ONE, ONE, TWO, TWO])) is last
    connections.transfers = [last, first, to_one]
    assert connections.least_wanted(Counter([ONE, ONE])) is last


def test_an_origin_lacks_connections_until_it_has_as_many_as_are_wanted(connections: Connections) -> None:
    assert connections.lacking(Counter([ONE, ONE, TWO, TWO])) == []
    assert connections.lacking(Counter([ONE, ONE, TWO, TWO, TWO])) == [TWO]
    connections.main = None
    assert connections.lacking(Counter([ONE, ONE, TWO, TWO, TWO])) == [ONE, TWO]


def test_the_slowest_ends_last_of_those_that_the_main_transfer_has_not_reached(
    connections: Connections,
) -> None:
    to_one, first, last = connections.transfers
    assert connections.slowest(0) is last
    last.rate = Rate(100.0)
    assert connections.slowest(0) is to_one
    assert connections.slowest(102) is first
    assert connections.slowest(301) is None


def test_all_have_brought_something_once_the_last_one_has(connections: Connections) -> None:
    assert not connections.have_all_brought_something
    connections.transfers[-1].received_bytes = 1
    assert connections.have_all_brought_something


def test_what_has_brought_nothing_goes_before_what_is_further_ahead(connections: Connections) -> None:
    """It may never be answered, while the other works."""
    _, first, last = connections.transfers
    first.received_bytes, last.received_bytes = 0, 1
    assert connections.least_wanted(Counter([ONE, ONE, TWO])) is first


def test_others_work_at_the_origin_of_a_transfer_that_have_brought_something_there(
    connections: Connections,
) -> None:
    to_one, first, last = connections.transfers
    assert [connections.others_work(one) for one in (to_one, first, last)] == [True, False, True]
    connections.main_works = False
    assert not connections.others_work(to_one), "the main transfer may wait in vain too"
    connections.main, first.received_bytes = None, 0
    assert not any(connections.others_work(one) for one in (to_one, first, last))


def test_at_a_host_works_what_has_brought_something() -> None:
    origin: Any = SimpleNamespace(host="a.example")
    one = Candidate(origin, NOTHING)
    found = Connections()
    found.main = one
    found.transfers = [a_transfer(one, 100, 1.0), a_transfer(one, 200, 1.0, 0)]
    assert (found.working_at("a.example"), found.working_at("b.example")) == (1, 0)
    found.main_works = True
    assert (found.working_at("a.example"), found.working_at("b.example")) == (2, 0)


def test_the_main_transfer_lags_when_it_brings_far_less_than_parts_did(connections: Connections) -> None:
    connections.main_rate, connections.transfers = Rate(0.0), connections.transfers[:1]
    assert connections.lagging_rate is None, "nothing is known of parts"
    connections.tick(1e-9)
    assert connections.lagging_rate == pytest.approx(20.0)
    connections.transfers.clear()
    assert connections.lagging_rate == pytest.approx(20.0)
    connections.main_rate = Rate(6.0)
    assert connections.lagging_rate is None
    connections.main, connections.main_rate = None, Rate(0.0)
    assert connections.lagging_rate is None


def test_a_part_trickles_where_others_were_far_faster_of_late(connections: Connections) -> None:
    to_one, first, last = connections.transfers
    first.rate, to_one.rate, last.rate = Rate(6400.0), Rate(99.0), Rate(0.0)
    assert connections.trickling() is None, "nothing is known of any"
    connections.tick(1e-9)
    assert connections.trickling() is to_one
    to_one.rate = Rate(101.0)
    assert connections.trickling() is None, "and what has brought nothing yet may only be late"
    first.rate = Rate(99.0)
    assert connections.trickling() is first
    for _ in range(1000):
        for one in connections.transfers:
            one.rate.note(50)
        connections.tick(1.0)
    assert connections.trickling() is None, "all have been slow for long"
