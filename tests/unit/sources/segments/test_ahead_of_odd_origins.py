"""Whatever origins do with several connections for one item, it comes right, and they are not pestered."""

import asyncio
import logging
from dataclasses import asdict
from pathlib import Path
from random import Random
from time import monotonic

import pytest
from support.faults import Fault
from support.running import Clock
from support.segmented import MIB, OPTIONS, RATE, SIZE, Several, host_of, serving

from proxy.sources.candidates import Doubts, Source
from proxy.sources.errors import ItemUnobtainable
from proxy.sources.options import UpstreamOptions
from proxy.sources.pull import Pull

OTHER_ANSWERS = (
    Fault(ignore_range=True),
    Fault(wrong_range=True),
    Fault(range_slice=True),
    Fault(range_unit="items"),
    Fault(headers={"Content-Type": "multipart/byteranges; boundary=x"}),
    Fault(range_status=416),
    Fault(total_error=1),
    Fault(headers={"ETag": '"another"'}),
    Fault(headers={"Last-Modified": "Thu, 01 Jan 1970 00:00:00 GMT"}),
    Fault(content_encoding="gzip"),
)
PAUSES = tuple(Fault(status=status, headers={"Retry-After": "30"}) for status in (429, 503))


def told(fault: Fault) -> str:
    """Name a fault by what it changes."""
    usual = asdict(Fault())
    return " ".join(f"{name}={value}" for name, value in asdict(fault).items() if value != usual[name])


async def has_one_connection_for(seconds: float, folder: Path, fault: Fault) -> str:
    """Check that an origin gets one connection for so long after a fault; return its address."""
    clock = Clock()
    async with serving(folder, clock, 1) as one:
        reading = asyncio.create_task(one.comes_right())
        await one.origins[0].arrived("item")
        await asyncio.sleep(0)
        one.fault(fault, times=1)
        assert await reading, told(fault)
        assert one.counts == [2], told(fault)
        one.origins[0].clear()
        clock.now += seconds - 1
        assert await one.comes_right(), told(fault)
        assert one.counts == [1], told(fault)
        one.origins[0].clear()
        clock.now += 2
        assert await one.comes_right(), told(fault)
        assert one.counts[0] > 1, told(fault)
        return one.origins[0].url


async def test_who_sends_something_else_for_a_part_is_asked_over_one_connection_for_a_while(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And it is said once. All at once, for most of it is waiting."""
    with caplog.at_level(logging.WARNING):
        asking = (has_one_connection_for(600, tmp_path, fault) for fault in OTHER_ANSWERS)
        origins = await asyncio.gather(*asking)
    for origin, fault in zip(origins, OTHER_ANSWERS, strict=True):
        messages = [message for message in caplog.messages if origin in message]
        assert [message.partition(" ")[0] for message in messages] == ["origin.no_parts"], told(fault)


async def test_a_host_that_asks_for_a_pause_gets_one_connection_until_then(tmp_path: Path) -> None:
    await asyncio.gather(*(has_one_connection_for(30, tmp_path, fault) for fault in PAUSES))


@pytest.mark.parametrize(
    "fault",
    [
        Fault(rate_bytes_s=RATE, close_after=400_000),
        Fault(rate_bytes_s=RATE, cut_after=0),
        Fault(rate_bytes_s=RATE, cut_after=400_000),
        Fault(rate_bytes_s=RATE, stall_after=400_000),
        Fault(rate_bytes_s=RATE, stall_after=0),
        Fault(rate_bytes_s=RATE // 40),
        Fault(refuse=True),
        Fault(status=500),
    ],
    ids=told,
)
async def test_a_part_that_breaks_off_or_is_slow_costs_that_part(one: Several, fault: Fault) -> None:
    """The stall timeout is longer than this test may take."""
    reading = asyncio.create_task(one.comes_right())
    await one.origins[0].arrived("item")
    one.fault(fault, times=1)
    async with asyncio.timeout(18):
        assert await reading
    assert one.sent_bytes < 1.6 * SIZE


@pytest.mark.parametrize("fault", [Fault(latency_s=60), Fault(stall_after=0)], ids=told)
async def test_the_connection_that_works_is_not_given_up_for_those_that_never_bring_anything(
    one: Several, fault: Fault
) -> None:
    """Origins and firewalls may let further connections, or requests for parts, wait for ever."""
    reading = asyncio.create_task(one.comes_right())
    await one.origins[0].arrived("item")
    one.fault(fault)
    async with asyncio.timeout(18):
        assert await reading
    assert one.counts[0] > 1


REFUSALS = (
    (1, Fault(status=403)),
    (3, Fault(status=403)),
    (2, Fault(status=404)),
    (1, Fault(status=410)),
    (1, Fault(body=b"<html>One connection at a time</html>")),
    (2, Fault(body=b"<html>Two connections at a time</html>", chunked=True)),
    (3, Fault(status=500)),
    (2, Fault(refuse=True)),
    (3, Fault(cut_after=0)),
    (1, Fault(close_after=1000)),
    (1, Fault(stall_after=0)),
    (2, Fault(latency_s=60)),
)
"""How many connections an origin allows, and what it does with more."""
PLAIN = [refusal for _, refusal in REFUSALS if refusal.status in {403, 404, 410} or refusal.body]
"""What can be no chance failure."""


async def keeps_what_works(allowed: int, refusal: Fault, folder: Path) -> str:
    """Check that an item comes from an origin that allows so many; return its host if it refused one."""
    async with serving(folder, monotonic, 1) as one:
        (origin,) = one.origins
        refused = origin.allow("item", allowed, refusal)
        assert await one.comes_right(), told(refusal)
        assert refused.hits <= 8, told(refusal)
        assert one.sent_bytes < 1.5 * SIZE, told(refusal)
        return host_of(origin) if refused.hits else ""


async def test_who_refuses_one_connection_more_keeps_those_that_work(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says how many that are. A machine that does much else may not find out."""
    with caplog.at_level(logging.WARNING):
        hosts = await asyncio.gather(*(keeps_what_works(*case, tmp_path) for case in REFUSALS))
    assert sum(map(bool, hosts)) > len(hosts) / 2, hosts
    for host, (allowed, refusal) in zip(hosts, REFUSALS, strict=True):
        messages = [one for one in caplog.messages if f" host={host} " in one]
        if host and refusal in PLAIN:
            assert messages, told(refusal)
        for message in messages[-1:]:
            start = f"origin.fewer_connections host={host} connections={allowed} seconds=15 "
            assert message.startswith(start), told(refusal)


REFUSED_BESIDE_OTHERS = (
    *(Fault(status=status) for status in (403, 404, 429, 500, 503)),
    Fault(status=503, headers={"Retry-After": "1"}),
    Fault(refuse=True),
    Fault(cut_after=0),
    Fault(head=b"nonsense\r\n\r\n"),
)


async def is_left_alone(fault: Fault, folder: Path) -> None:
    """Check how often an origin is asked that serves another item, and gives nothing of this one."""
    async with serving(folder, monotonic, 2) as two:
        two.fault(fault)
        two.hosts.connected(host_of(two.origins[0]), "another item")
        assert await two.comes_right(), told(fault)
        assert two.counts[0] <= 20, told(fault)
        if fault.status in {403, 404}:
            assert not two.parts.times_refused, "that is about the item"


async def test_who_serves_another_item_and_nothing_of_this_is_not_asked_again_and_again(
    tmp_path: Path,
) -> None:
    """The other item may have the only connection that it allows."""
    await asyncio.gather(*(is_left_alone(fault, tmp_path) for fault in REFUSED_BESIDE_OTHERS))


async def comes_though(trickling: int, after: int, connections: int, folder: Path) -> None:
    """Check that an item comes whose first transfers never break off, and bring next to nothing."""
    async with serving(folder, Clock(), 1) as one:
        one.hosts.connections_per_item = connections
        one.fault(Fault(rate_bytes_s=RATE, trickle_after=after), times=trickling)
        assert await one.comes_right(), (trickling, after)
        assert one.sent_bytes < 1.6 * SIZE, (trickling, after)


async def test_connections_that_only_trickle_do_not_hold_an_item_up(tmp_path: Path) -> None:
    """The main transfer, from its beginning or later, or all that there are: each alone takes hours."""
    async with asyncio.timeout(60):
        await asyncio.gather(
            comes_though(1, 1000, 4, tmp_path),
            comes_though(1, 3 * MIB, 4, tmp_path),
            comes_though(3, 2 * MIB, 3, tmp_path),
        )


async def is_not_asked_on_and_on(folder: Path) -> None:
    """Check how often an origin is asked for parts that does not answer any more.

    Connections that are replaced before their time is over would never tell that it is gone.
    """
    async with serving(folder, monotonic, 1) as one:
        one.fault(Fault(latency_s=1000))
        one.fault(Fault(rate_bytes_s=RATE / 2), times=4)
        reading = asyncio.create_task(one.read())
        await asyncio.wait([reading], timeout=7)
        assert one.counts[0] <= 20
        reading.cancel()
        await asyncio.wait([reading])


async def comes_though_main_is_silent(after: int, allowed: int, folder: Path) -> None:
    """Check that an item comes whose main transfer says nothing more, or nothing when asked again."""
    async with serving(folder, monotonic, 1) as one:
        one.fault(Fault(rate_bytes_s=RATE, stall_after=after), times=1)
        if allowed:
            one.origins[0].allow("item", allowed, Fault(latency_s=60))
        assert await one.comes_right(), (after, allowed)
        assert one.sent_bytes < 1.6 * SIZE, (after, allowed)


async def test_a_main_transfer_that_is_silent_is_taken_over(tmp_path: Path) -> None:
    """Once another connection has brought what it would send, or where others are never answered.

    The stall timeout is longer than this.
    """
    cases = [(2 * MIB, 0), (3 * MIB, 0), (3 * MIB, 2)]
    async with asyncio.timeout(18):
        await asyncio.gather(
            *(comes_though_main_is_silent(*case, tmp_path) for case in cases),
            is_not_asked_on_and_on(tmp_path),
        )


async def test_who_ends_each_part_early_is_not_asked_as_fast_as_it_can(one: Several) -> None:
    """What each brings is enough not to be held against it."""
    one.fault(Fault(rate_bytes_s=8 * RATE, close_after=70_000))
    one.fault(Fault(rate_bytes_s=RATE / 2), times=1)
    asked_at: list[float] = []
    reading = asyncio.create_task(one.comes_right())
    while not reading.done():
        await asyncio.wait([reading], timeout=0.05)
        asked_at += [monotonic()] * (one.counts[0] - len(asked_at))
    assert await reading
    in_a_second = [sum(at <= other < at + 1 for other in asked_at) for at in asked_at]
    assert 3 < max(in_a_second) <= 70


async def test_parts_that_are_never_answered_are_given_up_in_time(one: Several) -> None:
    """Each is replaced after a while; that is no reason to begin to count anew."""
    one.fault(Fault(latency_s=1000))
    one.fault(Fault(rate_bytes_s=RATE / 4), times=3)
    with pytest.raises(ItemUnobtainable, match=r"no byte for 5 s, \[upstream\] give_up_after"):
        await one.read()
    assert OPTIONS.give_up_after_s <= monotonic() - one.last_byte_at < OPTIONS.give_up_after_s + 3


async def test_an_origin_that_gives_no_parts_is_asked_before_an_item_is_given_up(tmp_path: Path) -> None:
    options = UpstreamOptions(connect_timeout_s=1, stall_timeout_s=1.5, give_up_after_s=0.3)
    async with serving(tmp_path, monotonic, 2, options) as two:
        two.route.is_joined = False
        two.fault(Fault(latency_s=1000))
        two.fault(Fault(rate_bytes_s=RATE / 2), times=2)
        source = Source(two.route, "item")
        pull = Pull([source], SIZE, 0, options, Random(1), Doubts(), two.hosts)
        assert await two.comes_right(pull)
        assert two.counts[1] >= 1


async def test_an_origin_whose_connections_all_trickle_is_spared_where_another_works(two: Several) -> None:
    """Each would be asked for eight parts in vain before that."""
    two.fault(Fault(rate_bytes_s=RATE, trickle_after=100_000))
    async with asyncio.timeout(18):
        assert await two.comes_right()
    assert two.counts[0] < 12
