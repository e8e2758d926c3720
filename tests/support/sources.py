"""Each kind of origin before a tree of files, for the tests that every kind passes.

A new kind has a class here, and a name in `KINDS`.
"""

import contextlib
import os
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from proxy.sources.folder.origin import FolderOrigin
from proxy.sources.folder.reader import Reader
from proxy.sources.http.sessions import Sessions
from proxy.sources.options import UpstreamOptions
from proxy.sources.origin import Origin
from support.faults import Fault
from support.origin import Origin as Server
from support.upstreams import Meter, asked_with

OPTIONS = UpstreamOptions(
    connect_timeout_s=2, stall_timeout_s=2, give_up_after_s=3, document_limit_bytes=1024 * 1024
)


class Kind(ABC):
    """An origin of one kind, the tree that it gives, and what a test can do to both."""

    def __init__(self, origin: Origin, root: Path, meter: Meter) -> None:
        self.origin = origin
        self.root = root
        self.meter = meter

    def write(self, path: str, data: bytes) -> None:
        """Publish a file, as a mirror does: whole, under its name at once."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(".draft")
        draft.write_bytes(data)
        draft.replace(target)

    @abstractmethod
    def prepare_cut(self, path: str, after: int) -> None:
        """Make ready that a file ends after some bytes for whoever is reading it then."""

    @abstractmethod
    def cut(self, path: str, after: int) -> None:
        """End the file now, where the kind can do so only while it is read."""

    @abstractmethod
    async def go_away(self) -> None:
        """Be out of reach from now on."""

    @abstractmethod
    async def settled(self) -> None:
        """Return when the other side has noticed that nobody asks any more."""


class HttpKind(Kind):
    """A server on loopback."""

    def __init__(self, origin: Origin, server: Server, meter: Meter) -> None:
        super().__init__(origin, server.root, meter)
        self._server = server

    def prepare_cut(self, path: str, after: int) -> None:
        """Let the server break off there."""
        self._server.fault(path, Fault(close_after=after))

    def cut(self, path: str, after: int) -> None:
        """Do nothing: the server does it."""

    async def go_away(self) -> None:
        """Listen no more."""
        await self._server.stop()

    async def settled(self) -> None:
        """Wait for the server's conversations."""
        await self._server.idle()


class FolderKind(Kind):
    """A folder of this machine."""

    def prepare_cut(self, path: str, after: int) -> None:
        """Do nothing: it is cut while it is read."""

    def cut(self, path: str, after: int) -> None:
        """Cut the very file that is open."""
        os.truncate(self.root / path, after)

    async def go_away(self) -> None:
        """Be as a disk that is not mounted."""
        shutil.rmtree(self.root)
        self.root.mkdir()

    async def settled(self) -> None:
        """Return at once: there is nobody else."""


@contextlib.asynccontextmanager
async def http_kind(root: Path) -> AsyncIterator[Kind]:
    """Return an HTTP origin."""
    meter = Meter()
    async with Server(root) as server, Sessions(OPTIONS) as sessions:
        yield HttpKind(asked_with(sessions, server, meter), server, meter)


@contextlib.asynccontextmanager
async def folder_kind(root: Path) -> AsyncIterator[Kind]:
    """Return a folder, at a time when its files have not been written just now."""
    meter = Meter()
    reader = Reader("test")
    origin = FolderOrigin(root.as_uri() + "/", root, reader, OPTIONS, meter, lambda: time.time() + 60)
    try:
        yield FolderKind(origin, root, meter)
    finally:
        reader.close()


KINDS: dict[str, Callable[[Path], contextlib.AbstractAsyncContextManager[Kind]]] = {
    "http": http_kind,
    "folder": folder_kind,
}
