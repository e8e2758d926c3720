"""LXD's own client, over https, against the proxy: remotes, lists, and images that it checks itself.

It needs no daemon for this. LXD reads `index.json` and the lists that it names, never a signature; what it
gets from the proxy was verified all the same.
"""

import asyncio
import json
import logging
import os
import shutil
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest
from support.certificates import Certificate, make_certificate
from support.faults import Fault
from support.lxd_images import add_image
from support.origin import Origin
from support.running import RunningProxy, make_config, run_proxy
from support.tree import SignedTree, TreeItem

from proxy.mirror import Mirror, Trust

pytestmark = pytest.mark.skipif(
    shutil.which("lxc") is None,
    reason="lxc, LXD's client, is not installed: apt-get install --no-install-recommends lxd-client",
)

MIB = 1024 * 1024
PATIENCE_S = 60.0
MOUNT = "/some/path/"


class Lxc:
    """`lxc` with a configuration of its own that trusts one authority."""

    def __init__(self, home: Path, authority: Path) -> None:
        (home / "lxd").mkdir(parents=True)
        kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        self._env = {
            **kept,
            "HOME": str(home),
            "LXD_CONF": str(home / "lxd"),
            "SSL_CERT_FILE": str(authority),
        }

    async def run(self, *arguments: object) -> str:
        """Run a command that must succeed, and return what it printed."""
        status, output, log = await self.attempt(*arguments)
        assert status == 0, log
        return output

    async def attempt(self, *arguments: object) -> tuple[int, str, str]:
        """Run a command; return its exit status, output and complaints."""
        process = await asyncio.create_subprocess_exec(
            *("lxc", *map(str, arguments)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._env,
        )
        try:
            async with asyncio.timeout(PATIENCE_S):
                output, log = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return process.returncode or 0, output.decode(), log.decode()


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    """Return a certificate for loopback."""
    return make_certificate(tmp_path)


@pytest.fixture
def images(tree: SignedTree) -> list[TreeItem]:
    """Publish one system image: its metadata and its root file system, in the shape that LXD wants."""
    return add_image(tree, "r1")


@pytest.fixture
async def proxy(
    tmp_path: Path, origin: Origin, keyring: Path, certificate: Certificate
) -> AsyncIterator[RunningProxy]:
    """Return a proxy that speaks TLS, with a mirror that is signed."""
    mirror = Mirror(name="images", mount=MOUNT, origins=(origin.url,), keyring=str(keyring))
    async with run_proxy(make_config(tmp_path / "data", mirror), tls=certificate.server) as proxy:
        yield proxy


@pytest.fixture
async def lxc(tmp_path: Path, proxy: RunningProxy, certificate: Certificate) -> Lxc:
    """Return a client that has the proxy as remote `r`."""
    client = Lxc(tmp_path / "home", certificate.authority)
    await client.run("remote", "add", "r", proxy.base + MOUNT, "--protocol", "simplestreams")
    return client


async def test_images_are_listed(lxc: Lxc, images: list[TreeItem]) -> None:
    listed = json.loads(await lxc.run("image", "list", "r:", "--format=json"))

    assert "testos/r1" in {alias["name"] for image in listed for alias in image["aliases"]}
    assert listed[0]["fingerprint"] == sha256(b"".join(item.read() for item in images)).hexdigest()


async def test_an_image_is_downloaded_and_found_right(
    lxc: Lxc, origin: Origin, images: list[TreeItem], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each file is first asked as plain http on the TLS port, in vain and without a word in the log."""
    caplog.set_level(logging.WARNING)
    for target in (tmp_path / "cold", tmp_path / "warm"):
        target.mkdir()
        await lxc.run("image", "export", "r:testos/r1", f"{target}/")

        got = sorted(sha256(path.read_bytes()).hexdigest() for path in target.iterdir())
        assert got == sorted(item.digest for item in images)

    assert [origin.count(item.path) for item in images] == [1, 1]
    assert caplog.records == []


async def test_an_image_that_is_held_is_exported_while_the_origin_is_down(
    lxc: Lxc,
    proxy: RunningProxy,
    origin: Origin,
    images: list[TreeItem],
    tmp_path: Path,
    certificate: Certificate,
) -> None:
    """Also to a client that has never asked before, long after the lists were last checked."""
    await lxc.run("image", "export", "r:testos/r1", f"{tmp_path}/first")
    await origin.stop()
    proxy.clock.advance(7 * 24 * 3600)
    other = Lxc(tmp_path / "other", certificate.authority)
    await other.run("remote", "add", "r", proxy.base + MOUNT, "--protocol", "simplestreams")

    (tmp_path / "out").mkdir()
    await other.run("image", "export", "r:testos/r1", f"{tmp_path}/out/")

    got = {sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "out").iterdir()}
    assert got == {item.digest for item in images}


async def test_a_wrong_image_is_not_accepted(
    lxc: Lxc, origin: Origin, images: list[TreeItem], tmp_path: Path
) -> None:
    """The client sees a body cut short; it says so and keeps nothing."""
    origin.fault(images[1].path, Fault(corrupt_at=MIB))

    status, _, log = await lxc.attempt("image", "export", "r:testos/r1", f"{tmp_path}/out")

    assert status != 0
    assert "EOF" in log


@pytest.mark.usefixtures("images")
async def test_an_unsigned_stream_trusted_by_tls_is_listed(
    tmp_path: Path, certificate: Certificate, origin: Origin
) -> None:
    """As images.linuxcontainers.org publishes: index.json alone, believed for its https."""
    mirror = Mirror(name="lxc", mount="/", origins=(origin.url,), trust=Trust.TLS)
    client = Lxc(tmp_path / "home", certificate.authority)
    async with run_proxy(make_config(tmp_path / "data", mirror), tls=certificate.server) as proxy:
        await client.run("remote", "add", "r", proxy.base, "--protocol", "simplestreams")
        listed = await client.run("image", "list", "r:testos", "--format=csv", "--columns=l")
        await client.run("image", "export", "r:testos/r1", f"{tmp_path}/out")

    assert "testos/r1" in listed
    assert not any(seen.path.endswith((".sjson", ".gpg")) for seen in origin.requests)
