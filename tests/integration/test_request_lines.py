"""The line of a request in the log: one for each, whatever ended it, and its target in one word."""

import asyncio
import errno
import logging
import os
from dataclasses import replace
from pathlib import Path

import pytest
from support.running import MOUNT, RunningProxy, make_config, run_proxy
from support.tree import SignedTree, TreeItem
from support.wire import Wire, request

from proxy.counting.totals import Totals, read_totals
from proxy.mirror import Mirror

PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"


@pytest.fixture
async def item(proxy: RunningProxy, tree: SignedTree) -> TreeItem:
    """Return an item that the proxy holds, too large to be sent at once."""
    item = tree.add_item(PRODUCT, "20250718", "squashfs", size=3 * 1024 * 1024)
    tree.publish()
    await proxy.read(item.path)
    await proxy.fills_ended()
    return item


async def totals(proxy: RunningProxy) -> Totals:
    return await asyncio.to_thread(read_totals, proxy.config.data_dir / "stats")


def lines(caplog: pytest.LogCaptureFixture, event: str) -> list[str]:
    return [line for line in map(logging.LogRecord.getMessage, caplog.records) if line.startswith(event)]


async def test_a_file_that_cannot_be_read_cuts_its_reply_and_is_told_of(
    proxy: RunningProxy, item: TreeItem, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def send_file(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    caplog.set_level("INFO")
    with monkeypatch.context() as patch:
        patch.setattr(os, "sendfile", send_file)
        assert not (await proxy.read(item.path)).is_complete
    [cut] = lines(caplog, "reply.cut ")
    assert cut.endswith(": Input/output error; the disk fails: see dmesg")
    [line] = lines(caplog, "request ")
    assert " status=200 outcome=error bytes=0 " in line
    assert " aborted=no " in line
    assert (await totals(proxy)).cuts.total()["store"] == 1
    assert not lines(caplog, "Unhandled exception")


@pytest.mark.parametrize("number", [errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN])
async def test_a_client_that_cannot_be_reached_any_more_has_left(
    proxy: RunningProxy,
    item: TreeItem,
    number: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As one that was switched off: its router, or this machine, knows no way to it."""

    def send_file(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    caplog.set_level("INFO")
    with monkeypatch.context() as patch:
        patch.setattr(os, "sendfile", send_file)
        assert not (await proxy.read(item.path)).is_complete
    [line] = lines(caplog, "request ")
    assert " status=200 outcome=hit bytes=0 " in line
    assert " aborted=yes " in line
    assert not lines(caplog, "reply.cut ")
    assert not lines(caplog, "Unhandled exception")
    assert (await totals(proxy)).mirrors["test"].total()["aborted"] == 1


async def test_a_target_is_one_word_in_every_line(
    tmp_path: Path, mirror: Mirror, caplog: pytest.LogCaptureFixture
) -> None:
    """What it encodes stays encoded: spaces would make fields of it."""
    caplog.set_level("INFO")
    target = f"{MOUNT}file%20client=192.0.2.1%0Aforged"
    config = make_config(tmp_path / "data", replace(mirror, allow=("192.0.2.0/24",)))
    async with run_proxy(config) as proxy, Wire.to(proxy.base) as wire:
        assert (await wire.ask(target)).status == 403
    told = lines(caplog, "access.denied ") + lines(caplog, "request ")
    assert [f" path={target} " in line for line in told] == [True, True]


@pytest.mark.parametrize(
    ("head", "shown"),
    [
        (request("http://user:secret@other.test/a@b"), "http://other.test/a@b"),
        (request("user:secret@other.test:443", "CONNECT"), "other.test:443"),
        (request(f"{MOUNT}a@b"), f"{MOUNT}a@b"),
    ],
)
@pytest.mark.usefixtures("item")
async def test_no_line_has_credentials_of_a_target(
    proxy: RunningProxy, head: bytes, shown: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with Wire.to(proxy.base) as wire:
        await wire.send(head)
        await wire.reply()
    [line] = lines(caplog, "request ")
    assert f" path={shown} " in line
