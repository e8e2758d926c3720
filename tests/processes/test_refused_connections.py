"""A connection too many is told so, by the event loop that is installed too."""

from contextlib import AsyncExitStack
from pathlib import Path

from support.wire import Wire
from support.workers import run_workers

from proxy.mirror import Mirror

MOST = 16
"""The fewest that may be configured."""


async def test_a_connection_too_many_is_answered(tmp_path: Path, mirror: Mirror) -> None:
    settings = f"[clients]\nconnections_per_client = {MOST}\n"
    async with run_workers(tmp_path, mirror, 1, settings=settings) as workers, AsyncExitStack() as stack:
        for _ in range(MOST):
            wire = await stack.enter_async_context(Wire.to(workers.service.base))
            assert (await wire.ask("/-/health")).status == 200
        async with Wire.to(workers.service.base) as one_more:
            reply = await one_more.reply()
        assert (reply.status, reply.headers["Connection"]) == (503, "close")
        assert f"you already have {MOST} connections open".encode() in reply.body
