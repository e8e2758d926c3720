"""Origins that send a login page, or only trickle: what is had from others, and how all of it is told."""

import logging
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.faults import Fault
from support.origin import Origin
from support.running import Clock
from support.several_origins import LATE, OPTIONS, PRODUCT, SIZE, Start, is_right
from support.tree import SignedTree, TreeItem

INDEX = "streams/v1/index.sjson"
LOGIN_PAGE = b"<html><body>Welcome to the hotel. Please log in.</body></html>\n"


# A login page


async def test_a_login_page_blocks_an_item_for_seconds_only(
    several: Start, item: TreeItem, clock: Clock
) -> None:
    """Its length gives it away before a byte is taken; to ask again costs one request."""
    async with several(1) as here:
        (origin,) = here.origins
        await here.proxy.read(INDEX)
        portal = origin.fault(item.path, Fault(body=LOGIN_PAGE))
        for times in range(1, 7):
            assert not (await here.ask(item)).is_complete
            assert not (await here.ask(item)).is_complete
            assert origin.count(item.path) == times
            clock.advance(31 if times > 1 else 6)
        portal.remove()

        assert is_right(await here.ask(item), item)
        stats = await here.stats()
        assert "does it want a login" in stats["origins"][origin.url]["last_wrong"]["problem"]
        assert stats["origins"][origin.url]["distrusted_until"] is None


async def test_a_login_page_in_the_middle_of_an_item_is_waited_out(several: Start, item: TreeItem) -> None:
    """The origin has shown that it has the item: the part that is here stays, and the client with it."""
    async with several(1, upstream=replace(OPTIONS, give_up_after_s=30)) as here:
        (origin,) = here.origins
        await here.proxy.read(INDEX)
        origin.fault(item.path, Fault(close_after=SIZE // 2), times=1)
        origin.fault(item.path, Fault(body=LOGIN_PAGE), times=3)

        assert is_right(await here.ask(item), item)
        assert await here.kept(item)
        assert origin.gets(item.path)[-1].status == 206


async def test_what_had_arrived_is_kept_when_another_origin_shows_a_login_page(
    several: Start, item: TreeItem, clock: Clock
) -> None:
    async with several(2) as here:
        first, second = here.origins
        first.fault(item.path, Fault(close_after=SIZE // 2), times=1)
        first.fault(item.path, Fault(status=404))
        second.fault(item.path, Fault(body=LOGIN_PAGE))
        assert not (await here.ask(item)).is_complete
        await here.proxy.fills_ended()

        for origin in here.origins:
            origin.heal()
        clock.advance(61)
        assert is_right(await here.ask(item), item)
        sent = sum(seen.sent_bytes for origin in here.origins for seen in origin.gets(item.path))
        assert sent < 2 * SIZE


# An origin that only trickles


async def test_who_only_trickles_is_left_for_another_origin(several: Start, item: TreeItem) -> None:
    """It never falls silent, so that no stall shows; what it has sent is used."""
    options = replace(OPTIONS, stall_timeout_s=0.5)
    async with several(2, upstream=options) as here:
        slow, fast = here.origins
        await here.proxy.read(INDEX)
        slow.fault(item.path, Fault(rate_bytes_s=1000))

        assert is_right(await here.ask(item), item)
        (request,) = fast.gets(item.path)
        assert request.headers["Range"].startswith("bytes=")


async def test_who_only_trickles_is_borne_with_when_there_is_no_other(
    several: Start, tree: SignedTree
) -> None:
    item = tree.add_item(PRODUCT, "20250718", "small", size=3000)
    tree.publish()
    async with several(1, upstream=replace(OPTIONS, stall_timeout_s=0.5)) as here:
        (slow,) = here.origins
        slow.fault(item.path, Fault(rate_bytes_s=2000))

        assert is_right(await here.ask(item), item)
        assert here.counts(item) == [1]


# Telling


async def test_a_liar_is_named_in_figures_metrics_problems_log_and_dashboard(
    several: Start, item: TreeItem, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    async with several(2) as here:
        culprit, honest = here.origins
        culprit.fault(item.path, Fault(corrupt_at=LATE))
        with caplog.at_level(logging.WARNING):
            assert is_right(await here.ask(item), item)
        stats = await here.stats()
        async with here.proxy.get("/-/metrics") as response:
            families = {one.name: one for one in text_string_to_metric_families(await response.text())}
        async with here.proxy.get("/-/") as response:
            page = await response.text()

        told = stats["origins"][culprit.url]
        assert (told["wrong_copies"], told["last_hour"]["wrong"]) == (1, 1)
        assert told["last_wrong"]["path"] == item.path
        assert "sha256" in told["last_wrong"]["problem"]
        assert told["distrusted_until"] == pytest.approx(clock.now + 900)
        assert stats["origins"][honest.url]["last_wrong"] is None
        (problem,) = [one for one in stats["problems"] if one["subject"] == f"origin {culprit.url}"]
        assert item.path in problem["text"]
        assert "take the origin out of the mirror" in problem["advice"]
        assert problem["text"].partition("sha256")[0] in page

        def value(name: str, origin: Origin) -> float:
            samples = families[f"sstream_proxy_{name}"].samples
            (found,) = [one.value for one in samples if one.labels == {"origin": origin.url}]
            return found

        assert [value("upstream_wrong_copies", one) for one in here.origins] == [1, 0]
        assert [value("upstream_distrusted", one) for one in here.origins] == [1, 0]
        (line,) = [one.getMessage() for one in caplog.records if "origin.wrong_bytes" in one.getMessage()]
        assert culprit.url in line
        assert item.path in line
        assert "take it out of the mirror's origins" in line
