"""The recordings of a data directory: begun, ended, read and deleted, by whichever process. Blocks.

Whoever changes one has the lock of the folder, and tells all processes by the board.
"""

import contextlib
import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from proxy.recordings.asked import Taken, read_lines
from proxy.recordings.board import Board
from proxy.recordings.recording import RECORDING, Recording, RecordingRefused, check_name
from proxy.store.schema import Unreadable
from proxy.system.durable import make_folder, write_file

MOST_AT_ONCE = 16
LINGERING_S = 2.0
"""For so long after its end processes note requests: a reply may be counted a moment after it went out."""

_RECORDING = "recording.json"
_ASKED = "asked.jsonl"
_LOCK = ".lock"
_MOST_BYTES = 1024 * 1024
"""Of what says what a recording takes."""


class RecordingFolder:
    """The folder with all recordings, one folder each."""

    def __init__(self, folder: Path, board: Board) -> None:
        self._folder = folder
        self.board = board

    def begin(self, recording: Recording) -> None:
        """Begin a recording, in all processes at once. Raises RecordingRefused and OSError."""
        check_name(recording.name)
        with self._changed(recording.begun_at):
            folder = self._folder / recording.name
            if folder.exists():
                raise RecordingRefused(
                    f"there is a recording {recording.name!r} already: write another name, or delete it: "
                    f"sstream-proxy record delete {recording.name}"
                )
            if len(self.running(recording.begun_at)) >= MOST_AT_ONCE:
                raise RecordingRefused(f"{MOST_AT_ONCE} recordings run already: end one")
            write_file(folder / _RECORDING, json.dumps(RECORDING.encode(recording)).encode())

    def end(self, name: str, now: float) -> Recording:
        """End a recording now, and return it. Raises RecordingRefused when it is none that runs."""
        with self._changed(now):
            recording = self.read(name)
            if recording.has_ended(now):
                raise RecordingRefused(f"the recording {name!r} has ended already")
            ended = replace(recording, until=now)
            write_file(self._folder / name / _RECORDING, json.dumps(RECORDING.encode(ended)).encode())
        return ended

    def delete(self, name: str, now: float) -> None:
        """Delete a recording, whether it runs or not. Raises RecordingRefused when there is none."""
        check_name(name)
        with self._changed(now):
            folder = self._folder / name
            if not folder.is_dir():
                raise self._unknown(name)
            shutil.rmtree(folder)

    def names(self) -> list[str]:
        """Return the names of all recordings."""
        if not self._folder.is_dir():
            return []
        return sorted(one.name for one in self._folder.iterdir() if (one / _RECORDING).is_file())

    def read(self, name: str) -> Recording:
        """Return what a recording takes. Raises RecordingRefused when there is none, or none readable."""
        check_name(name)
        try:
            with (self._folder / name / _RECORDING).open("rb") as file:
                recording = RECORDING.decode_text(file.read(_MOST_BYTES))
        except FileNotFoundError:
            raise self._unknown(name) from None
        if isinstance(recording, Unreadable):
            raise RecordingRefused(f"the recording {name!r} cannot be read: {recording.problem}")
        return recording

    def taken(self, recording: Recording) -> Taken:
        """Return what a recording has taken so far."""
        try:
            with (self._folder / recording.name / _ASKED).open("rb") as lines:
                return read_lines(lines, recording.most_files)
        except FileNotFoundError:
            return Taken()

    def add(self, name: str, lines: list[bytes]) -> None:
        """Add lines to a recording. Raises OSError."""
        path = self._folder / name / _ASKED
        data = b"".join([*lines, b"\n"])
        with contextlib.closing(_Descriptor(path)) as file:
            if os.write(file.fd, data) < len(data):
                # What is cut off is passed over by those who read it, and so is what is written twice.
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def running(self, now: float, lingering_s: float = 0.0) -> list[Recording]:
        """Return the recordings that can be read and have not ended, or only so short a while ago."""
        found = []
        for name in self.names():
            with contextlib.suppress(RecordingRefused, OSError):
                recording = self.read(name)
                if not recording.has_ended(now - lingering_s):
                    found.append(recording)
        return found

    def settle(self, now: float) -> None:
        """Have the board say what is true."""
        if self._folder.is_dir() or self.board.is_on:
            with self._changed(now):
                pass

    @contextlib.contextmanager
    def _changed(self, now: float) -> Iterator[None]:
        """Change recordings while nobody else does; tell all processes of it."""
        make_folder(self._folder)
        lock = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
            self.board.change(on=bool(self.running(now, LINGERING_S)))
        finally:
            os.close(lock)

    def _unknown(self, name: str) -> RecordingRefused:
        names = self.names()
        there = f"there are: {', '.join(names)}" if names else "there are none"
        return RecordingRefused(f"there is no recording {name!r}; {there}")


class _Descriptor:
    """A file to which several processes add whole lines."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def close(self) -> None:
        os.close(self.fd)
