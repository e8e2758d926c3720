"""Requests that are none, and what shows that they did no harm."""

from support.running import MOUNT
from support.tree import TreeItem
from support.wire import Wire

KIB = 1024
PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
INDEX = f"{MOUNT}streams/v1/index.sjson"

FOREIGN_METHODS = [
    "POST",
    "PUT",
    "DELETE",
    "PATCH",
    "OPTIONS",
    "TRACE",
    "PROPFIND",
    "PURGE",
    "LOCK",
    "SEARCH",
]
PATHS_OF_NOTHING = [
    "",
    "/",
    ".",
    "..",
    "../",
    "../test/streams/v1/index.sjson",
    "../../../../../../etc/passwd",
    "streams/../streams/v1/index.sjson",
    "streams/v1/index.sjson/",
    "streams/v1/index.sjson/..",
    "%2e%2e/test/streams/v1/index.sjson",
    "%2E%2E/%2E%2E/etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%252e%252e/streams/v1/index.sjson",
    "%2Fstreams/v1/index.sjson",
    "streams\\v1\\index.sjson",
    "streams%5Cv1%5Cindex.sjson",
    "streams/v1/index.sjson%00",
    "streams/v1/index.sjson%00.json",
    "streams/v1/index.sjson%0a",
    "streams/v1/index.sjson%0D%0ASet-Cookie:%20a=b",
    "streams/v1/index.sjson%7f",
    "%",
    "%2",
    "%zz",
    "%u0041",
    "%ff",
    "%c0%ae%c0%ae/streams/v1/index.sjson",
    "%ed%a0%80",
    "streams/v1/index.sjson%20",
    "streams/v1/INDEX.SJSON",
    "streams/v1/index.sjson;v=1",
    "streams/v1/*",
    "a" * 3000,
    "a/" * 1500,
    "%41" * 1000,
    "../" * 2000,
]
MALFORMED = {
    "no request": b"garbage\r\n\r\n",
    "no target": b"GET\r\n\r\n",
    "an empty target": b"GET  HTTP/1.1\r\nHost: a\r\n\r\n",
    "a lower-case method": b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a method with a NUL": b"G\0T / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a method without end": b"A" * 20_000 + b" / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a NUL in the path": b"GET /images/test/\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a space in the path": b"GET /images/test/a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "a tab in the path": b"GET /images/test/a\tb HTTP/1.1\r\nHost: a\r\n\r\n",
    "bytes that are no ASCII": b"GET /images/test/\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
    "a relative target": b"GET streams/v1/index.sjson HTTP/1.1\r\nHost: a\r\n\r\n",
    "an overlong URL": b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "an endless URL": b"GET /" + b"a" * 300_000,
    "an overlong header": b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
    "an endless header": b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 300_000,
    "too many headers": b"GET / HTTP/1.1\r\nHost: a\r\n"
    + b"".join(b"X-%d: a\r\n" % n for n in range(2000))
    + b"\r\n",
    "headers without end": b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 50_000,
    "a header without colon": b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
    "a header without name": b"GET / HTTP/1.1\r\nHost: a\r\n: a\r\n\r\n",
    "a name with a space": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello",
    "a NUL in a name": b"GET / HTTP/1.1\r\nHost: a\r\nX\0Y: a\r\n\r\n",
    "a NUL in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
    "a folded header": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: a\n\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "a host that is no text": b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n",
    "a host that is no host": b"GET / HTTP/1.1\r\nHost: <a href='b'>\r\n\r\n",
    "an unknown version": b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
    "another protocol": b"GET / GOPHER/1.1\r\nHost: a\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 9,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 600,
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "a length that is none": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: five\r\n\r\n",
    "a negative length": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
    "a length beyond all bounds": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n",
    "two lengths": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunks": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an unknown transfer coding": b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
    "a broken chunk": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "an unknown expectation": b"GET / HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\n\r\n",
}
HARMLESS = {
    "an empty host": b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "headers that are no text": b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: \xff\r\nRange: \xff\r\n"
    b"If-None-Match: \xff\r\nIf-Range: \xff\r\nAccept-Encoding: \xff\r\nCookie: \xff\r\n\r\n",
    "a body": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "a body that is not the gzip it claims": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\n"
    b"Content-Length: 5\r\n\r\nhello",
    "an upgrade": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "an expectation": b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
    "an empty line in front": b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
}


async def assert_works(base: str, item: TreeItem) -> None:
    """Assert that a new client is served, lists and image."""
    async with Wire.to(base) as wire:
        assert (await wire.ask(INDEX)).status == 200
        assert (await wire.ask(MOUNT + item.path)).body == item.read()


async def provoke(base: str, data: bytes) -> int:
    """Send bytes on a new connection; return the status of the answer, 0 for a connection just closed."""
    async with Wire.to(base) as wire:
        await wire.send(data)
        try:
            return (await wire.reply()).status
        except EOFError:
            return 0
