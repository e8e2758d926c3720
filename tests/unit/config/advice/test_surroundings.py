"""What of the machine is not as its owner may believe."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.commands import run_forked
from support.running import Service

from proxy.config.advice.surroundings import oddities

SECRET = "http://user:hunter2@proxy.lan:3128"


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"http_proxy": SECRET}, "http_proxy is set"),
        ({"HTTPS_PROXY": SECRET, "http_proxy": SECRET}, "HTTPS_PROXY and http_proxy are set"),
        ({"ALL_PROXY": "socks5://proxy.lan"}, "ALL_PROXY is set"),
    ],
)
def test_a_proxy_of_the_environment_that_is_not_used_is_told_of(
    environ: Mapping[str, str], named: str
) -> None:
    (found,) = oddities(environ, "")
    assert named in found
    assert "[upstream] parent_proxy" in found
    assert "hunter2" not in found


@pytest.mark.parametrize("environ", [{}, {"http_proxy": ""}, {"https_proxy": " "}, {"no_proxy": "lan"}])
def test_where_there_is_none_nothing_is_said(environ: Mapping[str, str]) -> None:
    assert list(oddities(environ, "")) == []


def test_who_has_configured_one_knows() -> None:
    assert list(oddities({"http_proxy": SECRET}, "http://other.lan:3128")) == []


def test_it_is_said_once_by_the_check_and_once_at_the_start(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    lines = [f'data_dir = "{tmp_path / "data"}"', "offline = true", 'listen = ["127.0.0.1:0"]', "workers = 2"]
    config.write_text("\n".join(lines))
    env = {name: "" for name in os.environ if name.lower().endswith("_proxy")} | {"http_proxy": SECRET}
    checked = run_forked("check-config", "--config", str(config), env={**os.environ, **env})
    with Service("--config", str(config), env=env, log=tmp_path / "log") as service:
        banner = service.banner
    log = service.log()

    assert checked.returncode == 0
    for told in (checked.stderr, banner, log):
        assert told.count("http_proxy is set in the environment, but not used here") == 1
        assert "hunter2" not in told
