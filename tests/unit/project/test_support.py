"""The origin of the tests: it serves as Apache does, and misbehaves on demand."""

import asyncio
import gc
import gzip
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
import trustme
from support.origin import Fault, Origin
from support.tree import random_blocks
from yarl import URL

DATA = b"".join(random_blocks("data", 3_000_000))
BROKEN = (aiohttp.ClientError, ConnectionError)


@pytest.fixture
async def origin(tmp_path: Path) -> AsyncIterator[Origin]:
    """Serve a small file and a larger one."""
    (tmp_path / "a:b.json").write_bytes(b"{}\n")
    (tmp_path / "big").write_bytes(DATA)
    async with Origin(tmp_path) as served:
        yield served


@pytest.fixture
async def client(origin: Origin) -> AsyncIterator[aiohttp.ClientSession]:
    """Take relative URLs as the origin's."""
    async with aiohttp.ClientSession(origin.url, auto_decompress=False) as session:
        yield session


async def read_until_broken(client: aiohttp.ClientSession, path: str) -> bytes:
    """Read an answer that breaks off; what came before is the result."""
    read = bytearray()
    async with client.get(path) as answer:
        with pytest.raises(BROKEN):
            await drain(answer, read)
    return bytes(read)


async def drain(answer: aiohttp.ClientResponse, into: bytearray) -> None:
    """Read an answer to its end."""
    async for block in answer.content.iter_any():
        into += block


async def test_origin_serves_as_apache_does(origin: Origin, client: aiohttp.ClientSession) -> None:
    """Validators, conditions, HEAD, escapes and 404 are as Apache's, and GETs are counted."""
    async with client.get(URL(f"{origin.url}a%3Ab.json?x=1", encoded=True)) as answer:
        assert (answer.status, await answer.read()) == (200, b"{}\n")
        etag, modified = answer.headers["ETag"], answer.headers["Last-Modified"]
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert answer.headers["Content-Type"] == "application/json"
    for condition in ({"If-None-Match": f'"x", W/{etag}'}, {"If-Modified-Since": modified}):
        async with client.get("/a:b.json", headers=condition) as answer:
            assert (answer.status, answer.headers["ETag"]) == (304, etag)
    async with client.head("/big") as answer:
        assert answer.headers["Content-Length"] == "3000000"
    for missing in ("/none", "/", "/%2e%2e/etc/passwd", f"{origin.url}/big"):
        async with client.get(missing) as answer:
            assert answer.status == 404
    assert origin.count("a:b.json") == 3
    assert origin.count("big") == 0
    assert origin.requests[0].target == "/a%3Ab.json?x=1"
    assert (origin.requests[0].status, origin.requests[0].sent_bytes) == (200, 3)
    origin.clear()
    assert origin.count("*") == 0


@pytest.mark.parametrize(
    ("asked", "status", "first", "last"),
    [
        ("bytes=10-19", 206, 10, 19),
        ("bytes=2999990-", 206, 2999990, 2999999),
        ("bytes=-5", 206, 2999995, 2999999),
        ("bytes=0-9999999", 206, 0, 2999999),
        ("bytes=3000000-", 416, 0, 0),
        ("bytes=5-2", 200, 0, 2999999),
        ("bytes=0-1,5-6", 200, 0, 2999999),
        ("lines=1-2", 200, 0, 2999999),
    ],
)
async def test_origin_answers_ranges(
    client: aiohttp.ClientSession, asked: str, status: int, first: int, last: int
) -> None:
    """One range is answered in part, several or malformed ones in full."""
    async with client.get("/big", headers={"Range": asked}) as answer:
        assert answer.status == status
        if status == 416:
            assert answer.headers["Content-Range"] == "bytes */3000000"
            return
        assert await answer.read() == DATA[first : last + 1]
        if status == 206:
            assert answer.headers["Content-Range"] == f"bytes {first}-{last}/3000000"


async def test_if_range_decides_between_part_and_whole(client: aiohttp.ClientSession) -> None:
    """A range is honoured only while If-Range names the file's version."""
    async with client.head("/big") as answer:
        etag = answer.headers["ETag"]
    for if_range, status in ((etag, 206), ('"other"', 200)):
        async with client.get("/big", headers={"Range": "bytes=5-", "If-Range": if_range}) as answer:
            assert answer.status == status


@pytest.mark.parametrize("after", [0, 1, 1_500_000, 3_000_000])
async def test_cut_delivers_exactly_so_much_then_resets(origin: Origin, after: int) -> None:
    """Everything before the mark arrives, then the reset."""
    handle = origin.fault("big", Fault(cut_after=after))
    reader, writer = await asyncio.open_connection("127.0.0.1", origin.port, limit=1 << 16)
    writer.write(b"GET /big HTTP/1.1\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(after) == DATA[:after]
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1)
    writer.close()
    with pytest.raises(ConnectionResetError):
        await writer.wait_closed()
    assert handle.reached.is_set()
    assert origin.requests[0].sent_bytes == after


async def test_close_breaks_a_promise_cleanly(origin: Origin, client: aiohttp.ClientSession) -> None:
    """A body ends early with and without Content-Length, once for times=1."""
    origin.fault("big", Fault(close_after=1000), times=1)
    assert await read_until_broken(client, "/big") == DATA[:1000]
    origin.fault("big", Fault(close_after=1000, chunked=True), times=1)
    assert await read_until_broken(client, "/big") == DATA[:1000]
    async with client.get("/big") as answer:
        assert await answer.read() == DATA


async def test_stall_lasts_until_it_is_removed(origin: Origin, client: aiohttp.ClientSession) -> None:
    """A stalled body goes on when the fault is removed."""
    handle = origin.fault("big", Fault(stall_after=2_000_000))
    async with client.get("/big") as answer:
        assert await answer.content.readexactly(2_000_000) == DATA[:2_000_000]
        await handle.reached.wait()
        assert origin.requests[0].sent_bytes == 2_000_000
        handle.remove()
        assert await answer.read() == DATA[2_000_000:]


async def test_origin_stops_at_once_in_any_trouble(tmp_path: Path) -> None:
    """Stalled, slow, unread and gated answers do not hold up the end."""
    (tmp_path / "big").write_bytes(b"x" * 20_000_000)
    origin = Origin(tmp_path)
    await origin.start()
    stalled = origin.fault("big", Fault(stall_after=0), times=1)
    origin.fault("big", Fault(latency_s=3600), times=1)
    origin.fault("big", Fault(rate_bytes_s=0.001), times=1)
    gate = origin.gate("other")
    async with aiohttp.ClientSession(origin.url) as client:
        asked = []
        for n, path in enumerate(["big", "big", "big", "big", "other"]):
            asked.append(asyncio.create_task(client.get(path)))
            await origin.arrived("*", n + 1)
        await stalled.reached.wait()
        await gate.waiting(1)
        started_s = time.monotonic()
        await origin.stop()
        assert time.monotonic() - started_s < 20
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert sum(isinstance(answer, BROKEN) for answer in answers) >= 2
        assert len(asyncio.all_tasks()) == 1
        for answer in answers:
            if isinstance(answer, aiohttp.ClientResponse):
                answer.close()


async def test_origin_that_stops_while_it_opens_a_file_leaves_none_open(tmp_path: Path) -> None:
    """A file that a thread is about to open is closed, though nobody waits for it any more."""
    (tmp_path / "big").write_bytes(DATA)
    origin = Origin(tmp_path)
    for _ in range(20):
        await origin.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", origin.port)
        writer.write(b"GET /big HTTP/1.1\r\n\r\n")
        await origin.arrived("big")
        await origin.stop()
        origin.clear()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
            await reader.read()
    gc.collect()  # Warns of a file left open, which fails the test.


async def test_stop_and_start_keep_the_port(origin: Origin, client: aiohttp.ClientSession) -> None:
    """The origin can be down for a while."""
    async with client.get("/big") as answer:
        await answer.read()
    url = origin.url
    await origin.stop()
    with pytest.raises(aiohttp.ClientConnectorError):
        await client.get("/big")
    await origin.start()
    assert origin.url == url
    async with client.get("/big") as answer:
        assert answer.status == 200


async def test_gate_holds_requests_until_opened(origin: Origin, client: aiohttp.ClientSession) -> None:
    """Requests gather at a gate; others pass by."""
    gate = origin.gate("*.json")
    waiting = [asyncio.create_task(client.get("/a:b.json")) for _ in range(3)]
    await gate.waiting(3)
    async with client.get("/big") as answer:
        assert answer.status == 200
    assert not any(task.done() for task in waiting)
    gate.open()
    for task in waiting:
        async with await task as answer:
            assert answer.status == 200
    assert gate.count == 0


async def test_gate_notices_a_client_that_leaves(origin: Origin, client: aiohttp.ClientSession) -> None:
    """A client that gives up no longer waits at the gate."""
    gate = origin.gate("big")
    task = asyncio.create_task(client.get("/big"))
    await gate.waiting(1)
    task.cancel()
    await origin.idle()
    assert gate.count == 0
    assert origin.requests[0].status == 0


async def test_limited_faults_come_in_order_then_the_newest_other(
    origin: Origin, client: aiohttp.ClientSession
) -> None:
    """Which fault applies is a matter of order alone."""
    origin.fault("*", Fault(status=500))
    origin.fault("b*", Fault(status=503, headers={"Retry-After": "7"}))
    # Twice, since aiohttp asks again by itself when a connection closes without an answer.
    origin.fault("big", Fault(refuse=True), times=2)
    origin.fault("big", Fault(redirect_to="http://127.0.0.1:1/x"), times=1)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await client.get("/big")
    seen = []
    for _ in range(3):
        async with client.get("/big", allow_redirects=False) as answer:
            seen.append((answer.status, answer.headers.get("Location"), answer.headers.get("Retry-After")))
    assert seen == [(302, "http://127.0.0.1:1/x", None), (503, None, "7"), (503, None, "7")]
    origin.heal()
    async with client.get("/big") as answer:
        assert answer.status == 200


FLIPPED = DATA[:2] + bytes([DATA[2] ^ 0xFF]) + DATA[3:]


@pytest.mark.parametrize(
    ("fault", "asked", "status", "body", "headers"),
    [
        (Fault(corrupt_at=2), None, 200, FLIPPED, {}),
        (Fault(corrupt_at=2), "bytes=1-3", 206, FLIPPED[1:4], {}),
        (Fault(truncate_to=5), None, 200, DATA[:5], {"Content-Length": "5"}),
        (Fault(body=b"<login>"), "bytes=1-", 200, b"<login>", {"Content-Length": "7"}),
        (Fault(chunked=True), None, 200, DATA, {"Content-Length": None, "Transfer-Encoding": "chunked"}),
        (Fault(ignore_range=True), "bytes=1-", 200, DATA, {"Content-Range": None}),
        (Fault(wrong_range=True), "bytes=7-9", 206, DATA[:10], {"Content-Range": "bytes 0-9/3000000"}),
        (Fault(no_etag=True), None, 200, DATA, {"ETag": None, "Last-Modified": None}),
        (Fault(content_encoding="gzip"), None, 200, DATA, {"Content-Encoding": "gzip"}),
        (Fault(latency_s=0.01), None, 200, DATA, {}),
        (Fault(status=599), None, 599, None, {}),
    ],
)
async def test_faults_in_what_is_answered(
    origin: Origin,
    client: aiohttp.ClientSession,
    fault: Fault,
    asked: str | None,
    status: int,
    body: bytes | None,
    headers: dict[str, str | None],
) -> None:
    """Each fault shows in status, headers or body."""
    handle = origin.fault("big", fault)
    async with client.get("/big", headers={"Range": asked} if asked else {}) as answer:
        assert answer.status == status
        assert {name: answer.headers.get(name) for name in headers} == headers
        assert body is None or await answer.read() == body
    assert handle.hits == 1
    assert handle.reached.is_set()


async def test_gzip_fault_really_compresses(origin: Origin, client: aiohttp.ClientSession) -> None:
    """Encoded bytes come under an ETag of their own."""
    origin.fault("big", Fault(gzip=True))
    async with client.get("/big") as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.headers["ETag"].endswith('-gzip"')
        assert gzip.decompress(await answer.read()) == DATA


async def test_rate_is_kept(origin: Origin, client: aiohttp.ClientSession) -> None:
    """3 MB at 10 MB/s take 0.3 s."""
    origin.fault("big", Fault(rate_bytes_s=10_000_000))
    started_s = time.monotonic()
    async with client.get("/big") as answer:
        assert await answer.read() == DATA
    assert 0.2 < time.monotonic() - started_s < 3


async def test_stray_bytes_between_requests_are_seen(origin: Origin) -> None:
    """What MAAS 3.5 sends after a GET must never reach an origin, so it is recorded."""
    reader, writer = await asyncio.open_connection("127.0.0.1", origin.port)
    writer.write(b"0\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    writer.close()
    await writer.wait_closed()
    assert origin.requests[0].method == "malformed: 0"


async def test_origin_speaks_tls(tmp_path: Path) -> None:
    """With a certificate it is an https origin, faults included."""
    (tmp_path / "big").write_bytes(DATA)
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    connector = aiohttp.TCPConnector(ssl=trusting)
    async with (
        Origin(tmp_path, tls=context) as origin,
        aiohttp.ClientSession(origin.url, connector=connector) as client,
    ):
        assert origin.url.startswith("https://")
        async with client.get("/big") as answer:
            assert await answer.read() == DATA
        origin.fault("big", Fault(cut_after=1000))
        assert await read_until_broken(client, "/big") == DATA[:1000]
