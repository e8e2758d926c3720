"""When an import has ended, by what MAAS and the proxy tell of it."""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from typing import Any, NamedTuple

import pytest

from proxy.connect.errors import MaasUnreachable
from proxy.connect.maas_api.model import Image
from proxy.connect.proxy_side import Served
from proxy.connect.watching import Progress, watch_import

UNTOLD = "untold"
WHOLE, HALF = Image("noble", 100.0, is_complete=True), Image("noble", 50.0, is_complete=False)


class Moment(NamedTuple):
    """What MAAS says at one moment; an image of None is a MAAS that is away."""

    is_importing: bool | None
    image: Image | str | None = WHOLE


class ScriptedMaas:
    """A MAAS that says one thing after another, the last for ever."""

    def __init__(self, moments: Sequence[Moment]) -> None:
        self._moments: Iterator[Moment] = chain(moments, repeat(moments[-1]))
        self.asked = 0

    async def is_importing(self) -> bool | None:
        self.asked += 1
        self._now = next(self._moments)
        if self._now.image is None:
            raise MaasUnreachable("away")
        return self._now.is_importing

    async def images(self) -> list[Image] | None:
        assert self._now.image is not None
        return None if isinstance(self._now.image, str) else [self._now.image]


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return how long it slept each time; no time passes but this."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return slept


async def watched(slept: list[float], *moments: Moment, requests: int = 1) -> tuple[Progress, int]:
    """Watch, by a clock that goes on by what is slept; return the end, and how often MAAS was asked."""
    maas: Any = ScriptedMaas(moments)
    served = Served(requests=requests)
    end = await watch_import(maas, lambda: served, Served(), lambda _: None, lambda: sum(slept))
    return end, maas.asked


async def test_it_ends_when_maas_has_imported(slept: list[float]) -> None:
    end, asked = await watched(slept, Moment(True, HALF), Moment(True, HALF), Moment(False))
    assert (asked, end.incomplete) == (3, [])


async def test_maas_may_read_its_lists_before_it_says_that_it_imports(slept: list[float]) -> None:
    lists = [Moment(False, HALF)] * 20
    end, asked = await watched(slept, *lists, Moment(True, HALF), Moment(False))
    assert (asked, end.incomplete) == (22, [])


async def test_the_proxy_counts_a_moment_later_than_maas_has_imported(slept: list[float]) -> None:
    _, asked = await watched(slept, Moment(True, HALF), Moment(False), requests=0)
    assert 3 < sum(slept) < 10
    assert asked > 2


async def test_an_import_that_nobody_saw_is_known_by_what_it_brought(slept: list[float]) -> None:
    """It was over between two looks: what was not whole is."""
    end, _ = await watched(slept, Moment(False, HALF), Moment(False))
    assert end.is_whole
    assert 3 < sum(slept) < 10


async def test_a_maas_that_tells_no_images_is_watched_by_whether_it_imports(slept: list[float]) -> None:
    end, asked = await watched(slept, Moment(True, UNTOLD), Moment(True, UNTOLD), Moment(False, UNTOLD))
    assert (asked, end.images) == (3, None)


async def test_a_maas_that_tells_nothing_is_watched_by_what_it_fetches(slept: list[float]) -> None:
    end, _ = await watched(slept, Moment(None, UNTOLD))
    assert end.images is None
    assert 15 < sum(slept) < 30


async def test_a_maas_that_tells_nothing_and_fetches_nothing_is_given_up(slept: list[float]) -> None:
    await watched(slept, Moment(None, UNTOLD), requests=0)
    assert 150 < sum(slept) < 180


async def test_that_maas_is_away_is_told_once_each_time(slept: list[float]) -> None:
    gone = Moment(False, None)
    told: list[str] = []
    moments = [Moment(True, HALF), gone, gone, Moment(True, HALF), gone, Moment(False)]
    maas: Any = ScriptedMaas(moments)
    served = Served(requests=1)
    clock = slept.__len__
    await watch_import(
        maas, lambda: served, Served(), lambda _: None, clock, lambda one: told.append(str(one))
    )
    assert told == ["away", "away"]


async def test_a_pause_between_two_images_is_no_end(slept: list[float]) -> None:
    end, _ = await watched(slept, Moment(True, HALF), Moment(False, HALF), Moment(True, HALF), Moment(False))
    assert end.incomplete == []


async def test_what_stays_incomplete_ends_it_after_a_while(slept: list[float]) -> None:
    end, _ = await watched(slept, Moment(True, HALF), Moment(False, HALF))
    assert end.incomplete == [HALF]
    assert 10 < sum(slept) < 20


async def test_an_import_that_had_nothing_to_do_is_not_waited_for_long(slept: list[float]) -> None:
    await watched(slept, Moment(False))
    assert 20 < sum(slept) < 30


async def test_a_maas_that_is_restarted_meanwhile_is_waited_for(slept: list[float]) -> None:
    away = [Moment(False, None)] * 30
    end, _ = await watched(slept, Moment(True, HALF), *away, Moment(True, HALF), Moment(False))
    assert end.incomplete == []


async def test_a_maas_that_stays_away_is_given_up(slept: list[float]) -> None:
    with pytest.raises(MaasUnreachable):
        await watched(slept, Moment(True, HALF), Moment(False, None))
    assert 90 < sum(slept) < 120
