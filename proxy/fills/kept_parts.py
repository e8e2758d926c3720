"""What several origins sent of an item that did not match its digest, until it is known who was wrong.

The item is then taken from one origin alone, but what that one has sent already is not fetched
again. Readers never see these bytes under the name of the blob: the next transfer copies
those that it uses into a file of its own. One item at a time is kept, and not for long, for
its file takes space that nobody has reserved.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Iterator, Sequence

from proxy.simplestreams.model import Item
from proxy.sources.pull import Part
from proxy.system.threads import Threads

_KEPT_FOR_S = 60.0
_READ_BYTES = 1024 * 1024
_MOST_PARTS = 512


class KeptParts:
    """The parts of one item, in a file without a name, which is closed soon after it was `lent` last."""

    def __init__(self, fd: int, parts: Sequence[Part], threads: Threads) -> None:
        self._fd = os.dup(fd)
        self._parts = parts
        self._threads = threads
        self._users = 0
        self._closing: asyncio.TimerHandle | None = None
        self._is_wanted = True
        self._rest()

    def held(self, origin: str, offset: int) -> Part | None:
        """Return what an origin sent from an offset on, if it sent that byte."""
        for part in self._parts:
            if part.origin == origin and part.start <= offset < part.stop:
                return part._replace(start=offset)
        return None

    def next_start(self, origin: str, offset: int) -> int | None:
        """Return where the next part that an origin sent begins, beyond an offset."""
        return min(
            (one.start for one in self._parts if one.origin == origin and one.start > offset), default=None
        )

    async def read(self, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of [start, stop). Raises OSError."""
        while start < stop:
            data = await self._threads.disk(os.pread, self._fd, min(_READ_BYTES, stop - start), start)
            if not data:
                raise OSError("the file of what had arrived is shorter than that")
            yield data
            start += len(data)

    @contextlib.contextmanager
    def lent(self) -> Iterator["KeptParts"]:
        """Let a transfer use it."""
        self._users += 1
        try:
            yield self
        finally:
            self._users -= 1
            self._rest()

    def disbelieve(self, origin: str) -> None:
        """Let go of what an origin sent."""
        self._parts = tuple(part for part in self._parts if part.origin != origin)

    def drop(self) -> None:
        """Close it as soon as nobody uses it."""
        self._is_wanted = False
        self._rest()

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""
        return self._fd >= 0

    def _rest(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        if self._users or not self.is_open:
            return
        if self._is_wanted:
            self._closing = asyncio.get_running_loop().call_later(_KEPT_FOR_S, self._close)
        else:
            self._close()

    def _close(self) -> None:
        if not self._users and self.is_open:
            os.close(self._fd)
            self._fd = -1


class KeptItem:
    """The one item of which parts are kept in this process."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._item: Item | None = None
        self._parts: KeptParts | None = None

    def keep(self, item: Item, fd: int, parts: Sequence[Part]) -> None:
        """Keep what several origins sent of an item, in place of another one; what is kept of it stays."""
        if self._find(item) is not None or not 1 < len(parts) <= _MOST_PARTS:
            return
        self._drop()
        self._item, self._parts = item, KeptParts(fd, tuple(parts), self._threads)

    @contextlib.contextmanager
    def lent(self, item: Item) -> Iterator[KeptParts | None]:
        """Return what is kept of an item, for the length of a transfer."""
        parts = self._find(item)
        if parts is None:
            yield None
            return
        with parts.lent():
            yield parts

    def disbelieve(self, item: Item, origin: str) -> None:
        """Let go of what one origin sent of an item: it was wrong."""
        parts = self._find(item)
        if parts is not None:
            parts.disbelieve(origin)

    def forget(self, item: Item) -> None:
        """Let go of what is kept of an item."""
        if self._find(item) is not None:
            self._drop()

    def _find(self, item: Item) -> KeptParts | None:
        is_it = self._item is not None and (self._item.digest, self._item.size_bytes) == (
            item.digest,
            item.size_bytes,
        )
        return self._parts if is_it and self._parts is not None and self._parts.is_open else None

    def _drop(self) -> None:
        if self._parts is not None:
            self._parts.drop()
        self._item = self._parts = None
