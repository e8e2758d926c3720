"""`connect maas` against a MAAS of each generation: made, import watched, checked, undone.

The MAAS is a double on loopback that is true to MAAS's own code; the proxy is the real
service, and what MAAS imports comes through it.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from support.certificates import make_certificate
from support.commands import Result
from support.keys import SigningKey
from support.maas import maas_tree
from support.maas_region import KEY, KEYRING, PASSWORD, UPSTREAM, Region, run_region
from support.running import MOUNT, Service
from support.serving import run_service, write_config
from support.tree import SignedTree
from support.warm import run_warm

from proxy.mirror import Mirror

VERSIONS = ("3.4.1", "3.7.0", "3.8.0")


@pytest.fixture
def tree(tmp_path: Path, key: SigningKey) -> SignedTree:
    """Return a tree like MAAS's."""
    return maas_tree(tmp_path / "upstream", key, releases=("22.04", "24.04"))


@pytest.fixture
async def service(tmp_path: Path, mirror: Mirror) -> AsyncIterator[Service]:
    config = await asyncio.to_thread(write_config, tmp_path, mirror)
    async with run_service(config) as service:
        yield service


@pytest.fixture(params=VERSIONS)
async def region(request: pytest.FixtureRequest, keyring: Path) -> AsyncIterator[Region]:
    async with run_region(Region(request.param, keyring)) as region:
        yield region


@pytest.fixture
async def new_region(keyring: Path) -> AsyncIterator[Region]:
    async with run_region(Region("3.8.0", keyring)) as region:
        yield region


@pytest.fixture
async def old_region(keyring: Path) -> AsyncIterator[Region]:
    async with run_region(Region("3.4.1", keyring)) as region:
        yield region


@dataclass
class Connect:
    """The command."""

    folder: Path
    proxy_url: str = ""

    async def __call__(
        self, region: Region, *arguments: str, user: bool = False, key: str = "", **environ: str
    ) -> Result:
        """Run it to its end."""
        secret = key or (PASSWORD if user else KEY)
        file = self.folder / "secret"
        await asyncio.to_thread(file.write_text, f"{secret}\n")
        await asyncio.to_thread(file.chmod, 0o600)
        given = [*(("--proxy-url", self.proxy_url) if self.proxy_url else ()), "--keyring", KEYRING]
        given += ["--user", "admin"] if user else []
        return await self.raw("maas", region.base, "--key-file", str(file), *given, *arguments, **environ)

    async def raw(self, *arguments: str, **environ: str) -> Result:
        """Run `connect` with these words."""
        words = ["connect", *arguments, "--config", str(self.folder / "config.toml")]
        status, out, err = await run_warm(words, {**os.environ, **environ})
        result = Result(arguments, status, out.decode(), err.decode())
        for secret in (*KEY.split(":")[1:], PASSWORD):
            assert secret not in result.stdout + result.stderr
        return result

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        """Start it with these words, as a person does."""
        config = ("--config", str(self.folder / "config.toml"))
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "proxy", "connect", *arguments, *config),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )


@pytest.fixture
def connect(tmp_path: Path, service: Service) -> Connect:
    return Connect(tmp_path, service.base)


def ours(region: Region, service: Service) -> dict[str, Any]:
    """Return the one source that is the proxy."""
    url = (service.base + MOUNT).rstrip("/")
    (found,) = (one for one in region.sources.values() if one["url"].rstrip("/") == url)
    return found


async def test_a_maas_is_connected_imports_is_checked_and_undone(
    region: Region, connect: Connect, service: Service
) -> None:
    before = region.state()

    done = await connect(region, "--yes")
    checked, again = await asyncio.gather(connect(region, "--check"), connect(region, "--yes", "--no-import"))
    changed = list(region.changes)
    assert done.returncode == 0, done.stderr + done.stdout
    assert region.problems == []
    assert len(region.images) > 2
    assert all(image.is_complete for image in region.images.values())
    assert region.settings["boot_images_no_proxy"] is True
    source = ours(region, service)
    assert source["keyring_filename"] == KEYRING
    if region.has_priorities:
        assert source["priority"] > 1
        assert len(region.sources) == 2
    else:
        assert len(region.sources) == 1
    assert (checked.returncode, again.returncode) == (0, 0), checked.stdout
    assert "boot_images_no_proxy: false -> true" in done.stdout
    assert "complete: MAAS has" in done.stdout
    assert "nothing to change" in again.stdout
    assert region.changes == changed

    undone = await connect(region, "--undo", "--yes", "--no-import")

    assert undone.returncode == 0, undone.stderr
    assert region.state() == before
    unused, twice = await asyncio.gather(connect(region, "--check"), connect(region, "--undo", "--yes"))
    assert unused.returncode == 1
    assert twice.stdout.startswith("nothing to undo")


async def test_the_same_by_version_3_of_the_api(
    new_region: Region, connect: Connect, service: Service
) -> None:
    region, before = new_region, new_region.state()

    done = await connect(region, "--yes", user=True)

    assert done.returncode == 0, done.stderr + done.stdout
    assert all(image.is_complete for image in region.images.values())
    assert ours(region, service)["enabled"] is True
    assert (await connect(region, "--check", user=True)).returncode == 0
    assert (await connect(region, "--undo", "--yes", "--no-import", user=True)).returncode == 0
    assert region.state() == before


async def test_an_image_that_comes_from_us_is_watched_from_both_sides(
    old_region: Region, connect: Connect
) -> None:
    """While the import goes on, each side is told; interrupting the watching leaves it going on."""
    old_region.gate.clear()
    secret = connect.folder / "secret"
    await asyncio.to_thread(secret.write_text, KEY)
    await asyncio.to_thread(secret.chmod, 0o600)
    process = await connect.start(
        *("maas", old_region.base, "--key-file", str(secret), "--keyring", KEYRING, "--yes"),
        *("--proxy-url", connect.proxy_url),
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while b"MAAS: " not in (line := await process.stdout.readline()):
            assert line
    assert line.startswith(b"MAAS: 0 of 0 images")
    process.send_signal(signal.SIGINT)
    out, err = await process.communicate()

    assert process.returncode == 130, out
    assert b"--undo takes it back" in err
    assert old_region.is_importing
    old_region.gate.set()
    assert old_region.importing is not None
    await old_region.importing
    assert (await connect(old_region, "--check")).returncode == 0


async def test_a_cache_that_was_warmed_before_asks_upstream_for_nothing(
    old_region: Region, connect: Connect
) -> None:
    done = await connect(old_region, "--yes", "--warm")

    assert done.returncode == 0, done.stderr
    assert "selected in" not in done.stderr
    assert "from-maas=" in done.stdout
    assert "fetched 0 B upstream" in done.stdout


async def test_a_mirrors_own_keyring_is_handed_over_and_taken_back(
    old_region: Region, connect: Connect
) -> None:
    before = old_region.state()
    secret = connect.folder / "secret"
    await asyncio.to_thread(secret.write_text, KEY)
    words = ("maas", old_region.base, "--key-file", str(secret), "--proxy-url", connect.proxy_url)

    done = await connect.raw(*words, "--yes")
    (source,) = old_region.sources.values()
    undone = await connect.raw(*words, "--yes", "--no-import", "--undo")

    assert done.returncode == 0, done.stderr
    assert "others can read" in done.stderr
    assert source["keyring_filename"] == KEYRING
    assert undone.returncode == 0, undone.stderr
    assert old_region.state() == before


@pytest.mark.parametrize(
    ("version", "lacking"),
    [
        ("3.4.1", ("users/", "version/", "get_config", "set_config", "/selections/", "?type=", "?op=")),
        ("3.8.0", ("users/", "version/", "get_config", "?type=", "is_importing", "is-importing")),
    ],
)
async def test_a_maas_that_tells_only_its_sources_is_connected_and_undone(
    keyring: Path, connect: Connect, service: Service, version: str, lacking: tuple[str, ...]
) -> None:
    """Whatever else is not told is unknown; operations may be known by their other form alone."""
    async with run_region(Region(version, keyring, lacking=lacking)) as region:
        before = region.state()
        words = ("--yes",) if version == "3.4.1" else ("--yes", "--no-import")

        done = await connect(region, *words)
        changed, source = list(region.changes), ours(region, service)
        undone = await connect(region, "--undo", "--yes", "--no-import")

        assert done.returncode == 0, done.stderr
        assert source["keyring_filename"] == KEYRING
        assert "does not tell boot_images_no_proxy" in done.stderr
        assert ("POST boot-resources/op-import" in changed) == (version == "3.4.1")
        assert undone.returncode == 0, undone.stderr
        assert region.state() == before


async def test_without_import_none_is_started_and_what_can_wait_is_selected_later(
    new_region: Region, connect: Connect, service: Service
) -> None:
    """MAAS reads the lists of a new source by an import alone, and selects nothing of it before."""
    before = new_region.state()

    done = await connect(new_region, "--yes", "--no-import")
    assert done.returncode == 0, done.stderr
    assert "connect it again after that" in done.stderr
    assert "POST boot-resources/" not in new_region.changes
    number = ours(new_region, service)["id"]
    new_region.known[number] = {("ubuntu", "noble", "amd64")}
    again = await connect(new_region, "--yes", "--no-import")

    assert again.returncode == 0, again.stderr
    assert [one["release"] for one in new_region.selections[number]] == ["noble"]
    await connect(new_region, "--undo", "--yes", "--no-import")
    assert new_region.state() == before


@pytest.mark.parametrize("user", [False, True])
async def test_what_was_selected_of_a_source_that_was_there_is_taken_away_again(
    new_region: Region, connect: Connect, user: bool
) -> None:
    url = (connect.proxy_url + MOUNT).replace("127.0.0.1", "localhost")
    new_region.add_source(url, keyring_filename=KEYRING, priority=5)
    new_region.known[2] = {("ubuntu", "noble", "amd64")}
    before = new_region.state()

    done = await connect(new_region, "--yes", "--no-import", user=user)
    selected = new_region.selections[2][:]
    undone = await connect(new_region, "--undo", "--yes", "--no-import", user=user)

    assert done.returncode == 0, done.stderr
    assert "make a boot source" not in done.stdout
    assert [one["release"] for one in selected] == ["noble"]
    assert undone.returncode == 0, undone.stderr
    assert new_region.state() == before


async def test_a_maas_that_says_it_undid_what_it_did_not_is_found_out(
    new_region: Region, connect: Connect
) -> None:
    await connect(new_region, "--yes", "--no-import")
    new_region.ignoring = ("DELETE /MAAS/api/2.0/boot-sources/",)

    undone = await connect(new_region, "--undo", "--yes", "--no-import")

    assert undone.returncode == 1
    assert "remove boot source 2" in undone.stderr
    new_region.ignoring = ()
    assert (await connect(new_region, "--undo", "--yes", "--no-import")).returncode == 0
    assert list(new_region.sources) == [1]


async def test_what_somebody_has_changed_since_is_left_alone_by_undo(
    old_region: Region, connect: Connect
) -> None:
    await connect(old_region, "--yes", "--no-import")
    old_region.sources[1]["url"] = "http://third.example.org/"

    undone = await connect(old_region, "--undo", "--yes", "--no-import")

    assert undone.returncode == 1
    assert "third.example.org" in undone.stderr
    assert old_region.sources[1]["url"] == "http://third.example.org/"
    assert old_region.settings["boot_images_no_proxy"] is False


async def test_a_command_that_is_killed_between_its_changes_can_be_undone(
    new_region: Region, connect: Connect
) -> None:
    """MAAS dies right after it has made the source: its number is not written down yet."""
    before = new_region.state()
    base = new_region.base

    async def die_after_making(request: web.Request) -> web.StreamResponse:
        if request.method == "POST" and request.path.endswith("boot-sources/"):
            url = connect.proxy_url + MOUNT
            new_region.add_source(url, keyring_filename=KEYRING)
            raise ConnectionResetError
        new_region.failing = None
        answer = await forward(request, base)
        new_region.failing = die_after_making
        return answer

    new_region.failing = die_after_making
    failed = await connect(new_region, "--yes")
    new_region.failing = None
    undone = await connect(new_region, "--undo", "--yes", "--no-import")

    assert failed.returncode == 1
    assert undone.returncode == 0, undone.stderr
    assert new_region.state() == before


async def forward(request: web.Request, base: str) -> web.Response:
    """Ask the MAAS itself."""
    headers = {name: value for name, value in request.headers.items() if name in {"Authorization", "Accept"}}
    host = base.removesuffix("/MAAS")
    async with (
        ClientSession() as session,
        session.request(request.method, host + str(request.rel_url), headers=headers) as response,
    ):
        body = await response.read()
        return web.Response(body=body, status=response.status, content_type=response.content_type)


async def test_what_is_missing_or_wrong_on_the_command_line_is_told_and_nothing_is_changed(
    old_region: Region, connect: Connect, tmp_path: Path
) -> None:
    nowhere = Connect(tmp_path, "http://127.0.0.1:9")
    seen = {"SSTREAM_PROXY_URL": connect.proxy_url}
    asked, keyless, wrong, away, silent = await asyncio.gather(
        connect(old_region),
        connect.raw("maas", old_region.base, "--yes"),
        connect.raw(
            "maas", old_region.base, "--yes", SSTREAM_PROXY_MAAS_KEY="consumer1:token22:other", **seen
        ),
        connect.raw("maas", "http://127.0.0.1:9/MAAS", "--yes", SSTREAM_PROXY_MAAS_KEY=KEY, **seen),
        nowhere(old_region, "--yes"),
    )

    assert (asked.returncode, "--yes" in asked.stderr) == (2, True)
    assert (keyless.returncode, "--key-file FILE" in keyless.stderr) == (2, True)
    assert "does not accept the key" in wrong.stderr
    assert (away.returncode, "cannot be reached" in away.stderr) == (1, True)
    assert "nothing answers at" in silent.stderr
    assert old_region.changes == []
    assert old_region.sources[1]["url"] == UPSTREAM


class Terminal:
    """Somebody at a terminal."""

    def __init__(self, connect: Connect, *arguments: str) -> None:
        self.shown = b""
        self._typed, own = os.openpty()
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "proxy",
                "connect",
                *arguments,
                "--config",
                f"{connect.folder}/config.toml",
            ],
            stdin=own,
            stdout=own,
            stderr=own,
        )
        os.close(own)

    def answer(self, question: bytes, text: str) -> None:
        """Wait for a question, and type an answer."""
        while question not in self.shown:
            self.shown += os.read(self._typed, 4096)
        os.write(self._typed, f"{text}\n".encode())

    def end(self) -> int:
        """Wait for the end; return the exit code."""
        with contextlib.suppress(OSError):
            while data := os.read(self._typed, 4096):
                self.shown += data
        os.close(self._typed)
        return self._process.wait(60)


@pytest.mark.parametrize(("answer", "code"), [("n", 1), ("y", 0)])
async def test_somebody_at_a_terminal_is_asked_for_the_key_and_for_consent(
    old_region: Region, connect: Connect, answer: str, code: int
) -> None:
    words = ("maas", old_region.base, "--proxy-url", connect.proxy_url, "--keyring", KEYRING, "--no-import")

    def sit_there() -> tuple[int, bytes]:
        terminal = Terminal(connect, *words)
        terminal.answer(b"API key:", KEY)
        terminal.answer(b"Change this?", answer)
        return terminal.end(), terminal.shown

    ended, shown = await asyncio.to_thread(sit_there)

    assert ended == code, shown
    assert KEY.encode() not in shown
    assert f"url: {UPSTREAM} -> {connect.proxy_url}{MOUNT}".encode() in shown
    assert (old_region.sources[1]["url"] == UPSTREAM) == (answer == "n")


async def test_the_proxys_address_is_found_on_the_way_to_maas(
    old_region: Region, connect: Connect, service: Service
) -> None:
    """It listens at all addresses; MAAS is on this machine, which it reaches by its loopback address."""
    port = service.base.rpartition(":")[2]
    config = connect.folder / "config.toml"
    text = (await asyncio.to_thread(config.read_text)).replace("127.0.0.1:0", f"0.0.0.0:{port}")
    await asyncio.to_thread(config.write_text, text)

    done = await connect.raw("maas", old_region.base, "--yes", "--no-import", SSTREAM_PROXY_MAAS_KEY=KEY)

    assert done.returncode == 0, done.stderr
    assert old_region.sources[1]["url"] == f"http://127.0.0.1:{port}{MOUNT}"


async def test_a_certificate_of_an_unknown_authority_needs_its_file(
    keyring: Path, connect: Connect, tmp_path: Path
) -> None:
    certificate = await asyncio.to_thread(make_certificate, tmp_path)
    async with run_region(Region("3.4.1", keyring), certificate.server) as region:
        refused = await connect(region, "--check")
        told = await connect(region, "--check", "--ca", str(certificate.authority))

    assert "--ca FILE" in refused.stderr
    assert told.returncode == 1
    assert "no boot source of this MAAS is" in told.stdout
