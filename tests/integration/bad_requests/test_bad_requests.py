"""Requests that nobody should send: a clear 4xx or a closed connection, and life goes on for all others."""

import asyncio
import random

import pytest
from support.bad_requests import FOREIGN_METHODS, HARMLESS, MALFORMED, PATHS_OF_NOTHING, assert_works, provoke
from support.origin import Origin
from support.running import MOUNT, RunningProxy
from support.tree import TreeItem
from support.wire import Wire, request

INDEX = f"{MOUNT}streams/v1/index.sjson"


async def test_only_get_and_head_are_methods_here(
    proxy: RunningProxy, quiet_origin: Origin, item: TreeItem
) -> None:
    """405 with the list of those that are, on any path, and the connection stays usable."""
    targets = ["/", "/-/stats", "/-/health", INDEX, MOUNT + item.path, MOUNT, "/elsewhere", "*"]
    async with Wire.to(proxy.base) as wire:
        for method in FOREIGN_METHODS:
            for target in targets:
                if target == "*" and method != "OPTIONS":
                    continue
                await wire.send(request(target, method, Content_Length="4") + b"body")
                reply = await wire.reply(method)
                assert (reply.status, reply.headers["Allow"]) == (405, "GET, HEAD"), (method, target)
        assert (await wire.ask(INDEX)).status == 200

    assert quiet_origin.requests == []


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.usefixtures("item")
async def test_paths_that_name_nothing_are_absent(
    proxy: RunningProxy, quiet_origin: Origin, method: str
) -> None:
    """404, whatever tricks they try, without a question to the origin, over one and the same connection."""
    async with Wire.to(proxy.base) as wire:
        for path in PATHS_OF_NOTHING:
            reply = await wire.ask(MOUNT + path, method)
            assert reply.status == 404, path[:80]
            assert b"root:" not in reply.body
        assert (await wire.ask(INDEX)).status == 200

    assert quiet_origin.requests == []


async def test_paths_beside_the_mounts_are_absent(proxy: RunningProxy, quiet_origin: Origin) -> None:
    """Also those that an old client glues together when its URL lacks the last slash."""
    beside = [MOUNT[:-1], f"{MOUNT[:-1]}streams/v1/index.sjson", f"{MOUNT[:-1]}streams/v1/index.json"]
    beside += ["/images", "/images/", "/images/test%2Fstreams/v1/index.sjson", "/Images/Test/x", "//", "/%"]
    beside += [
        "//evil.test/x",
        "/-/nothing",
        "/-/plots/nothing.svg",
        "/-/static/nothing",
        "/-",
        "/favicon.ico",
    ]
    beside += ["/..", "/../images/test/streams/v1/index.sjson", "//-/health", "/./-/stats", "/-//health"]
    beside += [f"{MOUNT}/", f"{MOUNT}.", f"{INDEX}/.", f"{INDEX}//", f"/x/..{INDEX}", f"//..{INDEX}"]

    async with Wire.to(proxy.base) as wire:
        replies = {path: (await wire.ask(path)).status for path in beside}

    assert replies == dict.fromkeys(beside, 404)
    assert quiet_origin.requests == []


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_paths_that_were_joined_carelessly_find_their_file(
    proxy: RunningProxy, quiet_origin: Origin, method: str
) -> None:
    """Old LXD appends `/streams/...` to a URL that ends with a slash."""
    careless = ["/streams/v1/index.sjson", "streams//v1/index.sjson", "streams/v1///index.sjson"]
    careless += ["./streams/v1/index.sjson", "streams/./v1/./index.sjson", ".//streams/v1/index.sjson"]
    targets = [MOUNT + path for path in careless]
    targets += [f"/{INDEX}", f"/.{INDEX}", f"//{INDEX}", INDEX.replace("/", "//"), f"{proxy.base}/{INDEX}"]
    async with Wire.to(proxy.base) as wire:
        replies = {target: (await wire.ask(target, method)).status for target in targets}

    assert replies == dict.fromkeys(targets, 200)
    assert quiet_origin.requests == []


async def test_malformed_requests_are_answered_with_4xx_or_hung_up_on(
    proxy: RunningProxy, quiet_origin: Origin, item: TreeItem
) -> None:
    for what, data in MALFORMED.items():
        status = await provoke(proxy.base, data)
        assert status == 0 or 400 <= status < 500, what
        status = await provoke(proxy.base, data + request(INDEX))
        assert status == 0 or 400 <= status < 500, f"{what}, and a good request after it"

    assert quiet_origin.requests == []
    await assert_works(proxy.base, item)


METHODS = ["GET", "HEAD", "POST", "CONNECT", "OPTIONS", "TRACE", "PRI", "FOO"]
LINES_OF_NOTHING = [
    *(f"{method} \r\n\r\n" for method in METHODS),
    *(f"CONNECT{end}" for end in (" \n\r\n", "  \r\n\r\n", " \r \r\n\r\n", "\r\n\r\n", " \n\n")),
    *(f"CONNECT {host} HTTP/1.1\r\nHost: a\r\n\r\n" for host in (":", ":443", "[", "a:99999")),
    "CONNECT \r\nHost: a\r\n\r\n",
    "CONNECT \r\nContent-Length: 5\r\n\r\n",
    "CONNECT \r\nUpgrade: websocket\r\n\r\n",
    *(
        f"PRI {target} HTTP/{version}\r\n\r\n"
        for target in ("*", "/", "http://a")
        for version in ("1.1", "2.0")
    ),
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "connect a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "GET http:// HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://a:b/ HTTP/1.1\r\nHost: a\r\n\r\n",
    f"{'A' * 300} / HTTP/1.1\r\nHost: a\r\n\r\n",
]


@pytest.mark.usefixtures("item")
@pytest.mark.parametrize("pieces", ["whole", "bytes", "after another"])
async def test_a_first_line_that_is_no_request_gets_a_400_with_a_reason_and_the_end(
    proxy: RunningProxy, quiet_origin: Origin, pieces: str
) -> None:
    """Not silence: some of these leave the parser waiting for ever."""

    async def told(line: str) -> bytes:
        data = line.encode()
        async with Wire.to(proxy.base) as wire:
            if pieces == "after another":
                assert (await wire.ask(INDEX)).status == 200
            for part in [data] if pieces != "bytes" else [data[at : at + 1] for at in range(len(data))]:
                await wire.send(part)
                await asyncio.sleep(0)
            try:
                async with asyncio.timeout(5):
                    return await wire.rest()
            except TimeoutError:
                return b"silence"

    replies = await asyncio.gather(*map(told, LINES_OF_NOTHING))
    vague = {
        line: reply
        for line, reply in zip(LINES_OF_NOTHING, replies, strict=True)
        if b" 400 " not in reply[:20] or len(reply.partition(b"answered: ")[2].strip()) <= 5
    }
    if pieces == "bytes":  # What is sent to a connection that has ended may cost its answer.
        vague = {line: reply for line, reply in vague.items() if reply}
    assert sorted(vague.items()) == []
    assert quiet_origin.requests == []


@pytest.mark.parametrize("target", ["/", "//", "/-/health", "*", "a", "a:80", INDEX, "http://a/"])
async def test_connect_to_anything_is_refused_with_the_methods_that_work(
    proxy: RunningProxy, target: str
) -> None:
    async with Wire.to(proxy.base) as wire:
        await wire.send(request(target, "CONNECT") + request(INDEX))
        status = (await wire.reply()).status
        assert await wire.rest() == b""
    assert status == (400 if target == "http://a/" else 405)


async def test_odd_requests_are_no_reason_to_fail(
    proxy: RunningProxy, quiet_origin: Origin, item: TreeItem
) -> None:
    for what, data in HARMLESS.items():
        assert await provoke(proxy.base, data) == 200, what
        assert await provoke(proxy.base, data.replace(b" / ", b" /-/health ", 1)) == 200, what

    assert quiet_origin.requests == []
    await assert_works(proxy.base, item)


async def test_headers_that_are_no_text_do_not_spoil_an_item(proxy: RunningProxy, item: TreeItem) -> None:
    head = HARMLESS["headers that are no text"].replace(b" / ", f" {MOUNT}{item.path} ".encode())

    async with Wire.to(proxy.base) as wire:
        await wire.send(head)
        reply = await wire.reply()

    assert (reply.status, reply.body) == (200, item.read())


async def test_noise_breaks_nothing(proxy: RunningProxy, quiet_origin: Origin, item: TreeItem) -> None:
    """Three hundred good requests with bytes changed, cut out, or doubled: never a 5xx."""
    chance = random.Random(11)
    good = request(f"{MOUNT}streams/v1/index.sjson", Accept="*/*", Range="bytes=0-99", Connection="close")

    def spoiled() -> bytes:
        data = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(data) - 4)
            spoil = chance.randrange(3)
            if spoil == 0:
                data[at] = chance.randrange(256)
            elif spoil == 1:
                del data[at : at + chance.randint(1, 8)]
            else:
                data[at:at] = data[at : at + chance.randint(1, 8)]
        return bytes(data)

    async def send(data: bytes) -> tuple[bytes, int]:
        # The end makes an answer certain: whatever came before, this is no request.
        return data, await provoke(proxy.base, data + b"\0\r\n\r\n\0\r\n\r\n")

    for _ in range(6):
        for data, status in await asyncio.gather(*(send(spoiled()) for _ in range(50))):
            assert status < 500, data

    assert quiet_origin.requests == []
    await assert_works(proxy.base, item)
