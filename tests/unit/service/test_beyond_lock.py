"""What is asked for beyond a lockfile is told of once, and in few lines."""

import asyncio
import logging
from contextlib import closing
from pathlib import Path

import pytest

from proxy.counting.counters import Counters
from proxy.counting.totals import read_totals
from proxy.service.beyond_lock import BeyondLock


async def test_each_path_is_told_of_once_and_all_requests_count(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "proxy")
    with closing(await asyncio.to_thread(Counters, tmp_path, lambda: 1000.0)) as counters:
        beyond = BeyondLock(counters.limits, told_every_s=0.01)
        for number in (1, 2, 2, 1):
            beyond.met("maas", f"noble/{number}")
        assert caplog.messages == ["lockfile.lacks paths=maas/noble/1 more=0"]
        async with asyncio.timeout(60):
            while len(caplog.records) < 2:  # noqa: ASYNC110 - the log has no event
                await asyncio.sleep(0.001)
        assert caplog.messages[1] == "lockfile.lacks paths=maas/noble/2 more=0"
        for number in range(5000):
            beyond.met("maas", f"made up/{number}")
        beyond.close()
        assert len(caplog.messages) <= 4
        assert caplog.messages[-1].endswith(("more=987", "more=988"))  # It knows a thousand.
        assert (await asyncio.to_thread(read_totals, tmp_path)).limits.total()["lockfile"] == 5004
