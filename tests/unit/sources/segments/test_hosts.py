"""What the items of a process share: connections to a host, pauses, memory."""

import logging

import pytest
from support.running import Clock

from proxy.sources.segments.hosts import LONGEST_PAUSE_S, MOST_MEMORY_BYTES, Hosts

HOST = "images.example"


@pytest.fixture
def hosts(clock: Clock) -> Hosts:
    return Hosts(4, clock)


def test_items_share_the_connections_to_a_host(hosts: Hosts) -> None:
    assert hosts.share(HOST, "a") == 4
    for _ in range(4):
        hosts.connected(HOST, "a")
    assert hosts.share(HOST, "a") == 4
    hosts.connected(HOST, "b")
    assert (hosts.share(HOST, "a"), hosts.share(HOST, "b")) == (2, 2)
    assert hosts.share("another.example", "a") == 4
    for number in range(100):
        hosts.connected(HOST, number)
    assert hosts.share(HOST, "a") == 1
    for number in range(100):
        hosts.disconnected(HOST, number)
    hosts.disconnected(HOST, "b")
    assert hosts.share(HOST, "a") == 4


def test_a_pause_holds_for_all_items_and_passes(hosts: Hosts, clock: Clock) -> None:
    hosts.pause(HOST, 30)
    hosts.pause(HOST, 5)
    assert hosts.share(HOST, "a") == hosts.share(HOST, "b") == 1
    assert hosts.share("another.example", "a") == 4
    clock.now += 29
    assert hosts.share(HOST, "a") == 1
    clock.now += 2
    assert hosts.share(HOST, "a") == 4
    hosts.pause(HOST, 1e9)
    clock.now += LONGEST_PAUSE_S + 1
    assert hosts.share(HOST, "a") == 4


def test_an_origin_without_parts_is_told_of_once(
    hosts: Hosts, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            hosts.note_unfit("http://a.example/", "pool/item", "it sends all of the item")
    assert hosts.is_unfit("http://a.example/")
    assert not hosts.is_unfit("http://b.example/")
    (told,) = caplog.messages
    assert "origin.no_parts origin=http://a.example/ path=pool/item problem=it sends all" in told
    clock.now += 601
    assert not hosts.is_unfit("http://a.example/")


def test_an_origin_whose_answers_end_too_early_is_told_of_once(
    hosts: Hosts, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """As long as that goes on, and again when it begins anew."""
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            hosts.note_brief("http://a.example/", "pool/item", 1000, "it hung up")
            clock.now += 599
    (told,) = caplog.messages
    start = (
        "origin.brief_answers origin=http://a.example/ path=pool/item bytes=1000 problem=it hung up advice="
    )
    assert told.startswith(start)
    clock.now += 2
    with caplog.at_level(logging.WARNING):
        hosts.note_brief("http://a.example/", "pool/item", 1000, "it hung up")
    assert len(caplog.messages) == 2


def test_a_host_works_while_anything_comes_from_it_and_a_moment_longer(hosts: Hosts, clock: Clock) -> None:
    """So long it may count a connection that was closed."""
    hosts.connected(HOST, "a")
    hosts.connected(HOST, "b")
    assert not hosts.has_worked(HOST, 1000), "nothing came"
    hosts.works(HOST, "a")
    assert hosts.has_worked(HOST, 0)
    assert not hosts.has_worked("another.example", 1000)
    hosts.connected(HOST, "a")
    hosts.disconnected(HOST, "a")
    hosts.disconnected(HOST, "b")
    clock.now += 10
    assert hosts.has_worked(HOST, 0), "one of two is left"
    hosts.disconnected(HOST, "a")
    clock.now += 0.4
    assert hosts.has_worked(HOST, 0)
    clock.now += 0.2
    assert not hosts.has_worked(HOST, 0)
    assert hosts.has_worked(HOST, 0.2), "it did when it was asked"


def test_the_bytes_ahead_of_all_items_are_bounded(hosts: Hosts) -> None:
    assert hosts.free_memory_bytes("a") == MOST_MEMORY_BYTES
    hosts.hold_memory("a", MOST_MEMORY_BYTES - 10)
    assert hosts.free_memory_bytes("a") == MOST_MEMORY_BYTES
    assert hosts.free_memory_bytes("b") == 10
    hosts.hold_memory("b", 30)
    assert hosts.free_memory_bytes("c") == 0
    hosts.hold_memory("a", 0)
    assert hosts.free_memory_bytes("c") == MOST_MEMORY_BYTES - 30


def test_what_no_even_share_needs_stays_with_the_item_that_has_it(clock: Clock) -> None:
    """An origin that allows three is used to the full, and what works is not given up for nothing."""
    hosts = Hosts(3, clock)
    for item in ("a", "a", "b"):
        hosts.connected(HOST, item)
    assert (hosts.share(HOST, "a"), hosts.share(HOST, "b")) == (2, 1)
    hosts.connected(HOST, "c")
    assert [hosts.share(HOST, item) for item in ("a", "b", "c")] == [1, 1, 1]


def test_a_refusal_lowers_what_all_items_share_and_is_said(
    hosts: Hosts, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for item in ("a", "a", "b"):
        hosts.connected(HOST, item)
    assert hosts.serves_others(HOST, "a")
    assert not hosts.serves_others("another.example", "a")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            hosts.note_refused(HOST, "pool/item", "it answered with status 403")
    (told,) = caplog.messages
    start = f"origin.fewer_connections host={HOST} connections=3 seconds=15 path=pool/item problem=it "
    assert told.startswith(start)
    assert (hosts.share(HOST, "a"), hosts.share(HOST, "b")) == (2, 1)
    hosts.disconnected(HOST, "b")
    assert hosts.share(HOST, "a") == 3
    clock.now += 16
    assert hosts.share(HOST, "a") == 4


def test_an_item_without_a_connection_gets_none_where_the_others_have_all_that_is_allowed(
    hosts: Hosts, clock: Clock
) -> None:
    """However it was refused: it would be refused again at once, and again."""
    hosts.connected(HOST, "a")
    hosts.note_refused(HOST, "pool/item", "it hung up", is_plain=False)
    hosts.pause(HOST, 30)
    assert hosts.is_full(HOST)
    assert (hosts.share(HOST, "a"), hosts.share(HOST, "b")) == (1, 0)
    clock.now += 1
    assert not hosts.is_full(HOST)
    assert hosts.share(HOST, "b") == 1
    hosts.note_refused(HOST, "pool/item", "it hung up", is_plain=False)
    hosts.disconnected(HOST, "a")
    assert not hosts.is_full(HOST)
    assert hosts.share(HOST, "b") == 1
