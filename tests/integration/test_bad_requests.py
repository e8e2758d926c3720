"""Requests that nobody should send: a clear 4xx or a closed connection, and life goes on for all others."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from support.faults import Fault
from support.origin import Origin
from support.running import MOUNT, RunningProxy, Service
from support.serving import run_service, write_config
from support.tree import SignedTree, TreeItem
from support.wire import Wire, request

from proxy.mirror import Mirror

KIB = 1024
PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
INDEX = f"{MOUNT}streams/v1/index.sjson"
PRODUCTS = f"{MOUNT}streams/v1/com.ubuntu.maas:stable:v3:download.sjson"

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
    "a host that is no text": b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n",
    "a host that is no host": b"GET / HTTP/1.1\r\nHost: <a href='b'>\r\n\r\n",
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


@pytest.fixture
def item(tree: SignedTree) -> TreeItem:
    """Publish one image, which so many products share that the index is longer than a kilobyte."""
    item = tree.add_item(PRODUCT, "20250718", "squashfs", size=4 * KIB * KIB)
    for n in range(40):
        tree.add_item(f"{PRODUCT}-{n}", "20250718", "squashfs", path=item.path)
    tree.publish()
    return item


@pytest.fixture
async def quiet_origin(proxy: RunningProxy, origin: Origin, item: TreeItem) -> Origin:
    """Return the origin, from which the proxy has all lists and needs nothing more."""
    assert (await proxy.read(item.path, "HEAD")).status == 200
    await origin.idle()
    origin.clear()
    return origin


@pytest.fixture
async def service(tmp_path: Path, mirror: Mirror) -> AsyncIterator[Service]:
    """Return the real service, which closes connections after a second without a request."""
    settings = '[clients]\nkeepalive_timeout = "1s"'
    async with run_service(write_config(tmp_path, mirror, settings=settings)) as service:
        yield service


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


async def abandon(base: str, target: str) -> None:
    """Ask for something longer than a kilobyte, read that much, and hang up."""
    async with Wire.to(base) as wire:
        await wire.send(request(target))
        await wire.reader.readexactly(KIB)


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


async def test_http_1_0_clients_get_the_whole_and_then_the_end(proxy: RunningProxy, item: TreeItem) -> None:
    """Without Host, without chunks, and without waiting for a next request."""
    for head in (b"GET %s HTTP/1.0\r\n\r\n", b"GET %s HTTP/1.0\r\nHost: a\r\nConnection: close\r\n\r\n"):
        async with Wire.to(proxy.base) as wire:
            await wire.send(head % (MOUNT + item.path).encode())
            reply = await wire.reply()

            assert (reply.status, reply.body) == (200, item.read())
            assert "Transfer-Encoding" not in reply.headers
            assert await wire.rest() == b""


@pytest.mark.usefixtures("item")
async def test_http_1_0_clients_may_keep_the_connection(proxy: RunningProxy) -> None:
    async with Wire.to(proxy.base) as wire:
        for _ in range(3):
            reply = await wire.ask(INDEX, version="1.0", Connection="keep-alive")
            assert reply.status == 200
            assert reply.headers["Connection"].lower() == "keep-alive"


async def test_pipelined_requests_are_answered_in_order(proxy: RunningProxy, item: TreeItem) -> None:
    """Two hundred in one write: files, parts, absent ones, refused ones."""
    round_ = [
        (request(INDEX), 200),
        (request(MOUNT + item.path, Range="bytes=5-9"), 206),
        (request(f"{MOUNT}nothing"), 404),
        (request(MOUNT + item.path, If_None_Match="*"), 304),
        (request(MOUNT + item.path, Range=f"bytes={item.size}-"), 416),
    ]
    async with Wire.to(proxy.base) as wire:
        await wire.send(b"".join(head for head, _ in round_) * 40)
        statuses = [(await wire.reply()).status for _ in range(200)]

    assert statuses == [status for _, status in round_] * 40


async def test_half_requests_do_no_harm(
    proxy: RunningProxy, quiet_origin: Origin, item: TreeItem, caplog: pytest.LogCaptureFixture
) -> None:
    """Cut off at every byte of the head: no answer, no trace in the log."""
    caplog.set_level(logging.WARNING)
    head = request(MOUNT + item.path, Accept="*/*")
    for end in range(len(head)):
        async with Wire.to(proxy.base) as wire:
            await wire.send(head[:end])

    assert quiet_origin.requests == []
    assert caplog.records == []
    await assert_works(proxy.base, item)


async def test_connections_without_a_whole_request_are_closed_in_time(service: Service) -> None:
    """After the configured second here; nobody can hold connections by saying little or nothing."""

    async def wait_after(begun: bytes) -> bytes:
        async with Wire.to(service.base) as wire:
            await wire.send(begun)
            return await wire.rest()

    head = request("/-/health")
    beginnings = [b"", b"G", head[:-1], head.removesuffix(b"\r\n"), b"\r\n\r\n\r\n", head]
    *silences, answer = await asyncio.gather(*map(wait_after, beginnings))

    assert silences == [b""] * 5
    assert answer.endswith(b"ok\n")


@pytest.mark.parametrize("is_cold", [True, False], ids=["cold", "warm"])
async def test_replies_abandoned_after_a_kilobyte_do_no_harm(
    proxy: RunningProxy,
    origin: Origin,
    item: TreeItem,
    caplog: pytest.LogCaptureFixture,
    is_cold: bool,
) -> None:
    """MAAS up to 3.7 does so with the index. The item is fetched once, to its end, for nobody."""
    caplog.set_level(logging.WARNING)
    if not is_cold:
        await proxy.read(item.path)

    targets = [MOUNT + item.path, INDEX, PRODUCTS] * 20
    await asyncio.gather(*(abandon(proxy.base, target) for target in targets))
    await proxy.fills_ended()

    assert caplog.records == []
    assert (await proxy.read(item.path)).cache_status == "hit"
    assert origin.count(item.path) == 1
    await assert_works(proxy.base, item)


async def test_clients_that_leave_while_the_origin_is_silent_do_no_harm(
    proxy: RunningProxy, origin: Origin, item: TreeItem, caplog: pytest.LogCaptureFixture
) -> None:
    """Some before the first byte of the reply, some within it; the download goes on without them."""
    caplog.set_level(logging.WARNING)
    await proxy.read("streams/v1/index.sjson")
    gate = origin.gate(item.path)
    stall = origin.fault(item.path, Fault(stall_after=2 * KIB * KIB), times=1)
    async with AsyncExitStack() as early:
        for _ in range(10):
            wire = await early.enter_async_context(Wire.to(proxy.base))
            await wire.send(request(MOUNT + item.path))
        await gate.waiting(1)
    gate.open()
    async with AsyncExitStack() as late:
        for _ in range(10):
            wire = await late.enter_async_context(Wire.to(proxy.base))
            await wire.send(request(MOUNT + item.path))
            await wire.reader.readexactly(KIB)
        await stall.reached.wait()
    stall.remove()
    await proxy.fills_ended()

    assert caplog.records == []
    assert (await proxy.read(item.path)).body == item.read()
    assert origin.count(item.path) == 1


async def test_none_of_this_fills_the_log(service: Service, origin: Origin, item: TreeItem) -> None:
    """The real service, with its real log: no warning, no error, no traceback, and no 5xx."""
    await assert_works(service.base, item)
    await origin.idle()
    origin.clear()
    provocations = [request(MOUNT + path) for path in PATHS_OF_NOTHING]
    provocations += [request(INDEX, method) for method in FOREIGN_METHODS]
    provocations += [*MALFORMED.values(), *HARMLESS.values()]

    statuses = [await provoke(service.base, data) for data in provocations]
    for end in range(0, 40, 3):
        async with Wire.to(service.base) as wire:
            await wire.send(request(INDEX)[:end])
    await asyncio.gather(*(abandon(service.base, MOUNT + item.path) for _ in range(20)))

    assert [status for status in statuses if status >= 500] == []
    await assert_works(service.base, item)
    assert [line for line in service.log().splitlines() if " INFO " not in line] == []
    assert origin.requests == []
