"""The command `check-health`, against a running server, a data directory, and what is neither."""

import asyncio
import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.certificates import make_certificate
from support.commands import Commands
from support.faults import Fault
from support.origin import Origin
from support.running import Clock, RunningProxy, make_config, run_proxy
from support.tree import SignedTree

from proxy.cli import main
from proxy.mirror import Mirror
from proxy.web.admin.permission import AdminOptions


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["check-health", *map(str, arguments)])


async def check(*arguments: object) -> tuple[int, str]:
    result = await asyncio.to_thread(run, *arguments)
    return result.exit_code, result.output


async def test_a_running_server_is_asked(proxy: RunningProxy, tree: SignedTree) -> None:
    tree.publish()
    await proxy.read("streams/v1/index.sjson")

    code, out = await check(proxy.base, "--mirror", "test")

    assert (code, out.count("\n")) == (0, 1), out
    assert out.startswith("SSTREAM-PROXY OK - 1 of 1 mirror with lists")
    assert "'index_age_test'=" in out


async def test_a_limit_that_is_met_changes_status_and_exit_code(
    proxy: RunningProxy, tree: SignedTree
) -> None:
    tree.publish()
    await proxy.read("streams/v1/index.sjson")

    assert (await check(proxy.base, "--index-age", "1s,3650d"))[0] == 1
    assert (await check(proxy.base, "--free", "900 TiB,800 TiB"))[0] == 2
    assert (await check(f"{proxy.base}/-/", "--mirror", "nobody"))[0] == 2


async def test_a_mirror_without_lists_is_critical(proxy: RunningProxy, origin: Origin) -> None:
    origin.fault("*", Fault(status=500))
    await proxy.read("streams/v1/index.sjson")

    code, out = await check(proxy.base)

    assert code == 2
    assert "has no verified lists" in out


async def test_who_is_no_admin_is_told_whether_it_is_ready(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, clock: Clock
) -> None:
    tree.publish()
    admin = AdminOptions(
        read="admins", trust_loopback=False, token_sha256=hashlib.sha256(b"secret").hexdigest()
    )
    config = replace(make_config(tmp_path / "data", mirror), admin=admin)
    token = tmp_path / "token"
    token.write_text("secret\n")
    async with run_proxy(config, clock) as proxy:
        await proxy.read("streams/v1/index.sjson")
        bare = await check(proxy.base)
        with_token = await check(proxy.base, "--token-file", token)
        token.write_text("wrong\n")
        with_wrong_token = await check(proxy.base, "--token-file", token)

    assert bare == (0, "SSTREAM-PROXY OK - ready (figures are for admins)\n")
    assert "'free'=" in with_token[1]
    assert with_wrong_token[0] == 3
    assert "right --token-file" in with_wrong_token[1]


async def test_nothing_that_answers_is_critical_and_something_else_unknown(
    origin: Origin,
) -> None:
    other = await check(origin.url)
    origin.fault("*", Fault(body=b"{}"))
    empty = await check(origin.url)
    url = origin.url
    await origin.stop()

    assert other[0] == 3
    assert "there is no sstream-proxy" in other[1]
    assert empty[0] == 3
    assert (await check(url))[0] == 2


async def test_a_certificate_is_judged(tmp_path: Path, mirror: Mirror, clock: Clock) -> None:
    certificate = make_certificate(tmp_path)
    async with run_proxy(make_config(tmp_path / "data", mirror), clock, certificate.server) as proxy:
        unknown = await check(proxy.base)
        known = await check(proxy.base, "--ca", certificate.authority)

    assert unknown[0] == 2
    assert unknown[1].rstrip().endswith("; name the authority to trust by --ca")
    assert known[0] == 0


async def test_a_url_of_the_wrong_scheme_is_told_from_a_server_that_is_away(
    tmp_path: Path, mirror: Mirror, clock: Clock
) -> None:
    certificate = make_certificate(tmp_path)
    async with run_proxy(make_config(tmp_path / "one", mirror), clock, certificate.server) as proxy:
        secure = await check(proxy.base.replace("https://", "http://"))
    async with run_proxy(make_config(tmp_path / "two", mirror), clock) as proxy:
        plain = await check(proxy.base.replace("http://", "https://"))

    assert (secure[0], plain[0]) == (2, 2)
    assert secure[1].rstrip().endswith("; if it speaks https, write https://")
    assert plain[1].rstrip().endswith("; if it speaks plain http, write http://")


async def test_a_data_directory_is_read_without_a_server(
    tmp_path: Path, origin: Origin, keyring: Path
) -> None:
    commands = Commands(tmp_path, origin, keyring)
    absent = await commands.run("check-health")
    await commands.run("offline", "off")  # Makes it, and asks no origin.
    there = await commands.run("check-health")

    assert absent.returncode == 3
    assert there.returncode == 0, there.stdout
    assert there.stdout.startswith("SSTREAM-PROXY OK - 0 of 1 mirror with lists")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--nonsense",),
        ("ftp://x/",),
        ("--free", "1"),
        ("--free", "1GiB,2GiB,3GiB"),
        ("--index-age", "soon,later"),
        ("--config", "/nowhere.toml"),
    ],
)
def test_wrong_usage_is_unknown_and_not_critical(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)

    assert result.exit_code == 3
    assert result.output.startswith("SSTREAM-PROXY UNKNOWN - ")
    assert "values to unpack" not in result.output
    assert result.output.count("\n") == 1
