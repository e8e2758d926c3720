"""What is said of actions in the log, and that no secret is told anywhere."""

import asyncio
import logging
import re
from dataclasses import replace
from typing import Any

import pytest
from support.admin_api import (
    ACTIONS,
    FOREIGN,
    INDEX,
    OPERATORS_PAGES,
    SHA256,
    TOKEN,
    act,
    fetch,
    post,
)
from support.faults import Fault
from support.origin import Origin
from support.running import RunningProxy, run_proxy
from support.tree import TreeItem
from support.wire import Wire

from proxy.web.admin.permission import AdminOptions


async def test_every_action_is_in_the_log_with_who_and_what(
    proxy: RunningProxy, items: dict[str, TreeItem], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    item = items["20250718/squashfs"]
    await fetch(proxy, item)
    orders: dict[str, dict[str, Any]] = {
        "pin": {"digests": [item.digest], "name": "keep"},
        "unpin": {"name": "keep"},
        "evict": {"filters": ["ftype=squashfs"]},
        "purge": {"max": 1},
        "refresh": {"mirrors": ["test"]},
        "scrub": {},
        "prefetch": {"rule": "lab"},
        "offline": {"on": True},
    }
    assert set(orders) == set(ACTIONS)
    for action, order in orders.items():
        await act(proxy, action, **order)

    lines = [one.getMessage() for one in caplog.records if one.getMessage().startswith("admin.done")]

    assert [re.search(r"action=(\w+) by=client 127\.0\.0\.1 what=", line)[1] for line in lines] == [*orders]  # type: ignore[index]
    for line, what in zip(
        lines, (item.digest, "", "ftype=squashfs", "max=1", "test", "all", "lab", "on"), strict=True
    ):
        assert f"what={what}" in line or f"test: {what}" in line


async def test_who_was_turned_away_is_in_the_log(
    proxy: RunningProxy, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    await post(proxy, "purge", FOREIGN, {})
    await asyncio.sleep(0)

    (line,) = [one.getMessage() for one in caplog.records if "/-/api/v1/purge" in one.getMessage()]

    assert "client=127.0.0.1 method=POST path=/-/api/v1/purge status=403" in line


async def test_no_secret_is_told_anywhere(
    proxy: RunningProxy, origin: Origin, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither tokens nor passwords of URLs: in the log, figures, metrics, or what is said of errors."""
    caplog.set_level(logging.DEBUG)
    urls = tuple(u.replace("//", "//user:s3cret@") for u in (origin.url, "http://127.0.0.1:1/"))
    mirror = replace(proxy.config.mirrors[0], origins=urls)
    config = replace(
        proxy.config,
        data_dir=proxy.config.data_dir / "other",
        mirrors=(mirror,),
        prefetch=(),
        admin=AdminOptions(token_sha256=SHA256),
    )
    token = {"Authorization": f"Bearer {TOKEN}"}
    origin.fault("*", Fault(status=500))
    async with run_proxy(config) as other, Wire.to(other.base) as wire:
        replies = [
            await post(other, "refresh", FOREIGN | token, {}),
            await post(other, "pin", FOREIGN | token, {"max": 1}),
            await post(other, "purge", FOREIGN | {"Authorization": f"Bearer {TOKEN}!"}, {}),
            *[await wire.ask(path, **token) for path in ("/", "/-/", *OPERATORS_PAGES, "/-/ready")],
            await wire.ask(f"http://user:s3cret@127.0.0.1:1/{INDEX}"),
            await wire.ask(f"http://user:s3cret@elsewhere.test/{INDEX}"),
        ]
    said = caplog.text + "".join(reply.body.decode() for reply in replies)

    assert origin.requests[0].headers["Authorization"].startswith("Basic ")
    assert [reply.status for reply in replies[:3]] == [502, 400, 403]
    for secret in ("s3cret", TOKEN, SHA256):
        assert secret not in said


async def test_the_password_of_a_parent_proxy_that_refuses_is_not_told(
    proxy: RunningProxy, origin: Origin, caplog: pytest.LogCaptureFixture
) -> None:
    """As one does whose password has just been changed."""
    caplog.set_level(logging.DEBUG)
    origin.fault("*", Fault(status=407))
    parent = origin.url.replace("//", "//user:s3cret@")
    config = replace(
        proxy.config,
        data_dir=proxy.config.data_dir / "other",
        mirrors=(replace(proxy.config.mirrors[0], origins=("https://images.example.test/",)),),
        prefetch=(),
        upstream=replace(proxy.config.upstream, parent_proxy=parent),
    )
    async with run_proxy(config) as other:
        replies = [await other.read(path) for path in (INDEX, "/-/stats", "/-/", "/-/ready")]

    assert replies[0].status == 503
    assert not any(b"s3cret" in reply.body for reply in replies)
    assert "s3cret" not in caplog.text
