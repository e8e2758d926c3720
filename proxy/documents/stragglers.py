"""How long a first generation waits for lists that arrive slowly, while its clients have nothing yet."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from proxy.sources.errors import OriginUnreachable

STRAGGLER_LIMIT_S = 12.0
"""MAAS allows its whole metadata pass 30 s, and there may be another origin to ask."""

T = TypeVar("T")


class StragglerDeadline:
    """The time that all lists of a first generation may take, once one of them has arrived.

    A list that takes longer is left out. The next check fetches it, and no client waits for that.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._is_over_at = asyncio.get_running_loop().time() + limit_s
        self._has_list = asyncio.Event()

    def note_list(self) -> None:
        """Note that a list has arrived."""
        self._has_list.set()

    async def wait_for(self, origin: str, path: str, work: Coroutine[Any, Any, T]) -> T:
        """Return what `work` returns. Raises OriginUnreachable when it takes too long."""
        task = asyncio.ensure_future(work)
        giving_up = asyncio.ensure_future(self._is_over())
        try:
            await asyncio.wait([task, giving_up], return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise OriginUnreachable(
                origin,
                f"{path} takes longer than {self._limit_s:g} s; the lists that are here do not wait",
            )
        finally:
            for one in (task, giving_up):
                one.cancel()
            await asyncio.gather(task, giving_up, return_exceptions=True)

    async def _is_over(self) -> None:
        await asyncio.sleep(self._is_over_at - asyncio.get_running_loop().time())
        await self._has_list.wait()
