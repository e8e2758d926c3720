"""A folder as an origin: documents and items of the static tree in it.

Owns what a folder's answers mean, and how long they may take. What the bytes are worth is
decided by signatures and digests, as for any other origin.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import TypeVar, TypeVarTuple

from proxy.sources.awake_timeout import AwakeTimeout
from proxy.sources.delivery_rate import DeliveryRate
from proxy.sources.document import CONFIRMED, Fetched, FetchOptions, Validators
from proxy.sources.errors import (
    OriginAbsent,
    OriginError,
    OriginForbidden,
    OriginMisbehaved,
    OriginOverdid,
    OriginUnreachable,
    WrongLength,
)
from proxy.sources.folder.file import FolderFile, Version
from proxy.sources.folder.reader import Reader
from proxy.sources.folder.reasons import cause_of, explain
from proxy.sources.limits.document_flow import DocumentFlow
from proxy.sources.limits.flow import Flow
from proxy.sources.limits.limits import UNLIMITED, Limits
from proxy.sources.meter import Meter
from proxy.sources.options import UpstreamOptions
from proxy.sources.origin import ItemOptions, Piece

_Args = TypeVarTuple("_Args")
_Result = TypeVar("_Result")

_PIECE_BYTES = 512 * 1024
_SHARED_PIECE_BYTES = 64 * 1024
"""While others wait for their turn: a hundred clients of a slow disk shall all get something soon."""
_SETTLED_S = 3.0
"""A file that was written within so many seconds may be written again without looking newer."""
_CLOSE_WITHIN_S = 1.0


class FolderOrigin:
    """The tree in one folder; `reader` has the threads for it, `clock` gives Unix seconds."""

    def __init__(
        self,
        name: str,
        folder: Path,
        reader: Reader,
        options: UpstreamOptions,
        meter: Meter,
        clock: Callable[[], float],
        limits: Limits = UNLIMITED,
    ) -> None:
        self.name = name
        self.host = ""
        self._folder = folder
        self._reader = reader
        self._options = options
        self._meter = meter
        self._clock = clock
        self._limits = limits

    def __repr__(self) -> str:
        return f"FolderOrigin({self.name})"

    def item(self, path: str, size_bytes: int) -> "FolderItem":
        """Return the item of that size at a canonical path. Asks for nothing yet."""
        return FolderItem(self, path, size_bytes)

    async def fetch(
        self, path: str, validators: Validators, options: FetchOptions = CONFIRMED
    ) -> Fetched | None:
        """Return the whole document at a canonical path; None when `validators` still hold.

        Raises OriginError: OriginUnreachable for a document that is being written.
        """
        timeout_s = self._options.document_timeout_s
        try:
            async with AwakeTimeout(timeout_s) as timeout, self.opened(path) as (file, version):
                options = options._replace(flow=DocumentFlow(timeout))
                found = self._validators(version)
                if validators.etag is not None and validators.etag == found.etag:
                    return None
                data = await self._document(file, version, options)
                if version.was_written(await self._run(file.path, file.version)):
                    raise OriginUnreachable(self.name, f"{path} was written while it was read")
                return Fetched(data=data, validators=found)
        except TimeoutError as error:
            self._meter.failed()
            raise OriginUnreachable(self.name, f"{path} took longer than {timeout_s:g} s") from error

    @contextlib.asynccontextmanager
    async def opened(self, path: str) -> AsyncIterator[tuple[FolderFile, Version]]:
        """Open the file at a canonical path, and close it in the end. Raises OriginError."""
        file = FolderFile(self.name, self._folder, path)
        began, is_urgent = time.monotonic(), False
        try:
            try:
                version = await self._run(path, file.open)
            except (OriginAbsent, OriginForbidden) as error:
                self._meter.answered(time.monotonic() - began, is_good=isinstance(error, OriginAbsent))
                raise
            self._meter.answered(time.monotonic() - began, is_good=True)
            yield file, version
        except OriginUnreachable:
            # Another origin may be waiting to be asked, and closing may hang as reading did.
            is_urgent = True
            raise
        finally:
            file.end()
            if file.is_open:
                closing = self._reader.begin(file.close)
                if not is_urgent:
                    await asyncio.wait([closing], timeout=_CLOSE_WITHIN_S)

    async def read(
        self, file: FolderFile, start: int, stop: int, *, is_replaceable: bool, flow: Flow
    ) -> AsyncGenerator[bytes, None]:
        """Yield a file's bytes of [start, stop), or up to its end if that comes first.

        Raises OriginUnreachable when reading fails, or is very slow though the origin is replaceable.
        """
        rate = DeliveryRate(self._options.least_rate_bytes, self._options.stall_timeout_s)
        while start < stop:
            piece_bytes = _SHARED_PIECE_BYTES if self._reader.is_crowded else _PIECE_BYTES
            granted_bytes = await self._limits.take(min(piece_bytes, stop - start), flow)
            began = time.monotonic()
            chunk = b""
            try:
                chunk = await self._run(file.path, file.read, start, granted_bytes)
            finally:
                self._limits.give_back(granted_bytes - len(chunk))
            if not chunk:
                return
            self._meter.received(len(chunk))
            rate.note(len(chunk), time.monotonic() - began)
            yield chunk
            start += len(chunk)
            if is_replaceable and rate.is_weak:
                raise OriginUnreachable(self.name, f"it gives only {rate.rate_bytes} bytes a second")

    async def _document(self, file: FolderFile, version: Version, options: FetchOptions) -> bytes:
        limit = self._options.document_limit_bytes
        written = BytesIO()
        if version.size_bytes <= limit:
            chunks = self.read(file, 0, limit + 1, is_replaceable=options.is_replaceable, flow=options.flow)
            async with contextlib.aclosing(chunks):
                async for chunk in chunks:
                    written.write(chunk)
        if max(version.size_bytes, written.tell()) > limit:
            self._meter.exceeded()
            raise OriginOverdid(
                self.name, f"its document has more than {limit} bytes, the limit of [upstream] document_limit"
            )
        return written.getvalue()

    def _validators(self, version: Version) -> Validators:
        """Return what tells a version from later ones; nothing while it may be written without a trace."""
        newest_s = max(version.modified_ns, version.changed_ns) / 1e9
        if newest_s > self._clock() - _SETTLED_S:
            return Validators()
        return Validators(etag=f'"{"-".join(f"{part:x}" for part in version)}"')

    async def _run(self, path: str, function: Callable[[*_Args], _Result], *args: *_Args) -> _Result:
        """Do something with the file at a path, in a thread, and within the stall timeout."""
        with self._border(path):
            return await self._reader.call(self._options.stall_timeout_s, function, *args)

    @contextlib.contextmanager
    def _border(self, path: str) -> Iterator[None]:
        """Turn every error within into the origin's, and count it."""
        try:
            yield
        except (OriginAbsent, OriginForbidden):
            raise
        except OriginError:
            self._meter.failed()
            raise
        except Exception as error:
            self._meter.failed()
            raise self._translated(path, error) from error

    def _translated(self, path: str, error: Exception) -> OriginError:
        if isinstance(error, TimeoutError) and error.errno is None:
            silence_s = self._options.stall_timeout_s
            return OriginUnreachable(
                self.name,
                f"{path}: nothing could be read for {silence_s:g} s, [upstream] stall_timeout: "
                "is its disk or file server in trouble?",
            ).due_to("folder")
        if isinstance(error, OSError):
            return OriginUnreachable(self.name, f"{path}: {explain(error)}").due_to(cause_of(error))
        return OriginMisbehaved(self.name, f"{path} cannot be read: {type(error).__name__}: {error}")


class FolderItem:
    """One item in a folder, for as long as one transfer lasts."""

    place = ""
    """A folder redirects nowhere."""

    def __init__(self, origin: FolderOrigin, path: str, size_bytes: int) -> None:
        self._origin = origin
        self._path = path
        self._size_bytes = size_bytes

    async def pieces(self, offset: int, options: ItemOptions) -> AsyncGenerator[Piece, None]:
        """Yield the bytes from `offset` to the end of the item, each once and in order.

        Raises OriginError: WrongLength also when the file is cut while it is read.
        """
        async with contextlib.aclosing(self.read(offset, self._size_bytes, options)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def read(self, start: int, stop: int, options: ItemOptions) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of [start, stop), and raise what `pieces` raises."""
        async with self._origin.opened(self._path) as (file, version):
            if version.size_bytes != self._size_bytes:
                raise WrongLength(self._origin.name, self._size_bytes, version.size_bytes)
            chunks = self._origin.read(
                file, start, stop, is_replaceable=options.is_replaceable, flow=options.flow
            )
            async with contextlib.aclosing(chunks):
                async for chunk in chunks:
                    yield chunk
                    start += len(chunk)
            if start != stop:
                raise WrongLength(self._origin.name, self._size_bytes, start)

    def part(self, start: int, stop: int, options: ItemOptions) -> "FolderPart":
        """Return the bytes of [start, stop). Asks for nothing yet."""
        return FolderPart(self, start, stop, options)


class FolderPart:
    """A part of one item in a folder."""

    place = ""
    """A folder redirects nowhere."""

    def __init__(self, item: FolderItem, start: int, stop: int, options: ItemOptions) -> None:
        self._item = item
        self._start = start
        self._stop = stop
        self._options = options

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield its bytes, each once and in order. Raises OriginError."""
        async with contextlib.aclosing(self._item.read(self._start, self._stop, self._options)) as chunks:
            async for chunk in chunks:
                yield chunk
