"""Watching an import to its end, from both sides: what MAAS says of it, and what the proxy sends."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from proxy.connect.errors import MaasUnreachable
from proxy.connect.maas import Maas
from proxy.connect.model import Image
from proxy.connect.proxy_side import Served

_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 3.0
_SETTLING_S = 20.0
"""MAAS may take so long until it says that it imports."""
_PATIENCE_S = 180.0
"""How long MAAS may be away, as when it is restarted."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Both sides at one moment."""

    images: Sequence[Image]
    served: Served
    """Since the import was started."""
    is_importing: bool

    @property
    def incomplete(self) -> list[Image]:
        """The images that MAAS does not have whole."""
        return [one for one in self.images if not one.is_complete]


async def watch_import(
    maas: Maas,
    served: Callable[[], Served],
    before: Served,
    show: Callable[[Progress], None],
    clock: Callable[[], float],
) -> Progress:
    """Watch until MAAS does not import any more; return how it ended.

    `before` is what the proxy had sent before the import was started. Raises MaasFault
    when MAAS stays away, or lets us in no more.
    """
    began = answered = clock()
    pause, has_begun = _PAUSE_S, False
    while True:
        try:
            is_importing = await maas.is_importing()
            progress = Progress(await maas.images(), served().since(before), is_importing)
        except MaasUnreachable:
            if clock() - answered > _PATIENCE_S:
                raise
        else:
            answered = clock()
            show(progress)
            has_begun = has_begun or is_importing
            if not is_importing and (has_begun or clock() - began > _SETTLING_S):
                return progress
        await asyncio.sleep(pause)
        pause = min(pause * 1.3, _LONGEST_PAUSE_S)
