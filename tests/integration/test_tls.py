"""HTTPS towards clients: LXD and Incus speak nothing else, and ask by plain http first all the same."""

import asyncio
import contextlib
import logging
import socket
import ssl
import time
import warnings
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from support.certificates import Certificate, identified, make_certificate
from support.faults import Fault
from support.origin import Origin
from support.running import RunningProxy, Service, make_config, run_proxy
from support.serving import run_service, write_config
from support.tree import SignedTree, TreeItem
from support.wire import Wire, request

from proxy.config.tls import Tls, tls_context
from proxy.mirror import Mirror

MIB = 1024 * 1024
PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
INDEX = "streams/v1/index.sjson"
GENEROUS_S = 8.0


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    """Return a certificate for loopback."""
    return make_certificate(tmp_path)


@pytest.fixture
async def proxy(tmp_path: Path, mirror: Mirror, certificate: Certificate) -> AsyncIterator[RunningProxy]:
    """Return a proxy in this event loop that speaks TLS."""
    async with run_proxy(make_config(tmp_path / "data", mirror), tls=certificate.server) as proxy:
        yield proxy


@pytest.fixture
async def service(tmp_path: Path, mirror: Mirror, certificate: Certificate) -> AsyncIterator[Service]:
    """Return the real service, with uvloop, that speaks TLS."""
    async with run_service(write_config(tmp_path, mirror, certificate=certificate)) as service:
        yield service


@pytest.fixture
def item(tree: SignedTree) -> TreeItem:
    """Publish one large image."""
    item = tree.add_item(PRODUCT, "20250718", "squashfs", size=12 * MIB + 17)
    tree.publish()
    return item


async def test_large_bodies_are_right_over_tls(
    proxy: RunningProxy, origin: Origin, item: TreeItem, certificate: Certificate
) -> None:
    """Eight clients on a cold item, then eight on a warm one, whole and in parts."""
    trusting = certificate.client

    async def read(*, is_part: bool) -> bytes:
        headers = {"Range": "bytes=1000000-9999999"} if is_part else {}
        async with proxy.get(item.path, headers=headers, ssl=trusting) as response:
            assert response.status == (206 if is_part else 200)
            return bytes(await response.read())

    whole = item.read()
    for _ in ("cold", "warm"):
        bodies = await asyncio.gather(*(read(is_part=n % 2 == 1) for n in range(8)))
        assert all(body == (whole[1_000_000:10_000_000] if n % 2 else whole) for n, body in enumerate(bodies))
    assert origin.count(item.path) == 1


async def test_large_bodies_are_right_over_tls_from_the_real_service(
    service: Service, mirror: Mirror, item: TreeItem, certificate: Certificate
) -> None:
    """The same with the event loop of production, whose TLS is another; also with MAAS 3.6's stray chunk."""
    connector = aiohttp.TCPConnector(ssl=certificate.client)
    async with aiohttp.ClientSession(service.base, connector=connector) as session:

        async def read(*, is_maas_36: bool) -> bytes:
            async with session.get(mirror.mount + item.path, chunked=is_maas_36 or None) as response:
                return bytes(await response.read())

        whole = item.read()
        for _ in ("cold", "warm"):
            bodies = await asyncio.gather(*(read(is_maas_36=n % 2 == 1) for n in range(4)))
            assert all(body == whole for body in bodies)


async def test_a_slow_reader_gets_every_byte_over_tls(
    proxy: RunningProxy, item: TreeItem, certificate: Certificate
) -> None:
    """A client that stops reading for a moment holds nothing up but itself."""
    await warm(proxy, item, certificate)
    async with Wire.to(proxy.base, certificate.client) as slow:
        await slow.send(request(proxy.url(item.path).raw_path))
        first = await slow.reader.readexactly(1000)
        async with proxy.get(INDEX, ssl=certificate.client) as response:
            assert response.status == 200
        head, _, beginning = first.partition(b"\r\n\r\n")
        rest = await slow.reader.readexactly(item.size - len(beginning))

    assert head.startswith(b"HTTP/1.1 200")
    assert beginning + rest == item.read()


async def test_a_corrupt_item_ends_short_over_tls(
    proxy: RunningProxy, origin: Origin, item: TreeItem, certificate: Certificate
) -> None:
    """The end is held back and the connection is cut, as without TLS."""
    origin.fault(item.path, Fault(corrupt_at=MIB))

    async with Wire.to(proxy.base, certificate.client) as wire:
        reply = await wire.ask(proxy.url(item.path).raw_path)

    assert reply.status == 200
    assert not reply.is_complete
    assert len(reply.body) <= item.size - 64 * 1024


async def test_plain_http_on_the_tls_port_fails_fast(proxy: RunningProxy, item: TreeItem) -> None:
    """LXD asks each item as http://host:tls-port first, and goes on to https once that has failed."""
    begun = time.monotonic()
    async with Wire.to(proxy.base) as wire:
        await wire.send(request(proxy.url(item.path).raw_path))
        answer = await wire.rest()

    assert time.monotonic() - begun < GENEROUS_S
    assert not answer.startswith(b"HTTP/1.1 2")
    assert item.read()[:16] not in answer


async def test_broken_handshakes_leave_no_trace_in_the_log(
    service: Service, mirror: Mirror, origin: Origin, item: TreeItem, certificate: Certificate
) -> None:
    """Plain http, a dropped handshake, a scan and a client that distrusts us: all in a day's work for LXD."""
    tls = certificate.client
    for _ in range(20):
        begun = time.monotonic()
        await say(service, request(mirror.mount + item.path))
        assert time.monotonic() - begun < GENEROUS_S
        await say(service, b"")
        await say(service, client_hello(tls)[:40])
        await say(service, client_hello(tls))
        await say(service, b"\x16\x03\x01\xff\xff" + b"\x00" * 100)
        with pytest.raises(ssl.SSLError):
            async with Wire.to(service.base, ssl.create_default_context()):
                pass
    async with Wire.to(service.base, tls) as wire:
        assert (await wire.ask(mirror.mount + INDEX)).status == 200

    noise = [line for line in service.log().splitlines() if " INFO " not in line]
    assert noise == []
    assert origin.count(item.path) == 0


async def test_a_handshake_that_failed_does_not_keep_a_worker_from_its_end(service: Service) -> None:
    """One that goes on would be brought to its end."""
    for _ in range(5):
        await say(service, b"GET / HTTP/1.1\r\n\r\n")
    begun = time.monotonic()
    await asyncio.to_thread(service.stop)

    assert time.monotonic() - begun < GENEROUS_S


async def test_handshakes_that_break_off_are_no_error_for_the_event_loop(
    proxy: RunningProxy, certificate: Certificate, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    for data in (b"", b"GET / HTTP/1.1\r\n\r\n", client_hello(certificate.client)):
        async with Wire.to(proxy.base) as wire:
            await wire.send(data)
            wire.writer.write_eof()
            await wire.rest()

    assert caplog.records == []


@pytest.mark.usefixtures("item")
async def test_a_connection_that_is_silent_does_not_keep_others_waiting(
    proxy: RunningProxy, certificate: Certificate
) -> None:
    """A hundred clients that never begin their handshake; one that does is served at once."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(100):
            await stack.enter_async_context(Wire.to(proxy.base))
        async with asyncio.timeout(5), proxy.get(INDEX, ssl=certificate.client) as response:
            assert response.status == 200


async def test_each_request_may_come_over_a_connection_of_its_own(
    proxy: RunningProxy, item: TreeItem, certificate: Certificate
) -> None:
    """LXD makes a new TLS connection for every request."""
    for path in (INDEX, "streams/v1/com.ubuntu.maas:stable:v3:download.sjson", item.path):
        async with Wire.to(proxy.base, certificate.client) as wire:
            reply = await wire.ask(proxy.url(path).raw_path, Connection="close")
            assert (reply.status, reply.is_complete) == (200, True)
            assert await wire.rest() == b""


@pytest.mark.usefixtures("item")
async def test_a_client_gets_through_by_any_name_in_the_certificate_if_it_trusts_the_authority(
    proxy: RunningProxy, certificate: Certificate
) -> None:
    by_name = proxy.base.replace("127.0.0.1", "localhost")
    async with aiohttp.ClientSession() as session:
        url = f"{by_name}{proxy.config.mirrors[0].mount}{INDEX}"
        async with session.get(url, ssl=certificate.client) as response:
            assert response.status == 200
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(url)


# What is spoken, and who must show a certificate


def speaking(certificate: Certificate, least: ssl.TLSVersion, most: ssl.TLSVersion) -> ssl.SSLContext:
    """Return a client's context that trusts us and speaks these versions."""
    context = certificate.client
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # Of old versions.
        context.minimum_version, context.maximum_version = least, most
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


@pytest.fixture
async def as_configured(
    tmp_path: Path, mirror: Mirror, certificate: Certificate
) -> AsyncIterator[RunningProxy]:
    """Return a proxy with the TLS of a configuration."""
    tls = await asyncio.to_thread(tls_context, Tls(certificate=certificate.chain, key=certificate.key))
    async with run_proxy(make_config(tmp_path / "data", mirror), tls=tls) as proxy:
        yield proxy


@pytest.mark.usefixtures("item")
async def test_todays_versions_are_spoken_with_http_1_1(
    as_configured: RunningProxy, mirror: Mirror, certificate: Certificate
) -> None:
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        client = speaking(certificate, version, version)
        client.set_alpn_protocols(["h2", "http/1.1"])
        async with Wire.to(as_configured.base, client) as wire:
            session = wire.writer.get_extra_info("ssl_object")
            assert session.version() == version.name.replace("_", ".")
            assert session.selected_alpn_protocol() == "http/1.1"
            assert (await wire.ask(mirror.mount + INDEX)).status == 200


async def test_old_versions_and_weak_ciphers_are_not(
    as_configured: RunningProxy, certificate: Certificate
) -> None:
    for version, ciphers in (
        (ssl.TLSVersion.TLSv1, "ALL:@SECLEVEL=0"),
        (ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0"),
        (ssl.TLSVersion.TLSv1_2, "AES256-GCM-SHA384:@SECLEVEL=0"),
        (ssl.TLSVersion.TLSv1_2, "ECDHE+AES:!AESGCM:!AESCCM:@SECLEVEL=0"),
        (ssl.TLSVersion.TLSv1_2, "aNULL:eNULL:@SECLEVEL=0"),
    ):
        client = speaking(certificate, version, version)
        client.set_ciphers(ciphers)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            async with Wire.to(as_configured.base, client):
                pass


async def test_with_client_ca_only_clients_with_its_certificates_get_a_byte(
    tmp_path: Path, mirror: Mirror, item: TreeItem, certificate: Certificate
) -> None:
    known, client_ca = identified(certificate.client, tmp_path)
    (tmp_path / "other").mkdir()
    stranger, _ = identified(certificate.client, tmp_path / "other")
    config = write_config(tmp_path, mirror, certificate=certificate, client_ca=client_ca)
    answers = []
    async with run_service(config) as service:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            for client in (certificate.client, stranger, known):
                client.minimum_version = client.maximum_version = version
                answer = b""
                with contextlib.suppress(ssl.SSLError, ConnectionError):
                    async with Wire.to(service.base, client) as wire:
                        await wire.send(request(mirror.mount + item.path, Connection="close"))
                        answer = await wire.rest()
                answers.append(answer)
    noise = [line for line in service.log().splitlines() if " INFO " not in line]

    assert [bool(answer) for answer in answers] == [False, False, True] * 2
    assert all(answers[index].endswith(item.read()) for index in (2, 5))
    assert noise == []


async def warm(proxy: RunningProxy, item: TreeItem, certificate: Certificate) -> None:
    """Get an item into the cache."""
    async with proxy.get(item.path, ssl=certificate.client) as response:
        await response.read()


async def say(service: Service, data: bytes) -> None:
    """Connect without TLS, say something, and hang up."""
    async with Wire.to(service.base) as wire:
        await wire.send(data)
        with contextlib.suppress(OSError):
            wire.writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
        await wire.rest()


def client_hello(context: ssl.SSLContext) -> bytes:
    """Return the first bytes that a TLS client sends."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()
