"""Who may change something: whoever is at this machine, or has the token, and no page of another site."""

import json
import socket
import struct
from pathlib import Path

import pytest
from support.admin_api import (
    ACTIONS,
    FOREIGN,
    LOCAL,
    SHA256,
    TOKEN,
    fetch,
    here,
    post,
    with_admin,
)
from support.exchange import read
from support.running import RunningProxy
from support.serving import run_service, write_config
from support.tree import TreeItem
from support.wire import Wire, request
from support.workers import frozen
from yarl import URL

from proxy.mirror import Mirror


async def test_a_change_from_another_machine_needs_the_token(proxy: RunningProxy) -> None:
    async with with_admin(proxy, token_sha256=SHA256) as other:
        for wrong in ("", f"Bearer {TOKEN.lower()}", f"Bearer {TOKEN}x", f"Bearer {SHA256}", "Bearer \xff"):
            headers = FOREIGN | ({"Authorization": wrong} if wrong else {})
            assert (await post(other, "scrub", headers)).status == 403, wrong
        assert (await post(other, "scrub", FOREIGN | {"Authorization": f"Bearer {TOKEN}"})).status == 200


@pytest.mark.parametrize("action", ACTIONS)
async def test_no_page_of_another_site_can_change_anything(
    proxy: RunningProxy, items: dict[str, TreeItem], action: str
) -> None:
    """Not even in the browser of somebody who sits at the proxy's machine."""
    await fetch(proxy, *items.values())
    order = json.dumps(
        {"digests": [item.digest for item in items.values()], "on": True, "rule": "lab"}
    ).encode()
    here_now = {"Host": "localhost"}
    attempts = [
        *({**here_now, "Content-Type": kind} for kind in
          ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
           "application/json")),
        {**LOCAL, "Origin": "http://evil.test"},
        {**LOCAL, "Origin": "null"},
        {**LOCAL, "Origin": "http://localhost:9999"},
        {**LOCAL, "Host": "evil.test", "Origin": "http://evil.test"},
        {**LOCAL, "X-Forwarded-For": "127.0.0.1"},
        {**LOCAL, "Forwarded": "for=127.0.0.1"},
    ]  # fmt: skip

    statuses = [(await post(proxy, action, headers, order)).status for headers in attempts]

    assert statuses == [403] * len(attempts)
    assert here(proxy, items) == set(items)
    assert not proxy.cache.offline.is_on


async def test_a_browser_that_asks_for_permission_gets_none(proxy: RunningProxy) -> None:
    """The preflight that the change header makes necessary (CORS)."""
    async with Wire.to(proxy.base) as wire:
        reply = await wire.ask(
            "/-/api/v1/purge",
            "OPTIONS",
            Host="localhost",
            Origin="http://evil.test",
            Access_Control_Request_Method="POST",
            Access_Control_Request_Headers="x-sstream-proxy",
        )
    assert reply.status >= 400
    assert not [name for name in reply.headers if name.lower().startswith("access-control")]


async def test_nothing_is_changed_by_get(proxy: RunningProxy) -> None:
    async with Wire.to(proxy.base) as wire:
        assert (await wire.ask("/-/api/v1/scrub", **LOCAL)).status == 404
    async with proxy.get("/-/stats") as response:
        assert (await response.json())["scrub"]["asked_at"] == 0


async def test_who_hung_up_before_being_looked_at_is_not_taken_for_a_local_socket(
    tmp_path: Path, mirror: Mirror
) -> None:
    """The connection has no address any more by then (uvloop), and what it sent is still read."""
    body = b'{"on": true}'
    order = request("/-/api/v1/offline", "POST", **FOREIGN, Content_Length=str(len(body))) + body
    async with run_service(write_config(tmp_path, mirror)) as service:
        url = URL(service.base)
        with frozen(service.worker_pids()):
            for _ in range(5):
                with socket.create_connection((url.host, url.port)) as connection:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    connection.sendall(order)
        stats = json.loads((await read(url / "-/stats")).body)

    assert not stats["offline"]
    assert "admin.done" not in service.log()
