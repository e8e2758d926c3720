"""An origin that redirects to one of several mirrors, of which one is bad: it is asked again at once."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path

import pytest
from aiohttp import web
from support.exchange import read
from support.faults import Fault
from support.origin import Origin
from support.running import Clock, RunningProxy, make_config, run_proxy
from support.stored import removed
from support.tree import SignedTree, TreeItem

from proxy.digest import Digest
from proxy.mirror import Mirror
from proxy.sources.options import UpstreamOptions

INDEX = "streams/v1/index.sjson"
IMPATIENT = UpstreamOptions(connect_timeout_s=2, stall_timeout_s=1, give_up_after_s=3)


@dataclass
class Redirector:
    """Sends each request for a path to the next of its mirrors, whatever else is asked for meanwhile."""

    mirrors: list[str]
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def __post_init__(self) -> None:
        self._turns: defaultdict[str, cycle[str]] = defaultdict(lambda: cycle(self.mirrors))

    async def answer(self, request: web.Request) -> web.Response:
        """Redirect, with something secret in the URL."""
        self.asked.append(request.path)
        target = f"{next(self._turns[request.path])}{request.path[1:]}?signature=secret"
        return web.Response(status=302, headers={"Location": target})


@pytest.fixture
def item(tree: SignedTree) -> TreeItem:
    """Return a published item."""
    item = tree.add_item("product", "1", "kernel", size=3_000_000)
    tree.publish()
    return item


@pytest.fixture
async def good(tree: SignedTree) -> AsyncIterator[Origin]:
    """Return a second mirror of the same tree."""
    async with Origin(tree.root) as origin:
        yield origin


@pytest.fixture
async def redirector(origin: Origin, good: Origin) -> AsyncIterator[Redirector]:
    """Return what redirects to the origin and to the good mirror in turn."""
    redirector = Redirector([origin.url, good.url])
    server = web.AppRunner(web.Application())
    server.app.router.add_get("/{path:.*}", redirector.answer)
    await server.setup()
    await web.TCPSite(server, "127.0.0.1", 0).start()
    redirector.url = f"http://127.0.0.1:{server.addresses[0][1]}/"
    yield redirector
    await server.cleanup()


@pytest.fixture
async def redirected(
    tmp_path: Path, mirror: Mirror, clock: Clock, redirector: Redirector
) -> AsyncIterator[RunningProxy]:
    """Return a proxy whose only origin is the redirector."""
    named = replace(mirror, origins=(redirector.url,), redirect_hosts=("127.0.0.1",))
    async with run_proxy(make_config(tmp_path / "data", named, upstream=IMPATIENT), clock) as proxy:
        yield proxy


BAD = {
    "refuses": Fault(refuse=True),
    "resets": Fault(cut_after=0),
    "404": Fault(status=404),
    "403": Fault(status=403),
    "410": Fault(status=410),
    "500": Fault(status=500),
    "503": Fault(status=503),
    "another length": Fault(truncate_to=1000),
    "a login page": Fault(body=b"<html>Please log in</html>"),
    "gzip": Fault(gzip=True),
    "a head that is none": Fault(head=b"SSH-2.0-x\r\n"),
    "another redirect": Fault(redirect_to="?again"),
}


@pytest.mark.parametrize("fault", BAD.values(), ids=BAD)
async def test_another_mirror_is_chosen_at_once_for_an_item(
    redirected: RunningProxy, origin: Origin, good: Origin, item: TreeItem, fault: Fault
) -> None:
    origin.fault(item.path, fault)
    for _ in range(2):
        reply = await read(redirected.url(item.path))
        assert (reply.status, reply.body) == (200, item.read())
        await redirected.fills_ended()
        await asyncio.to_thread(removed, redirected.store, Digest(item.digest))
    assert good.count(item.path) == 2


DOCUMENT_FAULTS = {
    name: fault for name, fault in BAD.items() if name not in {"another length", "a login page"}
}


@pytest.mark.parametrize("fault", DOCUMENT_FAULTS.values(), ids=DOCUMENT_FAULTS)
async def test_another_mirror_is_chosen_at_once_for_a_document(
    redirected: RunningProxy, origin: Origin, tree: SignedTree, item: TreeItem, fault: Fault
) -> None:
    origin.fault("streams/*", fault)

    assert (await read(redirected.url(INDEX))).body == (tree.root / INDEX).read_bytes()
    assert (await read(redirected.url(item.path))).body == item.read()


async def test_wrong_bytes_convict_the_mirror_and_the_redirector_is_asked_for_another(
    redirected: RunningProxy,
    origin: Origin,
    good: Origin,
    redirector: Redirector,
    item: TreeItem,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await read(redirected.url(INDEX))
    if redirector.asked and len(redirector.asked) % 2:
        redirector.mirrors.reverse()
    origin.fault(item.path, Fault(corrupt_at=5))
    good.fault(item.path, Fault(status=503), times=1)

    await read(redirected.url(item.path))
    await redirected.fills_ended()
    reply = await read(redirected.url(item.path))

    assert (reply.status, reply.body) == (200, item.read())
    assert f"having redirected to {origin.url}{item.path}" in caplog.text
    assert "secret" not in caplog.text
    status = (await redirected.cache.status())["test"]
    assert status["is_ready"]


async def test_errors_name_where_the_redirect_led(
    redirected: RunningProxy,
    origin: Origin,
    good: Origin,
    tree: SignedTree,
    clock: Clock,
    redirector: Redirector,
) -> None:
    tree.publish()
    await read(redirected.url(INDEX))
    for mirror in (origin, good):
        mirror.fault("streams/*", Fault(status=500))
    clock.advance(3600)
    redirector.asked.clear()

    await redirected.documents.checks.revalidate()

    problem = (await redirected.cache.status())["test"]["last_problem"]
    assert f"{redirector.url}: it answered with status 500, having redirected to http://127.0.0.1:" in problem
    assert "secret" not in problem
    # Each of two mirrors once, and once more in vain; for the conditions, and plainly.
    assert len(redirector.asked) <= 8
