"""One HTTP origin: what it says of a path in its statuses, and under which spellings it is asked."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.faults import Fault
from support.origin import Origin
from support.upstreams import Meter, asked_with

from proxy.sources.document import Validators
from proxy.sources.errors import OriginAbsent, OriginError, OriginForbidden, OriginUnreachable
from proxy.sources.http.errors import OriginStatus
from proxy.sources.http.origin import HttpOrigin
from proxy.sources.http.sessions import Sessions
from proxy.sources.options import UpstreamOptions

PATH = "com.example:server/disk.img"
ESCAPED_TWICE = "com.example%3Aserver/disk.img"
"""Where some mirrors have the file, as a server decodes it."""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Origin]:
    async with Origin(tmp_path) as server:
        yield server


@pytest.fixture
def meter() -> Meter:
    return Meter()


@pytest.fixture
async def origin(server: Origin, meter: Meter) -> AsyncIterator[HttpOrigin]:
    async with Sessions(UpstreamOptions(stall_timeout_s=2)) as sessions:
        yield asked_with(sessions, server, meter)


async def test_a_good_status_that_is_no_answer_to_the_question_is_told_and_counted(
    server: Origin, origin: HttpOrigin, meter: Meter
) -> None:
    """A part in place of a document, "not changed" in place of an item."""
    server.fault("document", Fault(status=206))
    server.fault("item", Fault(status=304))
    with pytest.raises(OriginStatus, match="206") as of_document:
        await origin.fetch("document", Validators())
    with pytest.raises(OriginStatus, match="304") as of_item:
        async with origin.open("item"):
            pass
    assert (of_document.value.status, of_item.value.status) == (206, 304)
    assert meter.failures == 2


@pytest.mark.parametrize("forbidden", [PATH, ESCAPED_TWICE])
async def test_what_is_forbidden_under_one_spelling_and_absent_under_the_others_is_forbidden(
    server: Origin, origin: HttpOrigin, forbidden: str
) -> None:
    """Object stores say 403 of what is absent, so that it is less sure than 404."""
    server.fault(forbidden, Fault(status=403))
    with pytest.raises(OriginForbidden):
        async with origin.open(PATH):
            pass
    server.heal()
    with pytest.raises(OriginAbsent):
        async with origin.open(PATH):
            pass


async def test_a_file_under_its_second_spelling_is_found_though_the_first_is_forbidden(
    server: Origin, origin: HttpOrigin
) -> None:
    path = server.root / ESCAPED_TWICE
    path.parent.mkdir()
    path.write_bytes(b"image")
    server.fault(PATH, Fault(status=403))
    async with origin.open(PATH) as reply:
        assert [piece async for piece in reply.chunks(is_replaceable=False)] == [b"image"]


async def test_a_redirector_is_asked_a_few_times_for_a_place_whose_copy_is_whole(
    server: Origin, origin: HttpOrigin
) -> None:
    """It may choose another place each time; if it does not, that is the end."""
    (server.root / "copy").write_bytes(b"text " * 100)
    server.fault("document", Fault(redirect_to=f"{server.url}copy"))
    server.fault("copy", Fault(close_after=10))
    async with asyncio.timeout(20):
        with pytest.raises(OriginError):
            await origin.fetch("document", Validators())
    assert server.count("copy") == 1
    assert 1 < server.count("document") < 10


async def test_a_redirector_that_chose_badly_is_asked_again_at_once(
    server: Origin, origin: HttpOrigin
) -> None:
    (server.root / "copy").write_bytes(b"text")
    server.fault("document", Fault(redirect_to=f"{server.url}broken"), times=1)
    server.fault("broken", Fault(status=500))
    server.fault("document", Fault(redirect_to=f"{server.url}copy"))
    found = await origin.fetch("document", Validators())
    assert found is not None
    assert found.data == b"text"
    assert (server.count("document"), server.count("broken")) == (2, 1)


async def test_a_redirector_that_may_not_be_followed_is_asked_once(
    server: Origin, origin: HttpOrigin
) -> None:
    server.fault("item", Fault(redirect_to="ftp://mirror.example/item"))
    with pytest.raises(OriginError, match="not http or https"):
        async with origin.open("item"):
            pass
    assert server.count("item") == 1


async def test_a_document_that_comes_packed_is_unpacked(server: Origin, origin: HttpOrigin) -> None:
    """Though nobody asked for it."""
    (server.root / "document").write_bytes(b"text " * 1000)
    server.fault("document", Fault(gzip=True))
    found = await origin.fetch("document", Validators())
    assert found is not None
    assert found.data == b"text " * 1000


async def test_a_document_that_trickles_in_for_too_long_is_told_so_and_not_taken_for_unchanged(
    server: Origin, meter: Meter
) -> None:
    (server.root / "document").write_bytes(b"text " * 1000)
    server.fault("document", Fault(stall_after=10))
    options = UpstreamOptions(stall_timeout_s=20, document_timeout_s=0.2)
    async with Sessions(options) as sessions:
        with pytest.raises(OriginUnreachable, match=r"document took longer than 0\.2 s"):
            await asked_with(sessions, server, meter).fetch("document", Validators())
    assert meter.failures == 1
