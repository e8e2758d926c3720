"""How Apache answers for a static file: validators, conditions and ranges; and what a fault makes of it."""

import asyncio
import gzip
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from email.utils import formatdate, parsedate_to_datetime
from html import escape
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO, Protocol

from support.faults import Fault

_CONTENT_TYPES = {
    ".json": "application/json",
    ".html": "text/html",
    ".gz": "application/x-gzip",
    ".tgz": "application/x-gzip",
}


class Body(Protocol):
    """Bytes to send from."""

    async def read(self, offset: int, size_bytes: int) -> bytes:
        """Read at most `size_bytes` from `offset`."""
        ...

    def close(self) -> None:
        """Let go of what is behind it."""
        ...


class BytesBody:
    """A body in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read(self, offset: int, size_bytes: int) -> bytes:
        """Read at most `size_bytes` from `offset`."""
        return self._data[offset : offset + size_bytes]

    def close(self) -> None:
        """Nothing is behind it."""


class FileBody:
    """A body on disk; reads happen in threads, since tests may forbid blocking calls in the loop."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    async def read(self, offset: int, size_bytes: int) -> bytes:
        """Read at most `size_bytes` from `offset`."""
        return await asyncio.to_thread(os.pread, self._file.fileno(), size_bytes, offset)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class CorruptBody:
    """Another body with one byte flipped."""

    def __init__(self, inner: Body, at: int) -> None:
        self._inner = inner
        self._at = at

    async def read(self, offset: int, size_bytes: int) -> bytes:
        """Read at most `size_bytes` from `offset`."""
        block = bytearray(await self._inner.read(offset, size_bytes))
        if 0 <= self._at - offset < len(block):
            block[self._at - offset] ^= 0xFF
        return bytes(block)

    def close(self) -> None:
        """Close the body behind it."""
        self._inner.close()


@dataclass(frozen=True, slots=True)
class StaticFile:
    """What a path holds, opened once so that all of an answer comes from the same version."""

    body: Body
    size_bytes: int
    headers: Mapping[str, str]
    """ETag, Last-Modified and whatever else describes the bytes."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, its headers and the part of a body to send with it."""

    status: int
    headers: dict[str, str]
    body: Body = field(default_factory=lambda: BytesBody(b""))
    start: int = 0
    length_bytes: int = 0


def page(status: int, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer with the short HTML page that Apache has for a status."""
    title = f"{status} {phrase(status)}".strip()
    html = f"<!DOCTYPE HTML>\n<html><head>\n<title>{escape(title)}</title>\n</head></html>\n".encode()
    if status in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}:
        html = b""
    return _html(status, html, headers)


async def answer_for(root: Path, path: str, method: str, asked: Mapping[str, str], fault: Fault) -> Answer:
    """Answer a request for `path` below `root`, with `asked` as its headers, in the way of `fault`."""
    if fault.redirect_to is not None:
        return page(HTTPStatus.FOUND, {"Location": fault.redirect_to})
    status = fault.range_status if fault.status is None and "Range" in asked else fault.status
    if fault.rest_status is not None and asked.get("Range", "").endswith("-"):
        status = fault.rest_status
    if fault.condition_status is not None and is_conditional(asked):
        status = fault.condition_status
    if status is not None:
        return page(status)
    if fault.body is not None:
        return _html(HTTPStatus.OK, fault.body)
    if method not in {"GET", "HEAD"}:
        return page(HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": "GET,HEAD"})
    file = await _opened(root, path)
    if file is None:
        return page(HTTPStatus.NOT_FOUND)
    try:
        return _select(await _spoil(file, fault), method, asked, fault)
    except BaseException:
        file.body.close()
        raise


def is_conditional(asked: Mapping[str, str]) -> bool:
    """Say whether a request asks only for what has changed."""
    return any(name in asked for name in ("If-None-Match", "If-Modified-Since"))


def phrase(status: int) -> str:
    """Name a status, also one that nobody knows."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _html(status: int, html: bytes, headers: Mapping[str, str] | None = None) -> Answer:
    described = {"Content-Type": "text/html; charset=iso-8859-1", **(headers or {})}
    return Answer(status, described, BytesBody(html), 0, len(html))


async def _opened(root: Path, path: str) -> StaticFile | None:
    """Open a file in a thread, and close it again should nobody want it any more by then."""
    opening = asyncio.ensure_future(asyncio.to_thread(_open, root, path))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        if (file := await opening) is not None:
            file.body.close()
        raise


def _open(root: Path, path: str) -> StaticFile | None:
    """Open a file below `root`; a folder or a path that leaves `root` holds nothing."""
    found = Path(os.path.normpath(root / path))
    if "\0" in path or not found.is_relative_to(os.path.normpath(root)) or not found.is_file():
        return None
    try:
        file = found.open("rb", buffering=0)
    except FileNotFoundError:
        return None  # The publisher has removed it just now.
    stat = os.fstat(file.fileno())
    headers = {
        "Last-Modified": formatdate(stat.st_mtime_ns // 1_000_000_000, usegmt=True),
        "ETag": f'"{stat.st_size:x}-{stat.st_mtime_ns // 1000:x}"',
        "Accept-Ranges": "bytes",
    }
    if content_type := _CONTENT_TYPES.get(found.suffix):
        headers["Content-Type"] = content_type
    return StaticFile(FileBody(file), stat.st_size, headers)


async def _spoil(file: StaticFile, fault: Fault) -> StaticFile:
    """Apply the faults that lie in the bytes and in what is said about them."""
    headers = dict(file.headers)
    if fault.truncate_to is not None:
        file = replace(file, size_bytes=min(file.size_bytes, fault.truncate_to))
    if fault.gzip:
        file = await _gzipped(file)
        headers["ETag"] = f'{headers["ETag"][:-1]}-gzip"'
        headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        del headers["Accept-Ranges"]
    if fault.corrupt_at is not None:
        file = replace(file, body=CorruptBody(file.body, fault.corrupt_at))
    if fault.no_etag:
        del headers["ETag"], headers["Last-Modified"]
    if fault.content_encoding is not None:
        headers["Content-Encoding"] = fault.content_encoding
    return replace(file, headers=headers)


async def _gzipped(file: StaticFile) -> StaticFile:
    plain = await file.body.read(0, file.size_bytes)
    file.body.close()
    packed = await asyncio.to_thread(gzip.compress, plain, mtime=0)
    return replace(file, body=BytesBody(packed), size_bytes=len(packed))


def _select(file: StaticFile, method: str, asked: Mapping[str, str], fault: Fault) -> Answer:
    """Choose between 200, 206, 304 and 416."""
    headers = dict(file.headers)
    if _unchanged(headers, asked):
        headers.pop("Content-Type", None)
        return Answer(HTTPStatus.NOT_MODIFIED, headers, file.body)
    whole = Answer(HTTPStatus.OK, headers, file.body, 0, file.size_bytes)
    wanted = asked.get("Range")
    if wanted is None or method != "GET" or fault.ignore_range or fault.gzip:
        return whole
    if not _range_still_valid(headers, asked.get("If-Range")):
        return whole
    return _partial(whole, wanted, fault)


def _partial(whole: Answer, wanted: str, fault: Fault) -> Answer:
    span = parse_range(wanted, whole.length_bytes)
    if span is None:
        return whole
    first, last = span
    size = whole.length_bytes
    if first > last or first >= size:
        whole.body.close()
        return page(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, {"Content-Range": f"bytes */{size}"})
    if fault.wrong_range:
        first = 0 if first > 0 else min(1, last)
    if fault.range_slice:
        return replace(whole, start=first, length_bytes=last - first + 1)
    place = f"{fault.range_unit} {first}-{last}/{size + fault.total_error}"
    headers = {**whole.headers, "Content-Range": place}
    length_bytes = 0 if fault.range_empty else last - first + 1
    return Answer(HTTPStatus.PARTIAL_CONTENT, headers, whole.body, first, length_bytes)


def parse_range(wanted: str, size_bytes: int) -> tuple[int, int] | None:
    """Read a Range header as first and last byte; None if it is malformed or has several parts."""
    unit, _, spec = wanted.partition("=")
    first_text, dash, last_text = (part.strip() for part in spec.partition("-"))
    if unit.strip().lower() != "bytes" or not dash or not (first_text or last_text):
        return None
    if not (first_text + last_text).isdecimal():
        return None
    if not first_text:
        return max(0, size_bytes - int(last_text)), size_bytes - 1
    last = int(last_text) if last_text else size_bytes - 1
    if last_text and last < int(first_text):
        return None
    return int(first_text), min(last, size_bytes - 1)


def _unchanged(headers: Mapping[str, str], asked: Mapping[str, str]) -> bool:
    etags = asked.get("If-None-Match")
    if etags is not None:
        known = {etag.strip().removeprefix("W/") for etag in etags.split(",")}
        return "ETag" in headers and ("*" in known or headers["ETag"] in known)
    since = asked.get("If-Modified-Since")
    if since is None or "Last-Modified" not in headers:
        return False
    try:
        return parsedate_to_datetime(headers["Last-Modified"]) <= parsedate_to_datetime(since)
    except ValueError:
        return False


def _range_still_valid(headers: Mapping[str, str], if_range: str | None) -> bool:
    return if_range is None or if_range in {headers.get("ETag"), headers.get("Last-Modified")}
