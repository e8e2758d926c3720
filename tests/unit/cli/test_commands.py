"""The commands as a person meets them: help, banner, errors, exit codes."""

import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from multidict import CIMultiDict
from support.certificates import make_certificate
from support.commands import run_forked, run_program
from support.running import Service

from proxy.cli import main
from proxy.web.access.passwords import PasswordHash
from proxy.web.admin.permission import CHANGE_HEADER, AdminOptions, AdminPermission, Asker

OFFLINE = ("--listen", "127.0.0.1:0", "--workers", "1", "--offline")


def test_help_shows_how_to_start_and_how_to_point_maas_at_it() -> None:
    help_text = CliRunner().invoke(main, ["--help"]).output

    assert "sstream-proxy serve" in help_text
    assert "sstream-proxy connect maas http" in help_text


def every_command() -> Iterator[str]:
    for name in main.list_commands(click.Context(main)):
        yield name
        command = main.get_command(click.Context(main), name)
        if isinstance(command, click.Group):
            yield from (f"{name} {inner}" for inner in command.commands)


@pytest.mark.parametrize("command", list(every_command()))
def test_the_help_of_each_command_shows_how_it_is_typed(command: str) -> None:
    help_text = CliRunner().invoke(main, [*command.split(), "--help"]).output

    assert f"\n    sstream-proxy {command}" in help_text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            "check-config --config /nowhere.toml",
            "Error: command line: there is no configuration file '/nowhere.toml'",
        ),
        ("connect maas maas.lan --key-file key", "Error: 'maas.lan' is no URL of a MAAS"),
        ("prefetch --from-maas maas.lan", "Error: 'maas.lan' is no URL of a MAAS"),
        ("doctor http://mirror.lan/", "Error: say by --as which client to be, such as --as maas"),
    ],
)
def test_wrong_usage_is_told_on_the_line_of_the_error(arguments: str, said: str) -> None:
    result = CliRunner().invoke(main, arguments.split())

    assert result.exit_code == 2
    assert said in result.output


NO_ADDRESS = ("http://[::1/", "http://127.0.0.1:99999/", "http:///tree", "")
"""With a host or port that cannot be, without a host, and what a variable without a value leaves."""


@pytest.mark.parametrize("address", NO_ADDRESS)
@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("import --tree", 2),
        ("doctor --as maas", 2),
        ("connect maas --key-file key", 2),
        ("prefetch --from-maas", 2),
        ("check-health", 3),
    ],
)
def test_what_is_no_address_is_wrong_usage_and_no_fault_of_ours(
    command: str, code: int, address: str
) -> None:
    result = CliRunner().invoke(main, [*command.split(), address])

    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit), result.exception


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ("", "the path is empty"),
        ("file://elsewhere/tree", "'file://elsewhere/tree' names a host, and a folder is on this machine"),
        ("ftp://127.0.0.1/tree", "a tree is a folder, or at an address with http:// or https://"),
        ("//127.0.0.1/tree", "a tree is a folder, or at an address with http:// or https://"),
    ],
)
def test_a_tree_is_a_folder_of_this_machine_or_at_an_http_address(tree: str, said: str) -> None:
    result = CliRunner().invoke(main, ["import", "--tree", tree])

    assert result.exit_code == 2
    assert said in result.output


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("6h", "'6h' is one value: write WARNING,CRITICAL"),
        ("6h,2d,3d", "2d,3d"),
        ("soon,2d", "not the text 'soon'"),
    ],
)
def test_a_limit_that_is_none_is_told_in_words_of_its_own(limit: str, said: str) -> None:
    result = CliRunner().invoke(main, ["check-health", "--unchecked", limit])

    assert result.exit_code == 3
    assert said in result.output
    assert "values to unpack" not in result.output


def test_a_limit_that_is_no_percentage_is_told_with_an_example() -> None:
    result = CliRunner().invoke(main, ["check-health", "--hit-ratio", "high,low"])

    assert result.exit_code == 3
    assert "write a percentage such as 50%, not 'high'" in result.output


def test_whatever_a_command_leaves_behind_is_collected_though_not_while_it_is_imported() -> None:
    code = (
        "import gc; from proxy.cli import main; main.get_command(None, 'query')\n"
        "print(gc.isenabled(), gc.get_freeze_count())"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)

    is_enabled, frozen = done.stdout.split()
    assert is_enabled == "True"
    assert int(frozen) > 10_000


def test_version_is_told() -> None:
    assert CliRunner().invoke(main, ["--version"]).output.startswith("sstream-proxy, version ")


def test_the_banner_tells_where_it_listens_and_stores_and_the_commands_for_maas(tmp_path: Path) -> None:
    arguments = (
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        str(tmp_path / "data"),
        "--workers",
        "1",
        "--offline",
    )
    with Service(*arguments, log=tmp_path / "log") as service:
        banner = service.banner

    assert service.base in banner
    assert str(tmp_path / "data") in banner
    assert f"maas admin boot-sources create url={service.base}/images/ephemeral-v3/stable/" in banner
    assert "/images/ephemeral-v2/daily/" in banner


def test_a_port_in_use_is_said_plainly(tmp_path: Path) -> None:
    with Service(*OFFLINE, "--data-dir", str(tmp_path / "one"), log=tmp_path / "log") as service:
        address = service.base.removeprefix("http://")
        result = run_forked("serve", "--listen", address, "--data-dir", str(tmp_path / "two"), "--offline")

    assert result.returncode == 1
    assert f"cannot listen on {address}" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_missing_gpg_is_said_with_the_command_that_installs_it(tmp_path: Path) -> None:
    result = run_forked(
        "serve", "--listen", "127.0.0.1:0", "--data-dir", str(tmp_path), env={"PATH": str(tmp_path)}
    )

    assert result.returncode == 1
    assert "apt-get install gnupg" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("name", ["missing.toml", "broken.toml"])
def test_a_configuration_that_cannot_be_read_is_a_usage_fault(tmp_path: Path, name: str) -> None:
    (tmp_path / "broken.toml").write_text("listen = [")

    result = run_forked("check-config", "--config", str(tmp_path / name))

    assert result.returncode == 2
    assert name in result.stderr
    assert "Traceback" not in result.stderr


# Secrets


def test_a_password_is_hashed_without_being_shown(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "proxy", "hash-password"]
    told = subprocess.run(command, input="hunter2\n", capture_output=True, text=True, timeout=60, check=True)
    again = subprocess.run(command, input="hunter2\n", capture_output=True, text=True, timeout=60, check=True)

    assert told.stdout != again.stdout
    assert "hunter2" not in told.stdout + told.stderr
    config = tmp_path / "config.toml"
    config.write_text(
        "access.users = ['maas']\n[admin]\nread = 'admins'\n"
        f"[[user]]\nname = 'maas'\npassword_hash = '{told.stdout.strip()}'\n"
    )
    config.chmod(0o600)
    result = run_forked("check-config", "--config", str(config))
    assert result.returncode == 0
    assert (
        result.stderr
        == "warning: clients' passwords travel without encryption: set [tls] certificate and key\n"
    )
    assert PasswordHash.parse(told.stdout.strip()).matches(b"hunter2")


@pytest.mark.parametrize("password", ["", "\n", "x" * 257])
def test_no_password_is_no_password(password: str) -> None:
    result = CliRunner().invoke(main, ["hash-password"], input=password)
    assert result.exit_code == 2
    assert "1 to 256 characters" in result.output


@pytest.mark.parametrize("encoding", ["utf-8:strict", "utf-8:surrogateescape"])
def test_a_password_that_is_no_text_is_refused(encoding: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "proxy", "hash-password"],
        input=b"caf\xe9\n",
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        timeout=60,
        check=False,
    )

    assert result.returncode == 2
    assert result.stderr.startswith(b"Error: the password is no UTF-8 text")


@pytest.mark.parametrize("form", ["%(size)9999999999s", "%99999d", "x%(path)-050000s"])
def test_a_format_as_wide_as_the_memory_is_refused(form: str) -> None:
    result = run_forked("query", "--format", form)

    assert result.returncode == 2
    assert "has a width of more than 4 digits" in result.stderr


@pytest.mark.parametrize(("interrupted", "ends"), [("click", -signal.SIGINT), ("proxy.cli.stats", 130)])
def test_an_interruption_at_any_moment_leaves_no_traceback(
    tmp_path: Path, interrupted: str, ends: int
) -> None:
    """Reading the program takes a second on a busy machine.

    Whoever runs the tests in the background may have them ignore interruptions, which is inherited.
    """
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {interrupted!r}:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
    )

    result = run_program("stats", folder=tmp_path, PYTHONPATH=str(tmp_path))

    assert (result.returncode, result.stderr) == (ends, "")


def test_a_new_token_is_one_that_its_line_lets_in() -> None:
    first, second = CliRunner().invoke(main, ["new-token"]).output.splitlines()
    header, _, value = first.partition(": ")
    sha256 = tomllib.loads(second)["token_sha256"]
    headers = CIMultiDict({header: value, CHANGE_HEADER: "1"})
    asker = Asker("192.0.2.7", headers)

    assert AdminPermission(AdminOptions(token_sha256=sha256)).why_not_change(asker) is None
    assert first not in CliRunner().invoke(main, ["new-token"]).output


EXPOSED = """
data_dir = "data"
upstream.parent_proxy = "http://user:hunter2@proxy:3128"
access = { users = ["maas"], allow = ["10.0.0.0/8"] }
[tls]
certificate = "server.crt"
key = "server.key"
[[user]]
name = "maas"
password_hash = "$scrypt$ln=4,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZg$4v4XLdlTBux44rEXSMALlSM8K9oYDyX1MvYeYDzoFDo"
"""


def test_what_lies_open_is_warned_of_and_not_shown(tmp_path: Path) -> None:
    """When it is checked, and in the log when the server starts."""
    config, key = tmp_path / "config.toml", tmp_path / "server.key"
    make_certificate(tmp_path)
    config.write_text(EXPOSED)
    open_files = (config, key)
    for path in open_files:
        path.chmod(0o644)
    checked = run_forked("check-config", "--config", str(config))
    with Service("--config", str(config), *OFFLINE, log=tmp_path / "log") as service:
        pass
    log = service.log()
    for path in open_files:
        path.chmod(0o600)
    mended = run_forked("check-config", "--config", str(config))

    assert checked.returncode == mended.returncode == 0
    for told in (checked.stderr, log):
        assert f"read the passwords or their hashes in {config}: chmod o-rwx {config}" in told
        assert f"read the private key {key}: chmod o-rwx {key}" in told
        assert "figures about them are" in told
        assert "hunter2" not in told
        assert "$scrypt" not in told
    assert log.count("config.exposed") == checked.stderr.count("warning:") == 3
    assert "chmod o-rwx" not in mended.stderr
    assert "hunter2" not in checked.stdout
    assert "only for clients in 10.0.0.0/8, users maas" in checked.stdout
    assert f"url={service.base.replace('://', '://USER:PASSWORD@')}/images/" in service.banner


@pytest.mark.parametrize("command", ["query", "pin", "unpin", "evict", "purge"])
def test_a_name_where_filters_stand_is_told_how_it_is_given(tmp_path: Path, command: str) -> None:
    result = run_forked(command, "maas-stable", "--data-dir", str(tmp_path))
    assert result.returncode == 2
    assert result.stderr.rstrip() == (
        "Error: filter 'maas-stable': write KEY=VALUE, KEY!=VALUE, KEY~REGEX or KEY!~REGEX, such as "
        "'arch=amd64'; a mirror is named by --mirror NAME, a release by --maas RELEASE"
    )
    colon = run_forked(command, "release:noble=x", "--data-dir", str(tmp_path))
    assert "a mirror is named" not in colon.stderr


@pytest.mark.parametrize("client", ["maas http://127.0.0.1:9/MAAS", "lxd cache", "incus cache"])
@pytest.mark.parametrize("url", ["cache.lan:8080", "ftp://me:hunter2@cache.lan/", "http://cache.lan:0/"])
def test_a_url_of_the_proxy_that_cannot_be_is_told_before_anything_is_asked(client: str, url: str) -> None:
    result = run_forked("connect", *client.split(), "--proxy-url", url)
    assert result.returncode == 2
    assert "write an absolute URL that starts with http:// or https://" in result.stderr.splitlines()[-1]
    assert "hunter2" not in result.stderr
