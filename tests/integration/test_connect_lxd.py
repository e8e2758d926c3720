"""`connect lxd` by LXD's own client, and `connect incus` by a program in its place: added, tried, removed."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.certificates import Certificate, make_certificate
from support.commands import Result
from support.lxd_images import add_image
from support.origin import Origin
from support.running import RunningProxy, make_config, run_proxy
from support.serving import write_config
from support.tree import SignedTree
from support.warm import run_warm

from proxy.connect.remotes import INCUS, LXC
from proxy.mirror import Mirror

MOUNT = "/some/path/"
needs_lxc = pytest.mark.skipif(
    shutil.which("lxc") is None,
    reason="lxc, LXD's client, is not installed: apt-get install --no-install-recommends lxd-client",
)
FAKE = """#!/bin/sh
# Incus's client as far as remotes go: what it has is in a file, and it trusts what lies in servercerts.
conf=$HOME/.config/incus
case "$1 $2" in
"remote list") cat "$conf/remotes.json" 2>/dev/null || echo '{}' ;;
"remote add")
  [ -d "$conf" ] || { echo "Error: Unable to create the configuration file" >&2; exit 1; }
  echo "{\\"$3\\": {\\"Addr\\": \\"$4\\"}}" > "$conf/remotes.json" ;;
"remote remove") rm "$conf/remotes.json" ;;
"image list")
  [ -f "$conf/servercerts/${3%:}.crt" ] || { echo 'Error: x509: unknown authority' >&2; exit 1; }
  echo '[{"fingerprint": "ab"}]' ;;
esac
"""


@dataclass
class Connect:
    """The command, with a home of its own and no authority that it trusts."""

    home: Path
    config: Path
    url: str

    async def __call__(self, *arguments: str, **environ: str) -> Result:
        kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        environ = {**kept, "HOME": str(self.home), "LXD_CONF": str(self.home / "lxd"), **environ}
        words = ["connect", *arguments, "--config", str(self.config)]
        status, out, err = await run_warm(words, environ)
        return Result(arguments, status, out.decode(), err.decode())


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path)


@pytest.fixture
def mirror(origin: Origin, keyring: Path, tree: SignedTree) -> Mirror:
    add_image(tree, "r1")
    return Mirror(name="images", mount=MOUNT, origins=(origin.url,), keyring=str(keyring))


@pytest.fixture
async def proxy(tmp_path: Path, mirror: Mirror, certificate: Certificate) -> AsyncIterator[RunningProxy]:
    async with run_proxy(make_config(tmp_path / "data", mirror), tls=certificate.server) as proxy:
        yield proxy


@pytest.fixture
async def connect(tmp_path: Path, mirror: Mirror, certificate: Certificate, proxy: RunningProxy) -> Connect:
    def make() -> Connect:
        home = tmp_path / "home"
        (home / "lxd").mkdir(parents=True)
        config = write_config(tmp_path, mirror, certificate=certificate)
        return Connect(home, config, proxy.base)

    return await asyncio.to_thread(make)


@needs_lxc
async def test_a_remote_is_added_with_its_certificate_tried_and_removed(connect: Connect) -> None:
    words = ("lxd", "cache", "--proxy-url", connect.url)

    added = await connect(*words)
    again = await connect(*words)
    builtin = await connect("lxd", "local", "--proxy-url", connect.url)
    other = await connect("lxd", "cache", "--proxy-url", "https://other.example.org")
    kept = await connect("lxd", "cache", "--undo", "--proxy-url", "https://other.example.org")
    removed = await connect("lxd", "cache", "--undo")
    nothing = await connect("lxd", "cache", "--undo")

    assert added.returncode == 0, added.stderr
    assert "trusts the certificate in" in added.stdout
    assert "tried: 1 image" in added.stdout
    assert (again.returncode, "is there already" in again.stdout) == (0, True)
    assert (builtin.returncode, "which is unix://" in builtin.stderr) == (1, True)
    assert (other.returncode, "take another name" in other.stderr) == (1, True)
    assert (kept.returncode, "it stays" in kept.stderr) == (1, True)
    assert (removed.returncode, "was removed" in removed.stdout) == (0, True)
    assert "nothing to undo" in nothing.stdout
    assert not await asyncio.to_thread((connect.home / "lxd/servercerts/cache.crt").exists)


@needs_lxc
async def test_a_mirror_that_is_not_there_leaves_nothing_behind(connect: Connect) -> None:
    failed = await connect("lxd", "cache", "--proxy-url", "https://127.0.0.1:9")

    assert failed.returncode == 1
    assert "`lxc image list" in failed.stderr
    assert "nothing to undo" in (await connect("lxd", "cache", "--undo")).stdout
    assert not await asyncio.to_thread((connect.home / "lxd/servercerts/cache.crt").exists)


async def test_incus_keeps_its_certificates_elsewhere(connect: Connect, tmp_path: Path) -> None:
    program = tmp_path / "bin/incus"
    await asyncio.to_thread(program.parent.mkdir)
    await asyncio.to_thread(program.write_text, FAKE)
    await asyncio.to_thread(program.chmod, 0o755)
    path = f"{program.parent}:{os.environ['PATH']}"

    added = await connect("incus", "--proxy-url", connect.url, PATH=path)
    remotes = json.loads(await asyncio.to_thread((connect.home / ".config/incus/remotes.json").read_text))
    removed = await connect("incus", "--undo", PATH=path)

    assert added.returncode == 0, added.stderr
    assert remotes == {"cache": {"Addr": connect.url + MOUNT.rstrip("/")}}
    assert removed.returncode == 0, removed.stderr
    assert not await asyncio.to_thread((connect.home / ".config/incus/servercerts/cache.crt").exists)


async def test_what_is_missing_is_told(connect: Connect, tmp_path: Path, mirror: Mirror) -> None:
    plain = Connect(
        connect.home, await asyncio.to_thread(write_config, tmp_path / "home", mirror), connect.url
    )
    absent, http, wrong = await asyncio.gather(
        connect("incus", "--proxy-url", connect.url, PATH="/nonexistent"),
        plain("lxd") if shutil.which("lxc") else plain("lxd", PATH="/nonexistent"),
        connect("lxd", "--mirror", "imagse", "--proxy-url", connect.url),
    )

    assert (absent.returncode, "is not installed here" in absent.stderr) == (1, True)
    if shutil.which("lxc"):
        assert (http.returncode, "speaks only https" in http.stderr) == (2, True)
        assert (wrong.returncode, "did you mean 'images'" in wrong.stderr) == (2, True)


def test_where_the_clients_keep_what_they_know() -> None:
    home = {"HOME": "/home/ada", "PATH": "/nonexistent"}
    assert LXC.folder(home) == Path("/home/ada/.config/lxc")
    assert LXC.folder({**home, "LXD_CONF": "/etc/lxd"}) == Path("/etc/lxd")
    assert INCUS.folder(home) == Path("/home/ada/.config/incus")
    assert INCUS.folder({**home, "INCUS_CONF": "/etc/incus"}) == Path("/etc/incus")
