"""The files that a mirror's lists name: found by words, a page at a time, with what is known of each.

Whoever asks waits for one search, which reads text from the disk and stops when it has
counted enough; a large list that was not written down yet is written down meanwhile, by
a process of its own.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from proxy.counting.file_table import FileStory, read_stories
from proxy.digest import Digest
from proxy.service.cache import Cache
from proxy.simplestreams.contents import Contents, Found, Line
from proxy.simplestreams.model import PRODUCTS_FORMAT
from proxy.store.files import StoreFault

_MOST_COUNTED = 10_000
_HELD_FOR_S = 10.0
_PATIENCE_S = 0.5
_OPEN_LISTS = 16
_SHARDS = [f"{number:02x}" for number in range(256)]

State = Literal["", "here", "upstream"]
"""Which files are wanted: all, those that are here, those that are not."""


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A listed file, and what is known of it."""

    line: Line
    stored_bytes: int
    pins: list[str]
    used_at: float | None
    story: FileStory

    @property
    def is_here(self) -> bool:
        """Whether all of it is here."""
        return self.stored_bytes == self.line.size_bytes


class FilesFound(NamedTuple):
    """Some of the files that were asked for."""

    files: list[KnownFile]
    total: int
    is_more: bool
    """Whether not all were counted."""
    unread: str
    """Why some list was not searched, "" if all were."""


class FileIndex:
    """Searches the lists of a cache's mirrors."""

    def __init__(self, cache: Cache, counts: Path) -> None:
        """Take what processes have noted of files from `counts`."""
        self._cache = cache
        self._storage = cache.storage
        self._counts = counts
        self._contents: dict[Digest, Contents] = {}
        self._opening: dict[Digest, asyncio.Task[Contents | None]] = {}
        self._held: dict[str, int] = {}
        self._held_until_s = 0.0

    async def find(
        self, mirror: str, words: Sequence[str], state: State, start: int, count: int
    ) -> FilesFound:
        """Return `count` files from number `start` on of those of which all words are said."""
        slow = self._storage.threads.slow
        lists, unread = await self._lists(mirror)
        try:
            found = await slow(self._search, lists, words, state, start, count)
            known = await slow(self._look_up, found.lines)
        except StoreFault as fault:
            return FilesFound([], 0, is_more=False, unread=str(fault))
        return FilesFound(known, found.total, found.is_more, unread)

    async def _lists(self, mirror: str) -> tuple[list[Contents], str]:
        """Return the contents of a mirror's lists, and why some are lacking."""
        generation = await self._cache.recorded(mirror)
        if generation is None:
            return [], "it has no lists yet"
        texts = [one.text for one in generation.documents.values() if one.format == PRODUCTS_FORMAT]
        lists, unread = [], ""
        for text in dict.fromkeys(texts):
            try:
                contents = self._contents.get(text) or await self._open(text)
            except StoreFault as fault:
                unread = str(fault)
                continue
            if contents is None:
                unread = "it is still being read"
            else:
                lists.append(contents)
        return lists, unread

    async def _open(self, text: Digest) -> Contents | None:
        """Open the contents of a list; None while another process, or this one, still writes them down."""
        task = self._opening.get(text)
        if task is None:
            work = self._storage.threads.slow(self._cache.reading.contents, text)
            task = self._opening[text] = asyncio.create_task(work, name="contents")
            task.add_done_callback(lambda _: self._opening.pop(text))
        await asyncio.wait([task], timeout=_PATIENCE_S)
        if not task.done():
            return None
        contents = task.result()
        if contents is not None:
            while len(self._contents) >= _OPEN_LISTS:
                del self._contents[next(iter(self._contents))]
            self._contents[text] = contents
        return contents

    def _search(
        self, lists: Sequence[Contents], words: Sequence[str], state: State, start: int, count: int
    ) -> Found:
        """Search lists one after the other. Blocks. Raises StoreFault."""
        try:
            if not words and not state:
                return _browse(lists, start, count)
            held = self._held_sizes() if state else {}

            def is_wanted(line: Line) -> bool:
                return not state or (held.get(line.digest) == line.size_bytes) is (state == "here")

            lines: list[Line] = []
            total = 0
            for contents in lists:
                left = max(0, start - total)
                found = contents.search(words, left, count - len(lines), _MOST_COUNTED - total, is_wanted)
                lines += found.lines
                total += found.total
                if found.is_more:
                    return Found(lines, total, is_more=True)
            return Found(lines, total, is_more=False)
        except OSError as error:
            self._contents.clear()
            raise StoreFault.of("a list cannot be searched", error) from error

    def _held_sizes(self) -> dict[str, int]:
        """Return the sizes of all blobs that are here, of some seconds ago at most. Blocks."""
        if time.monotonic() >= self._held_until_s:
            shards = map(self._storage.store.shard_sizes, _SHARDS)
            self._held = {digest: size for shard in shards for digest, size in shard.items()}
            self._held_until_s = time.monotonic() + _HELD_FOR_S
        return self._held

    def _look_up(self, lines: Sequence[Line]) -> list[KnownFile]:
        """Return what is known of files. Blocks. Raises LedgerUnavailable."""
        digests = [line.digest for line in lines]
        store, pins = self._storage.store, self._storage.pins
        used_at = self._storage.blobs.used_at(digests)
        stories = read_stories(self._counts, digests)
        return [
            KnownFile(
                line,
                line.size_bytes
                if store.is_whole(line.digest, line.size_bytes)
                else min(store.stored_bytes(line.digest, line.size_bytes), line.size_bytes - 1),
                pins.names(line.digest).get(line.digest, []),
                used_at.get(line.digest),
                stories.get(line.digest, FileStory()),
            )
            for line in lines
        ]


def _browse(lists: Sequence[Contents], start: int, count: int) -> Found:
    """Return lines by their number alone. Blocks."""
    lines: list[Line] = []
    total = 0
    for contents in lists:
        if len(lines) < count and start < total + contents.count:
            lines += contents.lines(max(0, start - total), count - len(lines))
        total += contents.count
    return Found(lines, total, is_more=False)
