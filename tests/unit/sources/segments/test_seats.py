"""How many connections one item may have, at which origins, and in which order."""

from typing import Any

from support.running import Clock

from proxy.sources.candidates import Candidate
from proxy.sources.segments.hosts import Hosts
from proxy.sources.segments.seats import Seats


class _Named:
    def __init__(self, name: str, host: str) -> None:
        self.name, self.host = name, host


def a_candidate(name: str, host: str | None = None) -> Candidate:
    origin: Any = _Named(name, name if host is None else host)
    source: Any = None
    return Candidate(origin, source)


ONE, TWO = a_candidate("one"), a_candidate("two")
HOLDER = object()


def seats_of(clock: Clock, *able: Candidate, connections: int = 4) -> tuple[Seats, Hosts]:
    hosts = Hosts(connections, clock)
    return Seats(hosts, HOLDER, lambda: able), hosts


def names(seats: Seats) -> list[str]:
    return [one.origin.name for one in seats.in_turn()]


def test_one_at_each_origin_comes_first(clock: Clock) -> None:
    seats, _ = seats_of(clock, ONE, TWO, connections=3)
    assert names(seats) == ["one", "two", "one", "two", "one", "two"]


def test_origins_on_one_host_share_what_there_may_be(clock: Clock) -> None:
    same, none = a_candidate("same", "one"), a_candidate("folder", "")
    seats, hosts = seats_of(clock, none, ONE, same, TWO, connections=2)
    assert names(seats) == ["one", "two", "one", "two"]
    hosts.connected("one", object())
    assert names(seats) == ["one", "two", "two"]
    seats, _ = seats_of(clock, ONE, TWO, connections=20)
    assert len(names(seats)) == 8


def test_where_more_was_in_vain_no_more_is_tried(clock: Clock) -> None:
    seats, _ = seats_of(clock, ONE, TWO, connections=3)
    seats.was_in_vain(6)
    assert len(names(seats)) == 6
    seats.was_in_vain(3)
    assert names(seats) == ["one", "two", "one", "one"]
    seats.was_in_vain(1)
    assert names(seats) == ["one", "one", "one"]
    seats.try_again()
    assert len(names(seats)) == 6


def test_who_fails_twice_is_asked_for_no_part_until_it_works(clock: Clock) -> None:
    seats, hosts = seats_of(clock, ONE, TWO, connections=1)
    seats.worked(ONE)
    seats.failed(ONE)
    assert names(seats) == ["one", "two"]
    seats.failed(ONE)
    assert names(seats) == ["two"]
    seats.worked(ONE)
    assert names(seats) == ["one", "two"]
    hosts.note_unfit("two", "pool/item", "it sends all of it")
    assert names(seats) == ["one"]
