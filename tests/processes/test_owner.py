"""Root, and others, beside a service with a user of its own: nobody leaves it files that it cannot change."""

import asyncio
import json
import os
import pwd
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from support.commands import Commands
from support.keys import SigningKey
from support.maas import maas_tree
from support.origin import Origin
from support.running import Service, make_config
from support.service_user import SERVICE, commands_of_service, needs_root, open_folder
from support.serving import run_service, write_config
from support.tree import SignedTree

from proxy.cli.options import UsageFault
from proxy.cli.owner import become_owner
from proxy.config.advice.machine import disk_faults
from proxy.mirror import Mirror
from proxy.store.files import StoreFault
from proxy.store.owners import Owner, find_strangers, is_unused

pytestmark = needs_root

SOMEBODY = 61235
RULE = '[[prefetch]]\nname = "lab"\nmirror = "maas"\nmaas = ["noble"]\n'


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
def commands(folder: Path, origin: Origin, keyring: Path) -> Commands:
    """Return commands for root, over a data directory that belongs to a service."""
    return commands_of_service(folder, origin, keyring, RULE)


def not_of(uid: int, folder: Path) -> list[str]:
    """Return what below a folder belongs to somebody else."""
    return [str(path) for path in (folder, *folder.rglob("*")) if path.lstat().st_uid != uid]


async def test_no_command_of_root_leaves_a_file_of_root_beside_a_service(commands: Commands) -> None:
    for arguments in (
        ("prefetch", "--maas", "noble"),
        ("sync",),
        ("ready", "--rule", "lab"),
        ("query", "os~grub"),
        ("stats",),
        ("pin", "release=noble", "--name", "p"),
        ("unpin", "--name", "p"),
        ("refresh",),
        ("scrub",),
        ("evict", "os~grub"),
        ("purge", "release=noble"),
        ("offline", "on"),
        ("offline", "off"),
    ):
        result = await commands.run(*arguments)
        assert result.returncode == 0, result.stderr
        assert f"going on as user {SERVICE}, to whom {commands.data} belongs" in result.stderr
        assert not_of(SERVICE, commands.data) == [], arguments


async def test_whose_it_is_shows_in_what_is_there_where_the_folder_is_roots(commands: Commands) -> None:
    await commands.run("refresh")
    os.chown(commands.data, 0, SERVICE)
    commands.data.chmod(0o775)

    await commands.run("prefetch", "--maas", "noble")

    assert not_of(SERVICE, commands.data) == [str(commands.data)]


async def test_where_the_owner_cannot_get_root_is_told_the_command(commands: Commands) -> None:
    commands.data.parent.chmod(0o700)

    result = await commands.run("prefetch", "--maas", "noble")

    assert result.returncode == 2
    assert "who cannot get there past the folders above it: run it as `sudo setpriv" in result.stderr
    assert not_of(SERVICE, commands.data) == []


@pytest.mark.parametrize("begin", ["no folder", "root's folder", "an empty disk"])
async def test_where_nothing_is_stored_yet_root_becomes_the_user_of_the_package(
    commands: Commands, monkeypatch: pytest.MonkeyPatch, begin: str
) -> None:
    user = pwd.getpwnam("nobody")
    monkeypatch.setenv("SSTREAM_PROXY_USER", user.pw_name)
    os.chown(commands.data, 0, 0)
    if begin == "no folder":
        commands.data.rmdir()
    if begin == "an empty disk":
        (commands.data / "lost+found").mkdir(mode=0o700)

    result = await commands.run("prefetch", "--maas", "noble")

    assert result.returncode == 0, result.stderr
    assert f"going on as nobody, to whom {commands.data} belongs" in result.stderr
    assert [path for path in not_of(user.pw_uid, commands.data) if "lost+found" not in path] == []
    if begin == "no folder":
        assert commands.data.stat().st_mode & 0o777 == 0o700


async def test_what_root_has_stored_is_not_taken_for_the_packages_but_told_of(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.chown(commands.data, 0, 0)
    (commands.data / "letters").touch()
    monkeypatch.setenv("SSTREAM_PROXY_USER", "nobody")

    result = await commands.run("refresh")

    assert result.returncode == 2
    assert f"`sudo chown -R nobody: {commands.data}` gives it to them" in result.stderr
    assert [one.name for one in commands.data.iterdir()] == ["letters"]
    monkeypatch.setenv("SSTREAM_PROXY_USER", "nobody-of-that-name")
    assert "there is no user 'nobody-of-that-name'" in (await commands.run("refresh")).stderr


async def test_what_belongs_to_root_stays_with_root(commands: Commands) -> None:
    os.chown(commands.data, 0, 0)
    result = await commands.run("prefetch", "--maas", "noble")

    assert result.returncode == 0
    assert "going on as" not in result.stderr
    assert not_of(0, commands.data) == []


async def test_a_server_that_root_starts_by_hand_runs_as_the_owner_and_reads_its_configuration_again(
    folder: Path, mirror: Mirror
) -> None:
    data = folder / "data"
    data.mkdir()
    os.chown(data, SERVICE, SERVICE)
    config = write_config(folder, mirror)
    config.chmod(0o600)
    async with run_service(config) as service:
        pids = [service.process.pid, *service.children()]
        users = {_user(pid) for pid in pids}
        service.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(30):
            while not {"config.accepted", "config.rejected"} & set(service.log().split()):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        assert "config.accepted" in service.log().split()

    assert users == {SERVICE}
    assert not_of(SERVICE, data) == []


def _user(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[2] for line in status.splitlines() if line.startswith("Uid:")))


async def test_files_that_root_has_left_are_named_with_the_command_that_gives_them_back(
    commands: Commands,
) -> None:
    await commands.run("refresh")
    for name in ("boards/maas", "ledger/records", "audit.log"):
        (commands.data / name).touch()
        os.chown(commands.data / name, 0, 0)
    told = f"belong to root, and user {SERVICE} cannot change them: audit.log, boards/maas, ledger/records"
    remedy = f"sudo chown -R {SERVICE}:{SERVICE} {commands.data}"

    for arguments in (("check-config",), ("stats",), ("ready", "--rule", "lab")):
        result = await commands.run(*arguments)
        assert told in result.stderr, arguments
        assert remedy in result.stderr

    (commands.data / "boards/maas").unlink()  # No process could start with it.
    settings = commands.config.read_text()
    commands.config.write_text(f'listen = ["127.0.0.1:0"]\nworkers = 1\n{settings}')
    async with run_service(commands.config) as service:
        stats = await _stats(service)
    problems = {problem["text"]: problem for problem in stats["problems"]}
    (found,) = [text for text in problems if "belong to root" in text]
    assert remedy in problems[found]["advice"]
    assert stats["store"]["strangers"]["files"] == 2
    os.chown(commands.data / "audit.log", SERVICE, SERVICE)
    os.chown(commands.data / "ledger/records", SERVICE, SERVICE)
    assert await asyncio.to_thread(find_strangers, commands.data, Owner(SERVICE, SERVICE)) is None


async def _stats(service: Service) -> dict[str, Any]:
    async with ClientSession() as session, session.get(f"{service.base}/-/stats") as reply:
        stats: dict[str, Any] = await reply.json()
    assert "problems" in stats, (stats, service.log())
    return stats


async def test_a_folder_of_root_is_no_fault_of_the_origin(commands: Commands, tree: SignedTree) -> None:
    await commands.run("refresh")
    for folder in (commands.data / "incoming", commands.data / "blobs/sha256"):
        os.chown(folder, 0, 0)
    tree.publish()

    refreshed = await commands.run("refresh")
    stats = json.loads((await commands.run("stats", "--json")).stdout)

    (of_mirror,) = [one for one in stats["problems"] if one["subject"] == "mirror maas"]
    assert refreshed.returncode == 1
    assert "a document cannot be stored: Permission denied" in refreshed.stderr
    assert f"it belongs to root, and this is user {SERVICE}: sudo chown -R" in refreshed.stderr
    assert "which is this machine's fault: a document cannot be stored" in of_mirror["text"]
    assert "the origins have nothing to do with it" in of_mirror["advice"]
    assert stats["mirrors"]["maas"]["is_local"]
    assert not stats["store"]["is_writable"]
    assert any("chown -R" in fault for fault in stats["store"]["faults"])


async def test_a_blob_folder_that_nobody_may_look_into_holds_nothing(
    commands: Commands, tree: SignedTree
) -> None:
    await commands.run("prefetch", "--maas", "noble")
    loader = next(item for item in tree.items if "bootloaders" in item.path)
    folder = commands.blob(loader).parent
    os.chown(folder, 0, 0)
    folder.chmod(0o700)

    def look() -> str:
        become_owner(make_config(commands.data))
        os.setresuid(SERVICE, SERVICE, SERVICE)
        from proxy.digest import Digest  # noqa: PLC0415
        from proxy.store.local.store import LocalStore  # noqa: PLC0415

        store, digest = LocalStore(commands.data), Digest(loader.digest)
        _drop_capabilities()
        held = store.stored_bytes(digest, loader.size)
        return f"{store.has(digest)} {held} {store.problem(digest, loader.size, deep=False)}"

    assert in_child(look) == "False 0 cannot be read: Permission denied"


def _drop_capabilities() -> None:
    import ctypes  # noqa: PLC0415

    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    assert ctypes.CDLL(None).capset(header, (ctypes.c_uint32 * 6)()) == 0


async def test_another_user_is_told_who_may(commands: Commands) -> None:
    await commands.run("refresh")
    commands.data.chmod(0o777)

    def attempt() -> str:
        _become_somebody()
        become_owner(make_config(commands.data))
        return "nothing"

    told = in_child(attempt)

    assert f"{commands.data} belongs to user {SERVICE}, who could not change what you store there" in told
    assert f"sudo setpriv --reuid={SERVICE} --regid={SERVICE} --clear-groups" in told
    assert not_of(SERVICE, commands.data) == []


@pytest.mark.parametrize("closed", [".", ".."])
async def test_another_user_whom_the_folder_is_closed_to_is_not_told_to_take_it(
    commands: Commands, closed: str
) -> None:
    """As the folder that systemd makes: with StateDirectoryMode=0700, or below /var/lib/private."""
    await commands.run("refresh")
    (commands.data / closed).resolve().chmod(0o700)

    def attempt() -> str:
        _become_somebody()
        become_owner(make_config(commands.data))
        return "nothing"

    told = in_child(attempt)

    assert f"{commands.data} is closed to user {SOMEBODY}: run it as `sudo " in told
    assert (f"setpriv --reuid={SERVICE}" in told) == (closed == ".")


async def test_a_first_start_in_a_folder_that_a_group_may_write_is_nobody_elses(folder: Path) -> None:
    data = folder / "data"
    data.mkdir()
    os.chown(data, 0, SERVICE)
    data.chmod(0o770)

    def attempt() -> str:
        os.setgroups([SERVICE])
        os.setresuid(SERVICE, SERVICE, SERVICE)
        become_owner(make_config(data))
        return "may go on"

    assert in_child(attempt) == "may go on"


async def test_a_folder_that_one_may_not_look_into_is_not_taken_for_an_unused_one(commands: Commands) -> None:
    await commands.run("refresh")
    commands.data.chmod(0o700)

    def look() -> str:
        _become_somebody()
        return f"unused: {is_unused(commands.data)}"

    assert in_child(look) == "unused: False"


def test_an_owner_with_a_name_is_told_by_it() -> None:
    nobody = pwd.getpwnam("nobody")
    assert str(Owner(nobody.pw_uid, nobody.pw_gid)) == "nobody"
    assert Owner(nobody.pw_uid, nobody.pw_gid).for_chown == "nobody:"


@pytest.mark.parametrize(
    ("mode", "advice"),
    [
        (0o755, "cannot make it in {above}: sudo install -d -o 61234 '{data}', or name another data_dir"),
        (0o700, "may not look into {above}: name another data_dir"),
    ],
)
def test_nobody_is_told_to_give_away_what_is_above_a_folder_that_is_not_there(
    folder: Path, mode: int, advice: str
) -> None:
    above = folder / "above"
    above.mkdir(mode=mode)
    data = above / "the data"

    def attempt() -> str:
        os.setgroups([])
        os.setresgid(SERVICE, SERVICE, SERVICE)
        os.setresuid(SERVICE, SERVICE, SERVICE)
        try:
            data.mkdir()
        except OSError as error:
            return str(StoreFault.of(data, error))
        return "made"

    told = in_child(attempt)

    assert told == (
        f"{data}: Permission denied; user {SERVICE} {advice.format(above=above, data=data)} (--data-dir)"
    )


def test_a_folder_that_one_may_not_look_into_is_no_fault_of_the_configuration(folder: Path) -> None:
    (folder / "above").mkdir(mode=0o700)
    config = make_config(folder / "above" / "data")

    def attempt() -> str:
        os.setgroups([])
        os.setresgid(SERVICE, SERVICE, SERVICE)
        os.setresuid(SERVICE, SERVICE, SERVICE)
        return str(list(disk_faults(config)))

    assert in_child(attempt) == "[]"


def _become_somebody() -> None:
    os.setgroups([])
    os.setresgid(SOMEBODY, SOMEBODY, SOMEBODY)
    os.setresuid(SOMEBODY, SOMEBODY, SOMEBODY)


def in_child(act: Callable[[], str]) -> str:
    """Return what `act` returns or raises, in a process that may become somebody else."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            told = act()
        except (UsageFault, StoreFault, OSError) as problem:
            told = str(problem)
        os.write(write, told.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        told = file.read()
    os.waitpid(pid, 0)
    return told
