"""Whatever is wrong with a MAAS, or with what lets us in, is told in words that help, and without secrets."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from support.certificates import make_certificate
from support.maas_region import KEY, PASSWORD, Handler, Region, run_region

from proxy.connect.addresses import maas_base
from proxy.connect.errors import KeyFault, MaasFault, MaasRefused, MaasUnreachable
from proxy.connect.maas_api.access import ApiKey
from proxy.connect.maas_api.http import MaasHttp
from proxy.connect.maas_api.protocol import Maas
from proxy.connect.maas_api.v2 import MaasV2
from proxy.connect.maas_api.v3 import MaasV3
from proxy.connect.trying import try_mirror

PAGE = "<html><body><h1>502 Bad Gateway</h1></body></html>"


@pytest.fixture
async def region(keyring: Path) -> AsyncIterator[Region]:
    async with run_region(Region("3.4.1", keyring)) as region:
        yield region


def answering(status: int, text: str = "", kind: str = "text/plain", location: str = "") -> Handler:
    """Return a MAAS that says but one thing."""

    async def answer(_: web.Request) -> web.StreamResponse:
        headers = {"Location": location} if location else None
        return web.Response(status=status, text=text, content_type=kind, headers=headers)

    return answer


async def _enter(maas: Maas) -> None:
    await maas.enter()
    await maas.look()


async def problem(base: str, key: str = KEY, ca: Path | None = None, timeout_s: float = 60.0) -> MaasFault:
    """Enter and look by version 2.0; return what that ends with."""
    http = await asyncio.to_thread(MaasHttp, maas_base(base), ca, timeout_s)
    async with http:
        with pytest.raises(MaasFault) as fault:
            await _enter(MaasV2(http, ApiKey.parse(key)))
    for secret in key.split(":")[1:]:
        assert secret not in str(fault.value)
    return fault.value


@pytest.mark.parametrize(
    ("failing", "kind", "told"),
    [
        (answering(502, PAGE, "text/html"), MaasUnreachable, "still starting"),
        (answering(503, "x"), MaasUnreachable, "still starting"),
        (answering(200, "<html>login</html>", "text/html"), MaasFault, "is that the URL of MAAS"),
        (answering(200, "null", "application/json"), MaasFault, "not tell its version"),
        (answering(404, "<html>", "text/html"), MaasFault, "no such API"),
        (answering(410, "The 1.0 API is no longer available."), MaasFault, "new enough"),
        (
            answering(301, location="https://maas.example.org/MAAS/api/"),
            MaasFault,
            "https://maas.example.org/MAAS/",
        ),
        (answering(302, location="/login"), MaasFault, "is that the URL of MAAS"),
        (answering(401, f"Authorization Error: Invalid access token: {KEY}"), KeyFault, "does not accept"),
        (answering(403, "reserved"), KeyFault, "administrator's key"),
        (answering(500, "boom"), MaasFault, "MAAS failed to"),
        (answering(500, f"debugging: OAuth {KEY}"), MaasFault, "debugging"),
        (answering(400, f"bad request by {KEY}"), MaasRefused, "bad request by"),
        (answering(404, "no mirror is mounted here"), MaasFault, "is that the URL of MAAS itself"),
        (answering(200, f"{KEY} is welcome"), MaasFault, "is welcome"),
        (answering(302, location=f"/MAAS/?{KEY}"), MaasFault, "redirects"),
        (answering(400, '{"url": ["bad", "worse"]}', "application/json"), MaasRefused, "url: bad worse"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
async def test_an_answer_that_is_none_is_told_for_what_it_is(
    region: Region, failing: Handler, kind: type[MaasFault], told: str
) -> None:
    region.failing = failing

    found = await problem(region.base)

    assert isinstance(found, kind)
    assert told in str(found)


async def test_a_maas_that_does_not_answer_is_given_up(region: Region) -> None:
    asked = asyncio.Event()

    async def hang(_: web.Request) -> web.StreamResponse:
        await asked.wait()
        return web.Response()

    region.failing = hang
    found = await problem(region.base, timeout_s=0.3)
    asked.set()

    assert isinstance(found, MaasUnreachable)
    assert "gives no answer" in str(found)


async def test_a_maas_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1/")

    found = str(await problem("http://127.0.0.1:9/MAAS"))

    assert "cannot be reached: nothing listens there (connection refused): does MAAS run" in found
    assert "not through $http_proxy" in found


@pytest.mark.parametrize(
    "wrong", ["consumer1:token22:other", "consumer1:other22:secret333", "another:token22:secret333"]
)
async def test_a_wrong_key_is_told(region: Region, wrong: str) -> None:
    assert isinstance(await problem(region.base, wrong), KeyFault)


async def test_who_is_no_administrator_is_told_before_anything_is_changed(region: Region) -> None:
    region.is_admin = False

    assert "no administrator" in str(await problem(region.base))


async def test_a_maas_that_is_too_old_is_told(region: Region) -> None:
    region.version = "2.4.2"

    assert "too old" in str(await problem(region.base))


async def test_a_certificate_of_an_unknown_authority_needs_its_file(keyring: Path, tmp_path: Path) -> None:
    certificate = await asyncio.to_thread(make_certificate, tmp_path)
    async with run_region(Region("2.4.2", keyring), certificate.server) as region:
        unknown = str(await problem(region.base))
        trusted = str(await problem(region.base, ca=certificate.authority))

    assert "--ca FILE" in unknown
    assert "too old" in trusted
    nothing = tmp_path / "nothing.pem"
    await asyncio.to_thread(nothing.write_text, "no certificate")
    with pytest.raises(MaasFault, match="no certificates in PEM"):
        await asyncio.to_thread(MaasHttp, "https://maas/MAAS/", nothing)


@pytest.mark.parametrize(("version", "password"), [("3.7.0", PASSWORD), ("3.8.0", "hunter2hunter2")])
async def test_version_3_needs_a_new_maas_and_the_right_password(
    keyring: Path, version: str, password: str
) -> None:
    async with run_region(Region(version, keyring)) as region:
        http = await asyncio.to_thread(MaasHttp, maas_base(region.base))
        async with http:
            with pytest.raises(MaasFault) as fault:
                await _enter(MaasV3(http, "admin", password))

    assert ("from 3.8 on" if version == "3.7.0" else "does not accept") in str(fault.value)
    assert password not in str(fault.value)


@pytest.mark.parametrize(
    ("status", "is_good", "told"),
    [
        (200, True, ""),
        (403, True, "whether it is for MAAS"),
        (401, False, "$SSTREAM_PROXY_URL"),
        (404, False, "HTTP 404"),
        (302, False, "HTTP 302"),
        (503, False, "HTTP 503"),
    ],
)
async def test_the_mirror_is_tried_by_the_url_that_maas_is_to_use(
    region: Region, status: int, is_good: bool, told: str
) -> None:
    region.failing = answering(status, location="/elsewhere" if status == 302 else "")

    trial = await try_mirror(region.base.replace("://", "://maas:hunter2@") + "/images/")

    assert trial.is_good == is_good
    assert told in trial.problem
    assert "hunter2" not in trial.problem


async def test_a_mirror_that_is_not_there_is_told_without_its_password() -> None:
    trial = await try_mirror("http://maas:hunter2@127.0.0.1:9/images/")

    assert not trial.is_good
    assert trial.problem == (
        "nothing answers at http://maas:***@127.0.0.1:9/images/ (Connection refused): does the proxy run, "
        "and listen there?"
    )
    assert "hunter2" not in trial.problem
