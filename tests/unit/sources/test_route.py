"""The order in which origins are tried: as configured, and those that disappointed last."""

from collections.abc import AsyncIterator

import pytest
from support.running import Clock

from proxy.sources.http.origin import HttpOrigin
from proxy.sources.http.redirects import RedirectGuard
from proxy.sources.http.sessions import Sessions
from proxy.sources.options import UpstreamOptions
from proxy.sources.route import Route

NAMES = ("http://a.example/", "http://b.example/", "http://c.example/")


class Uncounted:
    """A meter that looks away."""

    def answered(self, seconds: float, *, is_good: bool) -> None: ...

    def failed(self) -> None: ...

    def received(self, count: int) -> None: ...

    def exceeded(self) -> None: ...


UNCOUNTED = Uncounted()


@pytest.fixture
async def origins() -> AsyncIterator[list[HttpOrigin]]:
    """Return three origins that are never asked."""
    guard = RedirectGuard(NAMES, (), tls_only=False)
    async with Sessions(UpstreamOptions()) as sessions:
        yield [HttpOrigin(name, sessions, guard, UNCOUNTED) for name in NAMES]


@pytest.fixture
def route(origins: list[HttpOrigin], clock: Clock) -> Route:
    """Return the way to these origins."""
    return Route(origins, clock)


async def test_origins_are_tried_as_configured(route: Route, origins: list[HttpOrigin]) -> None:
    assert len(route) == 3
    assert route.order() == origins


async def test_who_failed_is_tried_last_and_never_left_out(route: Route, origins: list[HttpOrigin]) -> None:
    a, b, c = origins
    route.failed(a)
    assert route.order() == [b, c, a]
    route.failed(b)
    route.failed(b)
    assert route.order() == [c, a, b]
    route.failed(c)
    assert sorted(map(repr, route.order())) == sorted(map(repr, origins))


async def test_a_failure_is_forgotten_in_time(route: Route, origins: list[HttpOrigin], clock: Clock) -> None:
    route.failed(origins[0])
    clock.advance(4.9)
    assert route.order()[-1] is origins[0]
    clock.advance(0.2)
    assert route.order() == origins


async def test_each_failure_in_a_row_doubles_the_wait(
    route: Route, origins: list[HttpOrigin], clock: Clock
) -> None:
    """5 s, 10 s, 20 s and so on, up to five minutes."""
    for expected_s in (5, 10, 20, 40, 80, 160, 300, 300):
        route.failed(origins[0])
        clock.advance(expected_s - 0.1)
        assert route.order()[-1] is origins[0]
        clock.advance(0.2)
        assert route.order() == origins


async def test_an_origin_may_fail_for_days(route: Route, origins: list[HttpOrigin], clock: Clock) -> None:
    for _ in range(5000):
        route.failed(origins[0])
    clock.advance(299)
    assert route.order()[-1] is origins[0]
    clock.advance(2)
    assert route.order() == origins


async def test_who_works_is_tried_as_configured_again(
    route: Route, origins: list[HttpOrigin], clock: Clock
) -> None:
    """And its next failure counts as the first."""
    for _ in range(10):
        route.failed(origins[0])
    route.worked(origins[0])
    assert route.order() == origins
    route.failed(origins[0])
    clock.advance(5.1)
    assert route.order() == origins


async def test_who_sent_wrong_bytes_is_shunned_longest(
    route: Route, origins: list[HttpOrigin], clock: Clock
) -> None:
    """For a quarter of an hour, behind those that merely failed."""
    a, b, c = origins
    route.sent_wrong_bytes(a.name)
    route.failed(b)
    assert route.order() == [c, b, a]
    clock.advance(899)
    assert route.order() == [b, c, a]
    clock.advance(2)
    assert route.order() == origins


async def test_neither_success_nor_failure_makes_a_lie_good(
    route: Route, origins: list[HttpOrigin], clock: Clock
) -> None:
    """An origin with damaged items still serves its index well, and may fail in between."""
    route.sent_wrong_bytes(origins[0].name)
    route.worked(origins[0])
    assert route.order()[-1] is origins[0]
    route.failed(origins[0])
    clock.advance(6)
    assert route.order()[-1] is origins[0]


async def test_a_lie_of_somebody_unknown_changes_nothing(route: Route, origins: list[HttpOrigin]) -> None:
    route.sent_wrong_bytes("http://elsewhere.example/")
    assert route.order() == origins


async def test_an_origin_is_named_without_its_password() -> None:
    """So that a lie can be told of it, and its name can stand in a log."""
    guard = RedirectGuard(NAMES, (), tls_only=False)
    async with Sessions(UpstreamOptions()) as sessions:
        origin = HttpOrigin("http://user:secret@a.example/images/", sessions, guard, UNCOUNTED)
    assert origin.name == "http://a.example/images/"
    assert "secret" not in repr(origin)
