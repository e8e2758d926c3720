"""What can be wrong with any reply, be it a document or an item. Pure."""

import zlib
from collections.abc import Iterator

from proxy.doctor.exchange import Exchange, Trouble
from proxy.doctor.findings import Finding
from proxy.doctor.wording import Voice
from proxy.readable import duration

_OK, _PARTIAL, _PROXY_AUTHENTICATION = 200, 206, 407
GONE = frozenset({404, 410})
_DENIED = frozenset({401, 403})
_REDIRECTS = range(300, 400)
_BLOCK_BYTES = 64 * 1024
_OLD_CACHE_S = 3600
_SILENT_PROXY_FIELDS = ("Via", "X-Cache", "X-Cache-Lookup", "CF-Cache-Status")
_GZIP_MAGIC, _XZ_MAGIC, _ZSTD_MAGIC = b"\x1f\x8b", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"
_GZIP_WINDOW, _ZLIB_WINDOW = 31, 15

_TROUBLES = {
    Trouble.NAME: "name-unknown",
    Trouble.REFUSED: "refused",
    Trouble.UNREACHABLE: "unreachable",
    Trouble.CONNECT_TIMEOUT: "unreachable",
    Trouble.TLS: "tls-failed",
    Trouble.CERTIFICATE: "certificate",
    Trouble.CLOSED: "closed",
    Trouble.NOT_HTTP: "not-http",
    Trouble.SILENT: "silent",
    Trouble.STALLED: "stalled",
    Trouble.SLOW: "slow",
    Trouble.CUT: "cut",
    Trouble.PROXY: "proxy-fails",
}
TRANSIENT = frozenset({429, 500, 502, 503, 504})
"""Statuses that a server gives when it is asked too much."""


class BadEncoding(Exception):
    """A body that is not what its Content-Encoding says."""


def in_trouble(voice: Voice, subject: str, exchange: Exchange, host: str) -> Iterator[Finding]:
    """Say why a request did not come to its end, if it did not."""
    if exchange.trouble is None:
        return
    facts = {"subject": subject, "host": host, "detail": exchange.detail, "url": exchange.url}
    if exchange.trouble is Trouble.BOUND:
        yield voice.note("bound", **facts)
    else:
        yield voice.fault(_TROUBLES[exchange.trouble], **facts, proxy=exchange.proxy)


def of_status(
    voice: Voice, subject: str, exchange: Exchange, *, is_item: bool, follows: bool
) -> Iterator[Finding]:
    """Say what is wrong with the status of a reply, if it is not 200."""
    status = exchange.status
    if status in {_OK, 0}:
        return
    facts = {"subject": subject, "status": status, "reason": exchange.reason, "url": exchange.url}
    if status in GONE:
        yield voice.fault("item-absent" if is_item else "absent", **facts)
    elif status == _PROXY_AUTHENTICATION:
        yield voice.fault("proxy-denied", **facts)
    elif status in _DENIED:
        yield voice.fault(
            "proxy-denied" if exchange.proxy and "Via" in dict(exchange.headers) else "denied", **facts
        )
    elif status == _PARTIAL:
        yield voice.fault("partial", **facts)
    elif status in _REDIRECTS and exchange.header("Location"):
        code = "redirect-loop" if follows else "redirected"
        yield voice.fault(code, **facts, place=exchange.header("Location"))
    else:
        yield voice.fault("failed", **facts)


def of_caches(voice: Voice, subject: str, exchange: Exchange) -> Iterator[Finding]:
    """Say what stands between here and the mirror, as far as it tells."""
    age = exchange.header("Age").strip()
    if age.isdigit() and int(age[:12]) > _OLD_CACHE_S:
        facts = {"subject": subject, "age": duration(int(age[:12])), "url": exchange.url}
        yield voice.warning("cache-old", **facts)
    for name in _SILENT_PROXY_FIELDS:
        if value := exchange.header(name):
            yield voice.note("cache-between", subject=subject, field=f"{name}: {value}", url=exchange.url)
            return


def is_page(exchange: Exchange) -> bool:
    """Whether it is a page for people."""
    start = exchange.body[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return start.startswith((b"<!doctype html", b"<html", b"<head", b"<script"))


def encodings(exchange: Exchange) -> list[str]:
    """Return what Content-Encoding says, without "identity"."""
    said = exchange.header("Content-Encoding").lower().split(",")
    return [one.strip() for one in said if one.strip() not in {"", "identity"}]


def looks_packed(data: bytes) -> bool:
    """Whether bytes begin as a compressed file does."""
    return data.startswith((_GZIP_MAGIC, _XZ_MAGIC, _ZSTD_MAGIC))


def unpacked(data: bytes, encoding: str, most: int) -> bytes:
    """Return what a body of that encoding holds, up to a byte more than `most`. Raises BadEncoding."""
    if encoding in {"gzip", "x-gzip"}:
        windows = [_GZIP_WINDOW]
    elif encoding == "deflate":
        windows = [_ZLIB_WINDOW, -_ZLIB_WINDOW]
    else:
        raise BadEncoding(f"{encoding} is unknown here")
    problem = ""
    for window in windows:
        unpacker, found = zlib.decompressobj(window), bytearray()
        try:
            for start in range(0, len(data), _BLOCK_BYTES):
                rest = data[start : start + _BLOCK_BYTES]
                while rest and len(found) <= most:
                    found += unpacker.decompress(rest, most + 1 - len(found))
                    rest = unpacker.unconsumed_tail
        except zlib.error as error:
            problem = str(error)
            continue
        if not unpacker.eof and len(found) <= most:
            raise BadEncoding("it does not end")
        return bytes(found)
    raise BadEncoding(problem)
