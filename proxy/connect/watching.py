"""Watching an import to its end, from both sides: what MAAS says of it, and what the proxy sends."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from proxy.connect.errors import MaasUnreachable
from proxy.connect.maas_api.model import Image
from proxy.connect.maas_api.protocol import Maas
from proxy.connect.proxy_side import Served

_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 3.0
_SETTLING_S = 20.0
"""An import that has nothing to do may be over before anybody sees it."""
_STARTING_S = 150.0
"""MAAS 3.8 reads all lists before it says that it imports."""
_QUIET_S = 10.0
"""Between two images nothing may be downloaded for a moment."""
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
    began = answered = moved = clock()
    pause, has_begun = _PAUSE_S, False
    last: Progress | None = None
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
            if is_importing or progress != last:
                moved = answered
            last = progress
            if not is_importing:
                is_quiet = not progress.incomplete or answered - moved > _QUIET_S
                if (has_begun and is_quiet) or answered - began > _patience(progress):
                    return progress
        await asyncio.sleep(pause)
        pause = min(pause * 1.3, _LONGEST_PAUSE_S)


def _patience(progress: Progress) -> float:
    """Return how long to wait for an import to begin: not long when all is there and lists were asked for."""
    is_done = bool(progress.images) and not progress.incomplete and progress.served.requests > 0
    return _SETTLING_S if is_done else _STARTING_S
