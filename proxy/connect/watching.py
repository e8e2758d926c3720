"""Watching an import to its end, from both sides: what MAAS says of it, and what the proxy sends."""

import asyncio
import math
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
_UNTOLD_S = 15.0
"""Where MAAS tells nothing, an item may be on its way for as long: it is counted at its end."""
_COUNTING_S = 3.0
"""The proxy counts what it has sent a moment later; and what became whole unseen may not be all."""
_PATIENCE_S = 90.0
"""How long MAAS may be away, as when it is restarted."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Both sides at one moment."""

    images: Sequence[Image] | None
    """None where MAAS does not tell."""
    served: Served
    """Since the import was started."""
    is_importing: bool | None
    """None where MAAS does not tell."""

    @property
    def incomplete(self) -> list[Image]:
        """The images that MAAS does not have whole."""
        return [one for one in self.images or () if not one.is_complete]

    @property
    def is_whole(self) -> bool:
        """Whether MAAS has images, all of them whole."""
        return bool(self.images) and not self.incomplete


async def watch_import(
    maas: Maas,
    served: Callable[[], Served],
    before: Served,
    show: Callable[[Progress], None],
    clock: Callable[[], float],
    away: Callable[[MaasUnreachable], None] = lambda _: None,
) -> Progress:
    """Watch until MAAS does not import any more; return how it ended.

    `before` is what the proxy had sent before the import was started; `away` is told once
    each time when MAAS does not answer. Raises MaasFault when MAAS stays away, or lets us in no more.
    """
    began = answered = moved = clock()
    pause = _PAUSE_S
    is_away = has_begun = was_incomplete = False
    last: Progress | None = None
    while True:
        try:
            is_importing = await maas.is_importing()
            progress = Progress(await maas.images(), served().since(before), is_importing)
        except MaasUnreachable as fault:
            if clock() - answered > _PATIENCE_S:
                raise
            if not is_away:
                away(fault)
            is_away = True
        else:
            answered, is_away = clock(), False
            show(progress)
            has_begun = has_begun or bool(is_importing)
            was_incomplete = was_incomplete or not progress.is_whole
            if is_importing or progress != last:
                moved = answered
            last = progress
            if not is_importing:
                needed_s = _needed_quiet(progress, is_seen=has_begun, is_new=was_incomplete)
                if answered - moved >= needed_s or answered - began > _patience(progress):
                    return progress
        await asyncio.sleep(pause)
        pause = min(pause * 1.3, _LONGEST_PAUSE_S)


def _needed_quiet(progress: Progress, *, is_seen: bool, is_new: bool) -> float:
    """Return for how long nothing may move for the import to be over.

    It was seen to run (`is_seen`), or to have brought what was not there before (`is_new`), or
    MAAS tells of no images: then it is over when the proxy has sent something, and sends no more.
    """
    if is_seen and not progress.incomplete:
        return 0.0 if progress.served.requests else _COUNTING_S
    if is_new and progress.is_whole:
        return _COUNTING_S
    if is_seen:
        return _QUIET_S
    if not progress.images and progress.served.requests:
        return _UNTOLD_S
    return math.inf


def _patience(progress: Progress) -> float:
    """Return how long to wait for an import to begin: not long when all is there and lists were asked for."""
    is_done = progress.is_whole and progress.served.requests > 0
    return _SETTLING_S if is_done else _STARTING_S
