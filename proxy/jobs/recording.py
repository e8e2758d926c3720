"""Recordings of what clients ask for: begun, ended, looked at and deleted; who did it is written down."""

import contextlib
from collections.abc import Callable
from typing import NamedTuple

from proxy.jobs.audit import Audit, Done
from proxy.readable import counted
from proxy.recordings.asked import Taken
from proxy.recordings.folder import RecordingFolder
from proxy.recordings.recording import Recording, RecordingRefused
from proxy.service.cache import Cache

_ENDS_WITHIN_S = 10.0
_SHOWN_WITHIN_S = 2.0


class Shown(NamedTuple):
    """A recording, and what it has taken."""

    recording: Recording
    taken: Taken
    is_whole: bool = True
    """Whether all processes have written down what they knew."""


class Recordings:
    """What an operator does to the recordings of a data directory."""

    def __init__(
        self, cache: Cache, folder: RecordingFolder, clock: Callable[[], float], asked_by: str
    ) -> None:
        self._storage = cache.storage
        self._folder = folder
        self._clock = clock
        self._audit = Audit(cache.storage.threads, cache.storage.data_dir, asked_by)

    async def begin(self, recording: Recording) -> None:
        """Begin a recording, in all processes at once. Raises RecordingRefused."""
        await self._storage.threads.disk(self._folder.begin, recording)
        await self._write_down("record start", recording.name, f"recording {recording} as {recording.name}")

    async def end(self, name: str | None) -> Shown:
        """End a recording, the only one that runs unless it is named. Raises RecordingRefused."""
        only_one = self._only_one
        ending = await self._storage.threads.disk(only_one) if name is None else name
        ended = await self._storage.threads.disk(self._folder.end, ending, self._clock())
        shown = await self._look(ended, _ENDS_WITHIN_S)
        files = counted(len(shown.taken.files), "file")
        await self._write_down("record stop", ending, f"the recording {ending} has ended, with {files}")
        return shown

    async def show(self, name: str) -> Shown:
        """Return a recording with what it has taken until now. Raises RecordingRefused."""
        recording = await self._storage.threads.disk(self._folder.read, name)
        await self._storage.threads.disk(self._folder.settle, self._clock())
        return await self._look(recording, _SHOWN_WITHIN_S)

    async def all(self) -> list[Shown]:
        """Return all recordings that can be read, the newest last."""
        found = []
        for name in await self._storage.threads.disk(self._folder.names):
            with contextlib.suppress(RecordingRefused):
                recording = await self._storage.threads.disk(self._folder.read, name)
                taken = await self._storage.threads.slow(self._folder.taken, recording)
                found.append(Shown(recording, taken))
        return sorted(found, key=lambda one: one.recording.begun_at)

    async def delete(self, name: str) -> None:
        """Delete a recording, and let go of what it keeps. Raises RecordingRefused."""
        await self._storage.threads.disk(self._folder.delete, name, self._clock())
        pins, pin = self._storage.pins, f"recording {name}"
        await self._storage.threads.ledger(pins.repin, pin, ())
        await self._write_down("record delete", name, f"the recording {name} is deleted")

    def _only_one(self) -> str:
        """Return the name of the recording that runs. Blocks."""
        running = [one.name for one in self._folder.running(self._clock())]
        if len(running) == 1:
            return running[0]
        if not running:
            raise RecordingRefused("no recording runs")
        raise RecordingRefused(f"several recordings run, say which one: {', '.join(running)}")

    async def _look(self, recording: Recording, longest_s: float) -> Shown:
        is_whole = await self._storage.threads.slow(self._folder.board.wait_until_written, longest_s)
        taken = await self._storage.threads.slow(self._folder.taken, recording)
        return Shown(recording, taken, is_whole)

    async def _write_down(self, action: str, name: str, text: str) -> None:
        await self._audit.write_down(Done(action=action, text=text), name)
