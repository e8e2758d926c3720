"""Renewing a certificate while clients are served, on SIGHUP and without being told."""

import asyncio
import contextlib
import os
import signal
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.certificates import Certificate, make_certificate
from support.faults import Fault
from support.origin import Origin
from support.running import Service
from support.serving import run_service, write_config
from support.tree import SignedTree, TreeItem
from support.wire import Wire, request

from proxy.mirror import Mirror

MIB = 1024 * 1024
PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
INDEX = "streams/v1/index.sjson"


@pytest.fixture
def item(tree: SignedTree) -> TreeItem:
    item = tree.add_item(PRODUCT, "20250718", "squashfs", size=4 * MIB)
    tree.publish()
    return item


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path)


async def is_served(service: Service, mirror: Mirror, client: ssl.SSLContext) -> bool:
    """Say whether the service shows a certificate that a client trusts, and serves."""
    with contextlib.suppress(ssl.SSLError):
        async with Wire.to(service.base, client) as wire:
            return (await wire.ask(mirror.mount + INDEX)).status == 200
    return False


async def logged(service: Service, text: str, times: int = 1) -> None:
    """Return once the log holds a text so often."""
    async with asyncio.timeout(30):
        while service.log().count(text) < times:  # noqa: ASYNC110 - a file tells nobody that it grows
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def transfer(
    service: Service, mirror: Mirror, item: TreeItem, client: ssl.SSLContext
) -> AsyncIterator[Wire]:
    """Begin to receive an item whose origin stalls."""
    async with Wire.to(service.base, client) as wire:
        await wire.send(request(mirror.mount + item.path))
        await wire.reader.readuntil(b"\r\n\r\n")
        yield wire


async def test_a_reload_serves_the_renewed_certificate_and_drops_no_transfer(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem, certificate: Certificate
) -> None:
    stall = origin.fault(item.path, Fault(stall_after=2 * MIB))
    old = certificate.client
    config = write_config(tmp_path, mirror, certificate=certificate)
    async with run_service(config) as service, transfer(service, mirror, item, old) as running:
        renewed = make_certificate(tmp_path).client
        assert await is_served(service, mirror, old)
        service.process.send_signal(signal.SIGHUP)
        await logged(service, "config.accepted")
        await logged(service, "worker.draining")
        served = [await is_served(service, mirror, client) for client in (old, renewed)]
        stall.remove()
        body = await running.reader.readexactly(item.size)

    assert served == [False, True]
    assert body == item.read()


@pytest.mark.parametrize("spoilt", ["chain", "key"])
async def test_a_broken_certificate_changes_nothing_and_says_why(
    tmp_path: Path, mirror: Mirror, item: TreeItem, certificate: Certificate, spoilt: str
) -> None:
    """A worker that dies is replaced all the same."""
    path, client = getattr(certificate, spoilt), certificate.client
    async with run_service(write_config(tmp_path, mirror, certificate=certificate)) as service:
        assert await is_served(service, mirror, client)
        workers = service.worker_pids()
        path.write_bytes(path.read_bytes()[:99])
        service.process.send_signal(signal.SIGHUP)
        await logged(service, "config.rejected")

        assert str(path) in service.log()
        assert service.worker_pids() == workers
        os.kill(workers[0], signal.SIGKILL)
        await logged(service, "worker.ready", 2)
        assert await is_served(service, mirror, client)
        assert item.size


async def test_a_renewal_is_noticed_without_being_told_of(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem, certificate: Certificate
) -> None:
    """Broken at first, as by a renewal that failed half-way. Edits of the configuration are left alone."""
    stall = origin.fault(item.path, Fault(stall_after=2 * MIB))
    old = certificate.client
    config = write_config(tmp_path, mirror, certificate=certificate, check_every="100ms")
    async with run_service(config) as service, transfer(service, mirror, item, old) as running:
        config.write_text("not finished yet")
        certificate.chain.write_text("half a certificate")
        await logged(service, "config.rejected", 2)
        assert await is_served(service, mirror, old)
        renewed = make_certificate(tmp_path).client
        await logged(service, "config.accepted")
        await logged(service, "worker.draining")
        served = [await is_served(service, mirror, client) for client in (old, renewed)]
        stall.remove()
        body = await running.reader.readexactly(item.size)

    assert served == [False, True]
    assert body == item.read()
    assert "certificate.changed" in service.log()
