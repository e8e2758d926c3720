"""What the transfers of an item show of their hosts: by what they bring, and by how they fail."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from support.running import Clock

from proxy.sources.candidates import Candidate
from proxy.sources.errors import (
    OriginAbsent,
    OriginError,
    OriginForbidden,
    OriginUnreachable,
    PageSent,
    PartsRefused,
)
from proxy.sources.segments.connections import Connections, Transfer
from proxy.sources.segments.hosts import Hosts
from proxy.sources.segments.observations import HANGS_AFTER_S, Observations
from proxy.sources.segments.seats import Seats
from proxy.sources.segments.window import Segment

KIB = 1024
HOST = "a.example"
NAME = f"http://{HOST}/"
ABOUT_ITEM = (
    OriginAbsent(NAME, "it has none"),
    OriginForbidden(NAME, "it does not give it"),
    PageSent(NAME, 100, 5),
)
BROKEN = OriginUnreachable(NAME, "it hung up")


class Named(NamedTuple):
    """An origin, or a source, as far as it has a name."""

    name: str = NAME
    host: str = HOST
    path: str = "pool/item"


class Item:
    """One item at one origin, with a main transfer, and parts as many as a test begins."""

    def __init__(self, clock: Clock) -> None:
        named: Any = Named()
        self.candidate = Candidate(named, named)
        self.hosts = Hosts(4, clock)
        self.connections = Connections()
        self.seats = Seats(self.hosts, self, lambda: [self.candidate])
        self.seen = Observations(self.hosts, self, self.connections, self.seats)
        self.connections.main = self.candidate
        self.seen.connected(self.candidate)

    def part(self) -> Transfer:
        """Begin one."""
        transfer = Transfer(self.candidate, Segment(0, 10), 0.0, began_at=0.0)
        self.connections.transfers.append(transfer)
        self.seen.connected(self.candidate)
        return transfer

    def fail(self, errors: Sequence[OriginError]) -> None:
        """Let one part after the other fail."""
        for error in errors:
            transfer = self.part()
            self.seen.failed(transfer, error)
            self.connections.transfers.remove(transfer)

    @property
    def seats_left(self) -> int:
        return len(self.seats.in_turn())


@pytest.fixture
def item(clock: Clock) -> Item:
    return Item(clock)


@pytest.mark.parametrize("error", [*ABOUT_ITEM, BROKEN], ids=str)
def test_an_origin_that_sends_nothing_and_fails_twice_is_asked_for_no_parts(
    item: Item, error: OriginError
) -> None:
    item.fail([error])
    assert item.seats_left == 4
    item.fail([error])
    assert item.seats_left == 0


@pytest.mark.parametrize("error", [*ABOUT_ITEM, BROKEN], ids=str)
def test_an_origin_that_sends_the_item_and_fails_allows_no_further_connection(
    item: Item, error: OriginError
) -> None:
    item.connections.main_works = True
    item.fail([error] * 3)
    assert item.seats_left == 1
    assert item.hosts.is_full(HOST)


@pytest.mark.parametrize(("error", "seats"), [*((error, 1) for error in ABOUT_ITEM), (BROKEN, 4)], ids=str)
def test_what_an_origin_says_while_it_sends_the_item_is_believed_sooner_than_a_connection_that_broke(
    item: Item, clock: Clock, error: OriginError, seats: int
) -> None:
    """The first is no chance."""
    item.connections.main_works = True
    item.fail([error])
    clock.advance(1)
    assert item.seats_left == seats


def test_what_may_be_about_the_item_says_nothing_of_connections_where_only_others_are_served(
    item: Item,
) -> None:
    item.hosts.connected(HOST, "another item")
    item.fail(ABOUT_ITEM)
    assert not item.hosts.is_full(HOST)
    assert item.seats_left == 0


def test_what_fails_by_chance_is_a_connection_too_many_where_others_are_served(item: Item) -> None:
    item.hosts.connected(HOST, "another item")
    item.fail([BROKEN])
    assert item.hosts.is_full(HOST)
    assert item.seats_left == 1


def test_an_origin_without_parts_is_asked_for_none(item: Item) -> None:
    item.fail([PartsRefused(NAME, "it sends all of the item")])
    assert item.seats_left == 0
    assert item.hosts.is_unfit(NAME)


def test_a_pause_that_is_asked_for_holds(item: Item, clock: Clock) -> None:
    asking = OriginError(NAME, "it is asked too often")
    asking.pause_s = 30.0
    item.fail([asking])
    assert item.seats_left == 1
    clock.advance(31)
    assert item.seats_left == 4


def test_who_brings_much_before_it_breaks_off_has_not_failed(item: Item) -> None:
    item.fail([BROKEN])
    transfer = item.part()
    item.seen.received(transfer, 64 * KIB)
    item.seen.failed(transfer, BROKEN)
    item.connections.transfers.remove(transfer)
    item.fail([BROKEN])
    assert item.seats_left == 4, "twice in a row counts"


def test_what_brings_much_tells_how_many_connections_work(item: Item) -> None:
    item.connections.main_works = True
    item.hosts.note_refused(HOST, "pool/item", "it answered with status 403")
    assert item.seats_left == 1
    transfer = item.part()
    item.seen.received(transfer, 64 * KIB - 1)
    assert item.seats_left == 1
    item.seen.received(transfer, 1)
    assert item.seats_left == 4
    assert transfer.received_bytes == 64 * KIB


def test_who_is_given_up_while_silent_and_others_work_is_one_too_many(item: Item) -> None:
    for silent_s, brought, works in ((HANGS_AFTER_S - 1, 0, True), (9.0, 1, True), (9.0, 0, False)):
        item.connections.main_works = works
        transfer = item.part()
        transfer.received_bytes = brought
        item.seen.given_up(transfer, silent_s)
        item.connections.transfers.remove(transfer)
        assert not item.hosts.is_full(HOST)
    item.connections.main_works = True
    item.seen.given_up(item.part(), HANGS_AFTER_S)
    assert item.hosts.is_full(HOST)


@pytest.mark.parametrize("error", [ABOUT_ITEM[1], BROKEN], ids=str)
def test_of_two_that_are_refused_in_one_turn_of_the_event_loop_neither_counts_as_allowed(
    item: Item, error: OriginError
) -> None:
    """The first one is judged while the other one is still counted."""
    item.connections.main_works = True
    item.seen.received(item.part(), 64 * KIB)
    refused = [item.part(), item.part()]
    for transfer in refused:
        item.seen.failed(transfer, error)
    for transfer in refused:
        item.connections.transfers.remove(transfer)
    assert item.seats_left == 2
    assert item.hosts.is_full(HOST)


def test_an_item_that_is_refused_in_the_turn_in_which_the_others_end_may_have_their_connections(
    item: Item,
) -> None:
    item.connections.main_works = True
    working, refused = item.part(), item.part()
    item.seen.received(working, 64 * KIB)
    item.seen.failed(refused, BROKEN)
    item.seen.part_ended(working)
    item.seen.disconnected(item.candidate)
    assert not item.hosts.is_full(HOST)
    assert item.hosts.share(HOST, "another item") == 2


def test_a_connection_is_counted_until_its_part_ends_or_fails_or_is_given_up_and_no_more(item: Item) -> None:
    transfer = item.part()
    assert repr(item.hosts) == "Hosts({'a.example': 2}, 0 bytes ahead)"
    item.seen.failed(transfer, BROKEN)
    item.seen.given_up(transfer, 0.0)
    item.seen.part_ended(transfer)
    assert repr(item.hosts) == "Hosts({'a.example': 1}, 0 bytes ahead)"
    item.seen.disconnected(item.candidate)
    assert repr(item.hosts) == "Hosts({}, 0 bytes ahead)"
