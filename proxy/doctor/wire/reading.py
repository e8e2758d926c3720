"""Reading a reply: its head, and its body in whatever framing, within bounds of bytes and time."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from proxy.doctor.exchange import Ask, Exchange, Trouble, without_credentials

HEAD_BYTES = 64 * 1024
_BLOCK_BYTES = 64 * 1024
_MOST_INTERIM = 8
_SWITCHING = 101
_FIRST_FINAL = 200
_NO_BODY = frozenset({204, 304})
_LONGEST_CHUNK_LINE = 1024
_TRAILERS = 64

Clock = Callable[[], float]


class Broken(Exception):
    """What ended an exchange before its end."""

    def __init__(self, trouble: Trouble, detail: str = "") -> None:
        super().__init__(detail)
        self.trouble = trouble
        self.detail = detail


@dataclass(slots=True)
class Head:
    """The head of a reply."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    version: str = ""


@dataclass(slots=True)
class _Body:
    """What has come of a body."""

    kept: bytearray = field(default_factory=bytearray)
    count: int = 0
    longest_gap_s: float = 0.0
    is_whole: bool = False


async def read_exchange(reader: asyncio.StreamReader, ask: Ask, began: float, clock: Clock) -> Exchange:
    """Return the facts of the reply to a request that was sent; never raises for what a server does."""
    sha256, sha512, body = hashlib.sha256(), hashlib.sha512(), _Body()
    head = Head(0, "", ())
    first_byte_s = 0.0
    trouble, detail = None, ""
    try:
        head, first_byte_s = await _first_byte(reader, ask, began, clock)
        async for block in _blocks(reader, ask, head, body, began, clock):
            sha256.update(block)
            sha512.update(block)
            if ask.is_kept:
                body.kept += block
    except Broken as broken:
        trouble, detail = broken.trouble, broken.detail
    return Exchange(
        method=ask.method,
        url=without_credentials(ask.url),
        status=head.status,
        reason=head.reason,
        headers=head.headers,
        version=head.version,
        body=bytes(body.kept),
        body_bytes=body.count,
        sha256=sha256.hexdigest(),
        sha512=sha512.hexdigest(),
        is_whole=body.is_whole,
        first_byte_s=first_byte_s,
        longest_gap_s=body.longest_gap_s,
        took_s=clock() - began,
        trouble=trouble,
        detail=detail,
    )


async def _first_byte(
    reader: asyncio.StreamReader, ask: Ask, began: float, clock: Clock
) -> tuple[Head, float]:
    limit_s = began + ask.patience.first_byte_s - clock()
    try:
        async with asyncio.timeout(max(limit_s, 0.001)):
            return await read_head(reader), clock() - began
    except TimeoutError:
        raise Broken(Trouble.SILENT, f"no reply within {ask.patience.first_byte_s:g} s") from None


async def read_head(reader: asyncio.StreamReader) -> Head:
    """Return the head of the final reply. Raises Broken."""
    for _ in range(_MOST_INTERIM):
        try:
            raw = await reader.readuntil(b"\n\r\n")
        except asyncio.LimitOverrunError:
            raise Broken(Trouble.NOT_HTTP, f"its head is longer than {HEAD_BYTES} bytes") from None
        except asyncio.IncompleteReadError as error:
            if error.partial and not error.partial.startswith(b"HTTP/"):
                raise Broken(Trouble.NOT_HTTP, f"it says {error.partial[:60]!r}") from None
            raise Broken(Trouble.CLOSED, "it closed the connection without a whole reply") from None
        except OSError as error:
            raise Broken(Trouble.CLOSED, error.strerror or str(error)) from None
        head = _parsed(raw)
        if head.status >= _FIRST_FINAL or head.status == _SWITCHING:
            return head
    raise Broken(Trouble.NOT_HTTP, f"it sent {_MOST_INTERIM} interim replies and no final one")


def _parsed(raw: bytes) -> Head:
    first, *lines = raw.decode("latin-1").split("\n")
    version, _, rest = first.rstrip("\r").partition(" ")
    status, _, reason = rest.partition(" ")
    is_status = len(status) == 3 and status.isascii() and status.isdigit()  # noqa: PLR2004
    if not version.startswith("HTTP/") or not is_status:
        raise Broken(Trouble.NOT_HTTP, f"it says {raw[:60]!r}")
    fields = (line.rstrip("\r").partition(":") for line in lines)
    return Head(
        int(status),
        reason.strip(),
        tuple((name.strip(), value.strip()) for name, colon, value in fields if colon),
        version,
    )


async def _blocks(
    reader: asyncio.StreamReader, ask: Ask, head: Head, body: _Body, began: float, clock: Clock
) -> AsyncIterator[bytes]:
    """Yield the body, up to as many bytes as are wanted; say in `body` what came."""
    if ask.method == "HEAD" or head.status in _NO_BODY:
        body.is_whole = True
        return
    fields = {name.lower(): value for name, value in head.headers}
    source = _Source(reader, ask, body, began, clock)
    if "chunked" in fields.get("transfer-encoding", "").lower():
        framed = source.chunked()
    elif fields.get("content-length", "").isdigit():
        framed = source.counted(int(fields["content-length"][:18]))
    else:
        framed = source.to_end()
    async for block in framed:
        wanted = block[: ask.most_bytes - body.count]
        body.count += len(wanted)
        if wanted:
            yield wanted
        if len(wanted) < len(block) or (body.count >= ask.most_bytes and not source.is_at_end):
            return
    body.is_whole = True


class _Source:
    """A body as it arrives; each wait has the client's patience."""

    def __init__(
        self, reader: asyncio.StreamReader, ask: Ask, body: _Body, began: float, clock: Clock
    ) -> None:
        self._reader = reader
        self._ask = ask
        self._body = body
        self._began = began
        self._clock = clock
        self.is_at_end = False

    async def counted(self, count: int) -> AsyncIterator[bytes]:
        left = count
        self.is_at_end = not left
        while left:
            block = await self._read(min(left, _BLOCK_BYTES))
            if not block:
                raise Broken(Trouble.CUT, f"{count - left} of {count} bytes came")
            left -= len(block)
            self.is_at_end = not left
            yield block

    async def to_end(self) -> AsyncIterator[bytes]:
        while block := await self._read(_BLOCK_BYTES):
            yield block

    async def chunked(self) -> AsyncIterator[bytes]:
        while size := await self._chunk_size():
            left = size
            while left:
                block = await self._read(min(left, _BLOCK_BYTES))
                if not block:
                    raise Broken(Trouble.CUT, "a chunk did not end")
                left -= len(block)
                yield block
            await self._line()
        for _ in range(_TRAILERS):
            if not (await self._line()).strip():
                break
        self.is_at_end = True

    async def _chunk_size(self) -> int:
        line = await self._line()
        try:
            return int(line.partition(b";")[0], 16)
        except ValueError:
            raise Broken(Trouble.CUT, f"a chunk begins with {line[:40]!r}") from None

    async def _line(self) -> bytes:
        line = await self._wait(self._reader.readline())
        if not line.endswith(b"\n") or len(line) > _LONGEST_CHUNK_LINE:
            raise Broken(Trouble.CUT, "the chunks did not end")
        return line

    async def _read(self, count: int) -> bytes:
        return await self._wait(self._reader.read(count))

    async def _wait(self, reading: Awaitable[bytes]) -> bytes:
        asked = self._clock()
        patience = self._ask.patience
        left_s = self._began + patience.total_s - asked
        limit_s = min(patience.gap_s, max(left_s, 0.001))
        try:
            async with asyncio.timeout(limit_s):
                data = await reading
        except TimeoutError:
            if limit_s >= min(patience.gap_s, patience.total_s / 2):
                self._body.longest_gap_s = max(self._body.longest_gap_s, limit_s)
                text = f"nothing came for {limit_s:.2g} s after {self._body.count} bytes"
                raise Broken(Trouble.STALLED, text) from None
            text = f"{self._body.count} bytes had come after {patience.total_s:g} s"
            raise Broken(Trouble.SLOW, text) from None
        except ValueError:
            raise Broken(Trouble.CUT, "a line of the chunks does not end") from None
        except OSError as error:
            text = f"{error.strerror or error}, after {self._body.count} bytes"
            raise Broken(Trouble.CUT, text) from None
        self._body.longest_gap_s = max(self._body.longest_gap_s, self._clock() - asked)
        return data
