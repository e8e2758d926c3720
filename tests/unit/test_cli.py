"""The commands as a person meets them: help, banner, errors, exit codes."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.running import Service

from proxy.cli import main

OFFLINE = ("--listen", "127.0.0.1:0", "--workers", "1", "--offline")


def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "proxy", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=60, check=False)


def test_help_shows_how_to_start_and_how_to_point_maas_at_it() -> None:
    help_text = CliRunner().invoke(main, ["--help"]).output

    assert "sstream-proxy serve" in help_text
    assert "maas admin boot-sources create" in help_text


def test_version_is_told() -> None:
    assert CliRunner().invoke(main, ["--version"]).output.startswith("sstream-proxy, version ")


def test_check_config_names_every_fault_at_once_and_exits_with_2(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('listen = ["nowhere"]\nwrokers = 2\n[cache]\nlimit = "a lot"\n')

    result = run("check-config", "--config", str(config))

    assert result.returncode == 2
    for key in ("listen[0]", "wrokers", "cache.limit"):
        assert key in result.stderr


def test_check_config_of_the_defaults_lists_the_maas_mirrors(tmp_path: Path) -> None:
    result = run("check-config", env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"})

    assert result.returncode == 0
    assert "/images/ephemeral-v3/stable/" in result.stdout


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
        result = run("serve", "--listen", address, "--data-dir", str(tmp_path / "two"), "--offline")

    assert result.returncode == 1
    assert f"cannot listen on {address}" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_missing_gpg_is_said_with_the_command_that_installs_it(tmp_path: Path) -> None:
    result = run("serve", "--listen", "127.0.0.1:0", "--data-dir", str(tmp_path), env={"PATH": str(tmp_path)})

    assert result.returncode == 1
    assert "apt-get install gnupg" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("name", ["missing.toml", "broken.toml"])
def test_a_configuration_that_cannot_be_read_is_a_usage_fault(tmp_path: Path, name: str) -> None:
    (tmp_path / "broken.toml").write_text("listen = [")

    result = run("check-config", "--config", str(tmp_path / name))

    assert result.returncode == 2
    assert name in result.stderr
    assert "Traceback" not in result.stderr
