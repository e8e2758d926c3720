"""Root exports from the cache of a service: it is read as its owner, and written where root may write."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands import Commands
from support.keys import SigningKey
from support.maas import maas_tree
from support.origin import Origin
from support.service_user import SERVICE, commands_of_service, needs_root, open_folder
from support.tree import SignedTree

from proxy.bundles.earlier import Earlier

pytestmark = needs_root


@pytest.fixture
def tree(tmp_path: Path, key: SigningKey) -> SignedTree:
    """Return a tree like MAAS's."""
    return maas_tree(tmp_path / "upstream", key, versions=1)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder that every user may reach."""
    with open_folder() as folder:
        yield folder


@pytest.fixture
async def commands(folder: Path, origin: Origin, keyring: Path) -> Commands:
    """Return commands for root, over a data directory that belongs to a service, with something in it."""
    commands = commands_of_service(folder, origin, keyring)
    assert (await commands.run("prefetch", "--maas", "noble")).returncode == 0
    return commands


def _export(commands: Commands, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "proxy", "export", "--config", str(commands.config), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_root_writes_to_its_stick_and_signs_with_its_key(
    commands: Commands, folder: Path, key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    stick = folder / "stick"
    stick.mkdir(mode=0o700)
    monkeypatch.setenv("GNUPGHOME", str(key.home))
    for name, options in (("bundle", ()), ("copied", ("--copy",)), ("b.tar", ("--part-size", "2MiB"))):
        done = _export(commands, "--to", str(stick / name), "--sign", key.fingerprint, *options)
        assert done.returncode == 0, done.stderr
    tar = next(stick.glob("b*.tar"))
    assert all(Earlier.read(one).signatures for one in (stick / "bundle", stick / "copied", tar))
    written = [*(stick / "bundle").glob("*"), *(stick / "copied").rglob("*"), *stick.glob("*")]
    assert {one.stat().st_uid for one in written} == {0}
    theirs = [one for one in commands.data.rglob("*") if one.stat().st_uid != SERVICE]
    assert not theirs


def test_faults_there_are_told_as_anywhere(commands: Commands, folder: Path) -> None:
    (folder / "photos").mkdir()
    (folder / "photos/cat.jpg").write_text("cat")
    done = _export(commands, "--to", str(folder / "photos"))
    assert (done.returncode, "cat.jpg" in done.stderr) == (1, True)
    done = _export(commands, "--to", str(folder / "bundle"), "--sign", "nobody@example.test")
    assert (done.returncode, "root has no secret key nobody@example.test" in done.stderr) == (1, True)
    done = _export(commands, "--to", "/proc/bundle")
    assert (done.returncode, "/proc/bundle" in done.stderr) == (1, True)


def test_standard_output_is_written_by_whoever_has_it(commands: Commands, folder: Path) -> None:
    with (folder / "b.tar").open("wb") as file:
        command = [sys.executable, "-m", "proxy", "export", "--config", str(commands.config), "--to", "-"]
        assert subprocess.run(command, stdout=file, check=False).returncode == 0
    assert Earlier.read(folder / "b.tar").bundle.parts == 1
