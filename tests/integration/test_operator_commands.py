"""What an operator types: the same words and effects as over HTTP, beside a server and without one."""

import asyncio
import getpass
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support.commands import Commands, Result, events
from support.exchange import read
from support.faults import Fault
from support.origin import Origin
from support.running import Service
from support.serving import run_service
from support.tree import SignedTree, TreeItem
from support.warm import wait_warm
from yarl import URL

from proxy.cli.running import PARTIAL
from proxy.digest import Digest
from proxy.store.pins import Pins

PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
INDEX = "streams/v1/index.sjson"


@pytest.fixture
def items(tree: SignedTree) -> dict[str, TreeItem]:
    """Return one item of each of three versions."""
    found = {
        version: tree.add_item(PRODUCT, version, "squashfs", size=1000 + number)
        for number, version in enumerate(("20250701", "20250718", "20250801"))
    }
    tree.publish()
    return found


@pytest.fixture
def commands(tmp_path: Path, origin: Origin, keyring: Path) -> Commands:
    return Commands(tmp_path, origin, keyring)


@pytest.fixture
async def filled(commands: Commands, items: dict[str, TreeItem]) -> Commands:
    """Return the commands, with all items in the store and no pins."""
    await right(commands, "prefetch", "ftype=squashfs", "--json")
    pins = (await stats(commands))["store"]["pins"]
    for name in pins:
        await right(commands, "unpin", "--name", name)
    assert await held(commands, items) == set(items)
    return commands


@pytest.fixture
async def server(commands: Commands) -> AsyncIterator[Service]:
    """Return a server on the commands' data directory."""
    commands.config.write_text('listen = ["127.0.0.1:0"]\nworkers = 2\n' + commands.config.read_text())
    async with run_service(commands.config) as service:
        yield service


async def right(commands: Commands, command: str, *arguments: str) -> str:
    """Run a command that must succeed; return what it says."""
    result = await commands.run(command, *arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


async def wrong(commands: Commands, command: str, *arguments: str) -> Result:
    """Run a command that must not succeed, and must say why without a traceback."""
    result = await commands.run(command, *arguments)
    assert result.returncode in {1, 2}
    assert result.stderr
    assert "Traceback" not in result.stderr
    return result


async def stats(commands: Commands) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await right(commands, "stats", "--json"))
    return found


async def held(commands: Commands, items: dict[str, TreeItem]) -> set[str]:
    there = await commands.held(items.values())
    return {version for version, item in items.items() if item in there}


async def pinned(commands: Commands, items: dict[str, TreeItem], name: str = "by hand") -> set[str]:
    digests = await commands.in_ledger(lambda ledger: Pins(ledger).pinned_by(name))
    return {version for version, item in items.items() if Digest(item.digest) in digests}


def at(server: Service, path: str) -> URL:
    return URL(f"{server.base}/m/{path}", encoded=True)


# Pins


async def test_pin_and_unpin_by_path_version_and_digest(
    commands: Commands, items: dict[str, TreeItem]
) -> None:
    one, two, three = items.values()
    said = await right(commands, "pin", f"path={one.path}")
    await right(commands, "pin", "version_name=20250718")
    await right(commands, "pin", "--digest", three.digest)
    await right(commands, "pin", "--max", "1", "--name", "newest")

    assert said == "1 blob pinned as 'by hand' (1000 B)\n"
    assert await pinned(commands, items) == set(items)
    assert await pinned(commands, items, "newest") == {"20250801"}

    await right(commands, "unpin", "--digest", two.digest)
    assert await pinned(commands, items) == {"20250701", "20250801"}
    await right(commands, "unpin")
    assert await pinned(commands, items) == set()
    assert await pinned(commands, items, "newest") == {"20250801"}


# Removing


async def test_evict_spares_what_is_pinned_and_purge_does_not(
    filled: Commands, items: dict[str, TreeItem]
) -> None:
    await right(filled, "pin", "version_name=20250718")

    assert await right(filled, "evict", "ftype=squashfs") == (
        "1 is pinned or being read; 2 blobs gone (2.0 KiB)\n"
    )
    assert await held(filled, items) == {"20250718"}
    assert (await stats(filled))["store"]["evicted_blobs"] == 2

    assert await right(filled, "purge", "ftype=squashfs") == "1 blob gone (1001 B)\n"
    assert await held(filled, items) == await pinned(filled, items) == set()


async def test_purge_beside_a_server_forgets_failures_so_that_a_bad_item_is_fetched_at_once(
    commands: Commands, server: Service, items: dict[str, TreeItem], origin: Origin
) -> None:
    item = items["20250718"]
    origin.fault(item.path, Fault(corrupt_at=1), times=1)
    for _ in range(2):
        assert not (await read(at(server, item.path))).is_complete
    assert origin.count(item.path) == 1

    await right(commands, "purge", "version_name=20250718")

    assert (await read(at(server, item.path))).body == item.read()


@pytest.mark.parametrize("command", ["pin", "evict", "purge"])
async def test_what_is_meant_must_be_said(filled: Commands, items: dict[str, TreeItem], command: str) -> None:
    for arguments in ((), ("--digest", "abc"), ("path=no/such",), ("--mirror", "none", "--max", "1"),
                      ("--arch", "amd64", "--max", "1")):  # fmt: skip
        await wrong(filled, command, *arguments)
    assert await held(filled, items) == set(items)
    assert await pinned(filled, items) == set()


# Asking origins


async def test_a_running_server_obeys_offline_on_and_off_at_once(
    commands: Commands, server: Service, items: dict[str, TreeItem], origin: Origin
) -> None:
    here, missing, other = items.values()
    assert (await read(at(server, here.path))).body == here.read()
    assert await right(commands, "offline", "on") == "no origin is asked any more\n"
    origin.clear()

    assert (await read(at(server, here.path))).status == 200
    for _ in range(4):
        assert (await read(at(server, missing.path))).status == 504
    assert json.loads((await read(URL(f"{server.base}/-/stats"))).body)["offline"] is True
    said = await stats(commands)
    assert (said["offline"], said["mirrors"]["maas"]["is_asked"]) == (True, False)
    assert "offline, lists of 20" in await right(commands, "stats")
    assert "the proxy is offline" in (await wrong(commands, "refresh")).stderr
    assert origin.requests == []

    assert await right(commands, "offline", "off") == (
        "origins are asked again, but not by a server that was started with --offline\n"
    )
    for item in (missing, other):
        assert (await read(at(server, item.path))).body == item.read()
    said = await stats(commands)
    assert (said["offline"], said["mirrors"]["maas"]["is_asked"]) == (False, True)


async def test_offline_by_configuration_cannot_be_switched_and_is_told(
    commands: Commands, items: dict[str, TreeItem]
) -> None:
    assert items
    commands.config.write_text("offline = true\n" + commands.config.read_text())

    assert "told to be offline by its configuration or" in (await wrong(commands, "offline", "off")).stderr
    assert (await stats(commands))["offline"] is True


async def test_refresh_brings_a_running_server_the_new_lists(
    commands: Commands, server: Service, items: dict[str, TreeItem], tree: SignedTree
) -> None:
    assert items
    await read(at(server, INDEX))
    tree.publish()

    assert await right(commands, "refresh") == "checked maas\n"

    assert (await read(at(server, INDEX))).body == (tree.root / INDEX).read_bytes()


async def test_refresh_with_accept_older_lets_a_running_server_go_back_once(
    commands: Commands, server: Service, items: dict[str, TreeItem], tree: SignedTree
) -> None:
    assert items
    paths = (INDEX, "streams/v1/com.ubuntu.maas:stable:v3:download.sjson")
    earlier = [(tree.root / path).read_bytes() for path in paths]
    tree.publish()
    await right(commands, "refresh")
    for path, raw in zip(paths, earlier, strict=True):
        tree.write(path, raw)

    assert "is older than the one already accepted" in (await wrong(commands, "refresh")).stderr
    assert (await wrong(commands, "refresh", "--accept-older")).returncode == 2
    assert "was replaced by that of" in await right(commands, "refresh", "--accept-older", "maas")
    assert await right(commands, "refresh") == "checked maas\n"
    assert (await read(at(server, INDEX))).body == earlier[0]


async def test_a_refresh_that_fails_says_why_and_exits_with_1(
    commands: Commands, items: dict[str, TreeItem], origin: Origin
) -> None:
    assert items
    origin.fault("*", Fault(status=500))

    failed = await wrong(commands, "refresh", "maas")

    assert failed.returncode == 1
    assert "maas: " in failed.stderr
    assert "it answered with status 500" in failed.stderr
    assert (await wrong(commands, "refresh", "none")).returncode == 2


async def test_scrub_is_asked_of_a_server(filled: Commands, items: dict[str, TreeItem]) -> None:
    assert items
    before = (await stats(filled))["scrub"]["asked_at"]

    assert "hashed again" in await right(filled, "scrub")

    assert before == 0
    assert (await stats(filled))["scrub"]["asked_at"] != 0


# Figures


async def test_stats_as_json_is_what_a_server_says(
    commands: Commands, server: Service, items: dict[str, TreeItem], origin: Origin
) -> None:
    """Problems included, though the command itself never asks origins."""
    assert (await read(at(server, items["20250718"].path))).status == 200
    origin.fault("*", Fault(status=500))
    await wrong(commands, "refresh")

    told = await stats(commands)
    served = json.loads((await read(URL(f"{server.base}/-/stats"))).body)

    assert served["problems"]
    for known in (told, served):
        known["mirrors"] = {
            name: {key: value for key, value in mirror.items() if key not in {"checked_s_ago", "index_age_s"}}
            for name, mirror in known["mirrors"].items()
        }
    moving = {"now", "store"}
    assert {key: told[key] for key in told if key not in moving} == {
        key: served[key] for key in served if key not in moving
    }
    assert told["store"]["blobs"] == served["store"]["blobs"] > 1


async def test_stats_for_people_tell_what_is_held_and_pinned(
    filled: Commands, items: dict[str, TreeItem]
) -> None:
    """Whatever a pin is called: brackets are no markup."""
    assert items
    await right(filled, "pin", "--max", "1", "--name", "[/bold] [red]mine")

    said = await right(filled, "stats")

    assert f"{(await stats(filled))['store']['blobs']} blobs, " in said
    assert "[/bold] [red]mine: 1 blob," in said
    assert any(line.split()[:1] == ["maas"] for line in said.splitlines())


async def test_stats_need_neither_a_server_nor_a_store(commands: Commands, origin: Origin) -> None:
    await right(commands, "offline", "off")  # Makes the data directory, and asks no origin.
    told = await stats(commands)

    assert (told["store"]["blobs"], told["mirrors"]["maas"]["is_ready"]) == (0, False)
    assert "never asked for" in await right(commands, "stats")
    assert origin.requests == []


async def test_stats_tell_where_they_looked_and_who_was_asked_in_vain(
    commands: Commands, origin: Origin
) -> None:
    await origin.stop()
    await wrong(commands, "refresh")

    said = await right(commands, "stats")

    assert f"storing in {commands.data}" in said
    assert "never asked for" not in said
    assert "no verified lists" in said


async def test_what_is_missing_is_told_with_what_fetches_it(commands: Commands) -> None:
    await right(commands, "offline", "off")  # Makes the data directory, and asks no origin.
    told = await wrong(commands, "ready", "ftype=squashfs")

    assert "`prefetch` with the same words fetches what can be had" in told.stderr


async def test_a_prefetch_says_once_that_the_proxy_is_offline(
    commands: Commands, items: dict[str, TreeItem], origin: Origin
) -> None:
    """It keeps what is here all the same, and tries nothing."""
    await right(commands, "prefetch", "version_name=20250718")
    await right(commands, "offline", "on")
    origin.clear()
    told = await commands.run("prefetch", "ftype=squashfs")

    assert told.returncode == PARTIAL
    assert "(`sstream-proxy offline off` ends that), and 2 items of 3 cannot be fetched" in told.stderr
    assert not [one for one in (told.stdout + told.stderr).splitlines() if one.startswith("FAILED ")]
    assert "fetched 0 B in 0 items, 0.0 s" in told.stdout
    assert await pinned(commands, items, "prefetch maas: ftype=squashfs") == set(items)
    summary = events(await commands.run("prefetch", "--json", "ftype=squashfs"))["summary"]
    assert "2 items of 3 cannot be fetched" in summary["problem"]
    assert not origin.requests


async def test_offline_commands_tell_the_way_back(commands: Commands) -> None:
    await right(commands, "offline", "on")
    assert "sstream-proxy offline off, first" in (await wrong(commands, "refresh")).stderr


# Around them


def test_an_action_works_for_a_user_without_a_name() -> None:
    """As in a container that runs under a number alone."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    code = (
        "import os; os.setgroups([]); os.setgid(54321); os.setuid(54321)\n"
        "from proxy.cli.who import user\nprint(user())"
    )
    environ = {
        key: text for key, text in os.environ.items() if key not in {"LOGNAME", "USER", "LNAME", "USERNAME"}
    }

    result = subprocess.run([sys.executable, "-c", f"from proxy.cli import actions\n{code}"], env=environ,
                            capture_output=True, text=True, check=False)  # fmt: skip

    assert (result.stdout, result.returncode) == ("54321\n", 0), result.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_that_names_the_command(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "proxy", "completion", shell], capture_output=True, text=True, check=True
    )
    assert "_SSTREAM_PROXY_COMPLETE" in done.stdout
    assert "sstream-proxy" in done.stdout


def test_completion_knows_commands_and_their_options() -> None:
    def complete(words: str, number: int) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", "from proxy.cli import main; main(prog_name='sstream-proxy')"],
            env={**os.environ, "_SSTREAM_PROXY_COMPLETE": "bash_complete", "COMP_WORDS": words,
                 "COMP_CWORD": str(number)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return [line.partition(",")[2] for line in done.stdout.splitlines()]

    assert complete("sstream-proxy p", 1) == ["prefetch", "pin", "purge"]
    assert "--digest" in complete("sstream-proxy purge --d", 2)
    assert complete("sstream-proxy offline o", 2) == ["on", "off"]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_completion_script_is_understood_by_its_shell(shell: str, tmp_path: Path) -> None:
    status, script, _ = wait_warm(["completion", shell])
    assert status == 0
    file = tmp_path / "completion"
    file.write_bytes(script)
    try:
        checked = subprocess.run([shell, "-n", str(file)], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip(f"{shell} is not installed")
    assert (checked.returncode, checked.stderr) == (0, "")


async def test_what_commands_do_stands_in_the_servers_log(commands: Commands, server: Service) -> None:
    """As what is done over HTTP does; who reads the log need not know of the audit log."""
    async with asyncio.timeout(30):
        while "admin.done action=scrub" not in server.log():  # The keeper may begin after the workers.
            await right(commands, "scrub")
    await right(commands, "offline", "on")
    await right(commands, "offline", "off")
    async with asyncio.timeout(30):
        while "text=origins are asked again" not in server.log():  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.1)
    told = [line.split("INFO")[1].strip() for line in server.log().splitlines() if "=offline" in line]
    who = getpass.getuser()
    assert told == [
        f"admin.done action=offline by=user {who} what=on blobs=0 bytes=0 text=no origin is asked any more",
        (
            f"admin.done action=offline by=user {who} what=off blobs=0 bytes=0 text=origins are asked again,"
            " but not by a server that was started with --offline"
        ),
    ]
