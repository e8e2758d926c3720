"""Requests written so that two readers would see different ones: nobody gets what another one asked for.

A front proxy and this one must agree where each request ends. What is doubtful is refused once, and the
connection ends; what is clear is read as it stands, and the next request gets its own reply.
"""

import pytest
from support.origin import Origin
from support.running import MOUNT, RunningProxy
from support.tree import SignedTree, TreeItem
from support.wire import Wire, request

from proxy.web import SERVER_NAME

INNOCENT = f"{MOUNT}streams/v1/index.sjson"
MARKER = b"0\r\n\r\n"
HIDDEN = request("/-/health")
"""What an attacker wants to be taken for a request, or for none."""


def get(*headers: bytes, version: bytes = b"1.1") -> bytes:
    """Write the head of a GET of the item, with `%s` for its path."""
    return b"\r\n".join([b"GET %s HTTP/" + version, b"Host: a", *headers, b"", b""])


CHUNKED = b"Transfer-Encoding: chunked"
REFUSED = {
    "a length and chunks": get(b"Content-Length: 5", CHUNKED) + MARKER,
    "chunks and a length": get(CHUNKED, b"Content-Length: 5") + MARKER,
    "two lengths": get(b"Content-Length: 0", b"Content-Length: %d" % len(HIDDEN)),
    "twice the same length": get(b"Content-Length: 0", b"Content-Length: 0"),
    "a list of lengths": get(b"Content-Length: 0, 0"),
    "a length with a sign": get(b"Content-Length: +5") + b"hello",
    "a negative length": get(b"Content-Length: -5") + b"hello",
    "a hexadecimal length": get(b"Content-Length: 0x5") + b"hello",
    "a length with a grouping": get(b"Content-Length: 1_0") + b"hellohello",
    "a length beyond 64 bits": get(b"Content-Length: 99999999999999999999999"),
    "an empty length": get(b"Content-Length:"),
    "a space before the colon of a length": get(b"Content-Length : 5") + b"hello",
    "a NUL in the name of a length": get(b"Content-Length\0: 5") + b"hello",
    "an unknown coding": get(b"Transfer-Encoding: xchunked") + MARKER,
    "chunks that are not last": get(b"Transfer-Encoding: chunked, identity") + MARKER,
    "identity": get(b"Transfer-Encoding: identity") + MARKER,
    "chunks after a control character": get(b"Transfer-Encoding: \x0bchunked") + MARKER,
    "chunks twice": get(CHUNKED, CHUNKED) + MARKER,
    "chunks in a second header": get(b"Transfer-Encoding: identity", CHUNKED) + MARKER,
    "a space before the colon of chunks": get(b"Transfer-Encoding : chunked") + MARKER,
    "a length after a bare line feed": get(b"X: a\nContent-Length: 5") + b"hello",
    "chunks after a bare line feed": get(b"X: a\nTransfer-Encoding: chunked") + MARKER,
    "a length after a bare carriage return": get(b"X: a\rContent-Length: 5") + b"hello",
    "bare line feeds": b"GET %s HTTP/1.1\nHost: a\n\n",
    "a bare line feed at the end": b"GET %s HTTP/1.1\r\nHost: a\r\n\n",
    "a folded length": get(b"X: a", b" Content-Length: 5") + b"hello",
    "folded chunks": get(b"Transfer-Encoding:", b" chunked") + MARKER,
    "a folded first header": b"GET %s HTTP/1.1\r\n Host: a\r\n\r\n",
    "two hosts": get(b"Host: b"),
    "an unknown version": get(version=b"1.2"),
    "a broken extension of a chunk": get(CHUNKED) + b"5;a\nhello\r\n" + MARKER,
    "a negative chunk": get(CHUNKED) + b"-1\r\nhello\r\n" + MARKER,
    "a chunk with a prefix": get(CHUNKED) + b"0x5\r\nhello\r\n" + MARKER,
    "a chunk beyond 64 bits": get(CHUNKED) + b"f" * 18 + b"\r\nhello\r\n" + MARKER,
    "chunks with bare line feeds": get(CHUNKED) + b"5\nhello\n0\n\n",
    "a chunk longer than it says": get(CHUNKED) + b"5\r\nhelloXX\r\n" + MARKER,
    "a length after the chunks": get(CHUNKED) + b"0\r\nContent-Length: 5\r\n\r\n",
    "two markers, of which one at most is stray": MARKER * 2,
    "a marker with an extension": b"0;a\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}
WITH_A_BODY = {
    "a request in a body": get(b"Content-Length: %d" % len(HIDDEN)) + HIDDEN,
    "a request in chunks": get(CHUNKED) + b"%x\r\n" % len(HIDDEN) + HIDDEN + b"\r\n" + MARKER,
    "a request in a refused body": get(b"Content-Length: %d" % len(HIDDEN)).replace(b"GET", b"POST") + HIDDEN,
    "a marker in a body": get(b"Content-Length: 5") + MARKER,
    "the last chunk, no stray marker": get(CHUNKED) + MARKER,
    "extensions of chunks": get(CHUNKED) + b"5;a=b;c\r\nhello\r\n0;d\r\n\r\n",
    "a long extension of a chunk": get(CHUNKED) + b"5;" + b"a" * 70_000 + b"\r\nhello\r\n" + MARKER,
    "chunks by another name": get(b"tRANSFER-eNCODING: CHUNKED") + MARKER,
    "a length between blanks": get(b"Content-Length: \t5 \t") + b"hello",
    "a trailer": get(CHUNKED) + b"0\r\nX: GET / HTTP/1.1\r\n\r\n",
}
LAST = {
    "an upgrade": get(b"Connection: Upgrade", b"Upgrade: h2c"),
    "an upgrade that nobody knows": get(b"Connection: Upgrade", b"Upgrade: GET / HTTP/1.1"),
    "chunks before they were invented": get(b"Connection: keep-alive", CHUNKED, version=b"1.0") + MARKER,
}


@pytest.fixture
async def item(proxy: RunningProxy, origin: Origin, tree: SignedTree) -> TreeItem:
    """Publish an image, which the proxy holds; so its replies are hot once they were asked for."""
    item = tree.add_item("product", "20250718", "boot-kernel")
    tree.publish()
    assert (await proxy.read(item.path)).status == 200
    await origin.idle()
    return item


async def refused(proxy: RunningProxy) -> int:
    """Return how many malformed requests were counted."""
    stats = await (await proxy.session.get(proxy.url("/-/stats"))).json()
    return int(stats["limits"]["malformed_requests"])


async def heat(wire: Wire) -> bytes:
    """Have the reply to the innocent request ready in memory; return its body."""
    bodies = {(await wire.ask(INNOCENT)).body for _ in range(4)}
    assert len(bodies) == 1
    return bodies.pop()


@pytest.mark.parametrize("is_hot", [True, False], ids=["hot", "cold"])
@pytest.mark.parametrize("after_marker", [True, False], ids=["after a stray marker", "plain"])
async def test_what_is_doubtful_is_refused_once_and_ends_the_connection(
    proxy: RunningProxy, item: TreeItem, is_hot: bool, after_marker: bool
) -> None:
    """In one write with what follows it: 400 in our words, and nothing after it."""
    before = await refused(proxy)
    for what, template in REFUSED.items():
        doubtful = template.replace(b"%s", f"{MOUNT}{item.path}".encode())
        async with Wire.to(proxy.base) as wire:
            if is_hot:
                await heat(wire)
            if after_marker:
                await wire.ask(MOUNT + item.path)
                await wire.send(MARKER)
            await wire.send(doubtful + HIDDEN + request(INNOCENT))
            reply = await wire.reply()
            assert reply.status == 400, what
            assert reply.headers["Server"] == SERVER_NAME
            assert reply.headers["Content-Type"].startswith("text/plain")
            assert reply.headers["Connection"] == "close"
            assert reply.body.startswith(b"this is no request that can be answered: "), what
            assert reply.body.isascii()
            assert await wire.rest() == b"", what
    assert await refused(proxy) == before + len(REFUSED)


@pytest.mark.parametrize("split", [False, True], ids=["in one piece", "head and body apart"])
async def test_a_body_is_never_read_as_a_request(proxy: RunningProxy, item: TreeItem, split: bool) -> None:
    """The next request on the connection gets its own reply: the index, not the item, not the hidden one."""
    for what, template in WITH_A_BODY.items():
        message = template.replace(b"%s", f"{MOUNT}{item.path}".encode())
        async with Wire.to(proxy.base) as wire:
            index = await heat(wire)
            end = message.index(b"\r\n\r\n") + 4
            if split:
                await wire.send(message[:end])
                await wire.send(message[end:] + request(INNOCENT))
            else:
                await wire.send(message + request(INNOCENT))
            first = await wire.reply()
            assert (first.status, first.body == item.read()) in {(200, True), (405, False)}, what
            assert (await wire.reply()).body == index, what
            assert (await wire.ask(MOUNT + item.path)).body == item.read(), what


async def test_nothing_is_read_after_a_request_that_may_change_the_language(
    proxy: RunningProxy, item: TreeItem
) -> None:
    """It is answered, and the connection ends, so that no reply can be taken for another's."""
    for what, template in LAST.items():
        message = template.replace(b"%s", f"{MOUNT}{item.path}".encode())
        for tail in (b"", HIDDEN + request(INNOCENT)):
            async with Wire.to(proxy.base) as wire:
                await heat(wire)
                await wire.send(message + tail)
                reply = await wire.reply()
                assert (reply.status, reply.body) == (200, item.read()), what
                assert reply.headers["Connection"] == "close", what
                assert await wire.rest() == b"", what


async def test_a_body_that_never_comes_ends_the_connection(proxy: RunningProxy, item: TreeItem) -> None:
    """The reply comes at once; what is sent instead of the body is no request."""
    head = request(MOUNT + item.path, Content_Length="9223372036854775807")
    async with Wire.to(proxy.base) as wire:
        await wire.send(head)
        assert (await wire.reply()).body == item.read()
        await wire.send(HIDDEN * 3)
        assert await wire.rest() == b""


async def test_a_line_that_is_too_long_is_told_as_such(proxy: RunningProxy, item: TreeItem) -> None:
    for data in (
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        request(MOUNT + item.path, Cookie="a" * 9000),
    ):
        async with Wire.to(proxy.base) as wire:
            await wire.send(data)
            reply = await wire.reply()
            assert (reply.status, reply.headers["Server"]) == (431, SERVER_NAME)
            assert reply.body.endswith(b"is longer than 8190 bytes\n")
            assert await wire.rest() == b""


async def test_every_reply_names_this_server(proxy: RunningProxy, item: TreeItem) -> None:
    """Also those that the HTTP library makes up by itself."""
    async with Wire.to(proxy.base) as wire:
        replies = [
            await wire.ask(MOUNT + item.path, Expect="miracles"),
            await wire.ask("/-/nothing"),
            await wire.ask("/-/static/nothing"),
            await wire.ask("/-/api/v1/pin", "POST", Content_Length="0"),
            await wire.ask("/-/", "DELETE"),
        ]
    assert [reply.status for reply in replies] == [417, 404, 404, 403, 405]
    assert {reply.headers["Server"] for reply in replies} == {SERVER_NAME}
