"""The body of an item that is on its way into the store: one client's place at a running fill."""

import asyncio
import contextlib
import math
import os
from typing import Protocol

from proxy.fills.bodies import Body, SentPart, Sink
from proxy.fills.errors import TransferDiscarded
from proxy.fills.facilities import Facilities
from proxy.fills.fill import REACH_CHECKED_EVERY_S, Fill
from proxy.fills.state import dripped_end, sendable_end
from proxy.store.files import StoreFault


class Replacing(Protocol):
    """Who opens another body for the same client when a fill has failed."""

    async def replacement(self, fill: Fill, error: TransferDiscarded | StoreFault) -> Body:
        """Return the body to go on with. Raises what opening raises."""


class FillingBody:
    """The growing file of a fill, for one client."""

    def __init__(self, fill: Fill, client: str, facilities: Facilities, replacing: Replacing) -> None:
        self._fill = fill
        self._progress = fill.progress
        self._feed = facilities.feed
        self._threads = facilities.storage.threads
        self._replacing = replacing
        self._replacement: Body | None = None
        self._fd = fill.progress.open_file()
        self._wanting = contextlib.ExitStack()
        self._wanting.enter_context(fill.wanted_by(client))

    async def send_to(self, sink: Sink, start: int, stop: int, sent: SentPart | None = None) -> None:
        """Send from the growing file; if the disk gives out, or the bytes are wrong, go on from elsewhere.

        A client that got nothing wrong yet notices nothing.
        """
        fd = self._fd
        first = start if sent is None else sent.start
        given = SentPart(fd, start, start) if sent is None else sent
        try:
            if sent is not None:
                await self._compare(sent, stop)
            given = SentPart(fd, first, start)
            while given.stop < stop:
                end = await self.available(given.stop, first, stop)
                await sink.send_file(fd, given.stop, end - given.stop)
                given = SentPart(fd, first, end)
        except (StoreFault, TransferDiscarded) as error:
            self._replacement = await self._replacing.replacement(self._fill, error)
            await self._replacement.send_to(sink, given.stop, stop, given)

    async def available(self, position: int, start: int, stop: int) -> int:
        """Return up to which offset, past `position`, a reply of [start, stop) may be sent now.

        Waits for news, or until it is time for a drip of the reserve. Raises
        the fill's error, and OutOfReach as `Fill.begun` does while the reply has no byte.
        """
        loop, progress = asyncio.get_running_loop(), self._progress
        drip_at = loop.time() + self._feed.drip_interval_s
        check_at = loop.time() + self._feed.first_byte_within_s if position == start else math.inf
        while True:
            if progress.error is not None:
                # Also of what was proved: what the disk did not take may be gone from memory too.
                raise progress.error
            end = sendable_end(progress.state, position, start, stop, progress.filled_bytes, self._feed)
            if end > position:
                return end
            await progress.changed(min(drip_at, check_at))
            if loop.time() >= check_at:
                await self._fill.check_reach()
                check_at = loop.time() + REACH_CHECKED_EVERY_S
            if loop.time() >= drip_at:
                drip_at = loop.time() + self._feed.drip_interval_s
                end = dripped_end(position, start, stop, progress.filled_bytes)
                if end > position:
                    return end

    async def _compare(self, sent: SentPart, stop: int) -> None:
        """Return once the file has grown past what was sent, and agrees with it. Raises the fill's error."""
        position = sent.start
        while position < sent.stop:
            end = min(sent.stop, await self.available(position, sent.start, stop))
            if not await self._threads.disk(sent.agrees_with_file, self._fd, position, end):
                # Which of the two is right shows at the end.
                await self._proved()
                raise sent.differs()
            position = end

    async def _proved(self) -> None:
        """Return once the bytes are proved. Raises the fill's error."""
        while not self._progress.state.is_proved:
            if self._progress.error is not None:
                raise self._progress.error
            await self._progress.changed()

    def small_part(self, start: int, stop: int) -> bytes | None:  # noqa: ARG002
        """Return None: it is not in the store yet."""
        return None

    def proved_file(self) -> None:
        """Return None, for the same reason."""

    async def close(self) -> None:
        """Leave the fill; it goes on without this client."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._wanting.close()
        if self._replacement is not None:
            await self._replacement.close()
