"""Host, as RFC 9112 section 3.2 wants it: what names no host is refused, what any client may write is not."""

import pytest
from support.ready_replies import Slow, warm
from support.running import MOUNT, RunningProxy
from support.wire import Wire

INDEX = f"{MOUNT}streams/v1/index.sjson"
TARGETS = [INDEX, f"http://mirror.test{INDEX}", "/-/health"]
NO_HOSTS = [
    b"a b",
    b"a\tb",
    b"a\x01b",
    b"a\x7fb",
    b"a/b",
    b"a?b",
    b"a#b",
    b"a\\b",
    b"a@b",
    b"user:secret@a",
    b"http://a",
    b"<a>",
    b'"a"',
    b"a%zz",
    b"a%2",
    b"a:b",
    b"a:-1",
    b"a:80:80",
    b"a:\xd9\xa3",
    b"::1",
    b"[::1",
    b"::1]",
    b"[::1]x",
    b"[::1]:x",
    b"[]",
    b"[a]",
    b"[127.0.0.1]",
    b"[::1::]",
    b"[[::1]]",
    b"[::1%a b]",
    b"[::1%<a>]",
    b"[fe80::1%]",
    b"[127.0.0.1%eth0]",
    b"[v1]",
    b"[v1.a%b]",
    b"\xff",
    b"a\xc2\xa0b",
    b"a\xc2\x85b",
]
HOSTS = [
    b"",
    b":8080",
    b"a",
    b"A.Test",
    b"a.test.",
    b"a_b.test",
    b"-a-.test",
    b"a.test:",
    b"a.test:080",
    b"a.test:99999",
    b"127.0.0.1:8080",
    b"[::1]",
    b"[2001:DB8::1]:8080",
    b"[::ffff:192.0.2.1]",
    b"[fe80::1%eth0]:8080",
    b"[fe80::1%25eth0]",
    b"[v1.a:b]",
    b"a%20b",
    b"a!$&'()*+,;=~b",
    "b\u00fccher.test".encode(),
    "\u0928\u092e\u0938\u094d\u0924\u0947.test:80".encode(),
]


def head(target: str, host: bytes, version: str = "1.1") -> bytes:
    return f"GET {target} HTTP/{version}\r\nHost: ".encode() + host + b"\r\nConnection: keep-alive\r\n\r\n"


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.usefixtures("item")
async def test_what_names_no_host_is_refused(proxy: RunningProxy, version: str) -> None:
    for host in NO_HOSTS:
        for target in TARGETS:
            async with Wire.to(proxy.base) as wire:
                await wire.send(head(target, host, version))
                reply = await wire.reply()
                assert reply.status == 400, (host, target)
                assert reply.headers["Connection"] == "close"
                assert await wire.rest() == b""


@pytest.mark.usefixtures("item")
async def test_a_refusal_says_why(proxy: RunningProxy) -> None:
    async with Wire.to(proxy.base) as wire:
        await wire.send(head(INDEX, b"a b"))
        reply = await wire.reply()
    assert reply.body == b"this is no request that can be answered: its Host header names no host\n"


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.usefixtures("item")
async def test_what_a_client_may_write_is_answered(proxy: RunningProxy, version: str) -> None:
    async with Wire.to(proxy.base) as wire:
        for host in HOSTS:
            for target in TARGETS:
                await wire.send(head(target, host, version))
                assert (await wire.reply()).status == 200, (host, target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.usefixtures("item")
async def test_one_host_is_needed_since_http_1_1(proxy: RunningProxy, target: str) -> None:
    statuses = []
    for version, lines in (("1.0", ""), ("1.1", ""), ("1.0", "Host: a\r\n" * 2), ("1.1", "Host: a\r\n" * 2)):
        async with Wire.to(proxy.base) as wire:
            await wire.send(f"GET {target} HTTP/{version}\r\n{lines}\r\n".encode())
            statuses.append((await wire.reply()).status)
    assert statuses == [200, 400, 400, 400]


@pytest.mark.usefixtures("item")
async def test_no_ready_reply_goes_to_what_names_no_host(proxy: RunningProxy) -> None:
    """Nor does it after good requests on the same connection, or in one piece with them."""
    async with Wire.to(proxy.base) as wire:
        await warm(wire, head(INDEX, b"a"))
        slow = Slow(proxy)
        await wire.send(head(INDEX, b"a"))
        assert (await wire.reply()).status == 200
        assert slow.times == 0
        await wire.send(head(INDEX, b"a b"))
        assert (await wire.reply()).status == 400
    for _ in range(5):
        async with Wire.to(proxy.base) as wire:
            await wire.send(head(INDEX, b"a") + head(INDEX, b"a b"))
            assert [(await wire.reply()).status for _ in range(2)] == [200, 400]
