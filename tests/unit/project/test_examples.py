"""What packaging/examples and packaging/debian bring is well formed, and writes configurations that load."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from build_deb import changelog, maintainer, version_of
from support.holding import ROOT

from proxy.config.config import Config
from proxy.config.load import load_config

EXAMPLES = ROOT / "packaging/examples"
ROLE = EXAMPLES / "ansible/roles/sstream_proxy"
DEBIAN = ROOT / "packaging/debian"
YAML = sorted([*EXAMPLES.rglob("*.yml"), *EXAMPLES.rglob("*.yaml")])


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def load(tmp_path: Path, text: str) -> Config:
    file = tmp_path / "config.toml"
    file.write_text(text, encoding="utf-8")
    return load_config(file, {"HOME": "/home/one"}, uid=1000)


@pytest.mark.parametrize("path", YAML, ids=[str(path.relative_to(EXAMPLES)) for path in YAML])
def test_every_file_is_yaml(path: Path) -> None:
    assert read(path)


@pytest.mark.parametrize(
    "given", [{}, {"sstream_proxy_prefetch": ["noble"], "sstream_proxy_allow": ["10.0.0.0/8"]}]
)
def test_the_role_writes_a_configuration_that_loads(tmp_path: Path, given: dict[str, Any]) -> None:
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined, autoescape=False)
    environment.filters["to_json"] = json.dumps
    template = environment.from_string((ROLE / "templates/config.toml.j2").read_text(encoding="utf-8"))
    config = load(tmp_path, template.render({**read(ROLE / "defaults/main.yml"), **given}))
    assert config.data_dir == Path("/var/lib/sstream-proxy")
    assert [rule.maas for rule in config.prefetch] == ([("noble",)] if given else [])
    assert config.access.allow == (("10.0.0.0/8",) if given else Config(data_dir=tmp_path).access.allow)


def test_the_role_notifies_handlers_that_there_are_and_uses_variables_that_have_defaults() -> None:
    handlers = {handler["name"] for handler in read(ROLE / "handlers/main.yml")}
    tasks = (ROLE / "tasks/main.yml").read_text(encoding="utf-8")
    assert {task["notify"] for task in read(ROLE / "tasks/main.yml") if "notify" in task} <= handlers
    assert set(re.findall(r"\bsstream_proxy_\w+", tasks)) <= read(ROLE / "defaults/main.yml").keys()


def test_cloud_init_writes_a_configuration_that_loads(tmp_path: Path) -> None:
    written = {file["path"]: file["content"] for file in read(EXAMPLES / "cloud-init.yaml")["write_files"]}
    assert load(tmp_path, written["/etc/sstream-proxy/config.toml"]).prefetch[0].name == "first"


def test_terraform_hands_over_a_file_that_there_is() -> None:
    text = (EXAMPLES / "terraform/main.tf").read_text(encoding="utf-8")
    (name,) = re.findall(r'file\("\$\{path\.module\}/(.+?)"\)', text)
    assert (EXAMPLES / "terraform" / name).resolve() == EXAMPLES / "cloud-init.yaml"
    assert text.count("{") == text.count("}")


def test_the_packages_own_configuration_means_the_defaults(tmp_path: Path) -> None:
    config = load(tmp_path, (DEBIAN / "config.toml").read_text(encoding="utf-8"))
    assert config == Config(data_dir=Path("/var/lib/sstream-proxy"))


@pytest.mark.parametrize(
    ("program", "release", "expected"),
    [
        ("0.1.0", 'ID=debian\nVERSION_ID="12"\n', "0.1.0+debian12"),
        ("1.2.0rc1", 'NAME="Debian"\nVERSION_ID="13"\nID=debian\n', "1.2.0~rc1+debian13"),
        ("1.2.0.dev3", 'ID=ubuntu\nVERSION_ID="24.04"\nID_LIKE=debian\n', "1.2.0~dev3+ubuntu24.04"),
    ],
)
def test_a_package_says_of_which_distribution_it_is(program: str, release: str, expected: str) -> None:
    """A release candidate comes before its release."""
    assert version_of(program, release) == expected


def test_who_builds_is_named_in_the_forms_of_debian() -> None:
    who = maintainer({"DEBFULLNAME": "A Person", "DEBEMAIL": "person@site.example"})
    assert changelog("1.0+debian13", 0, who).endswith(
        "\n\n -- A Person <person@site.example>  Thu, 01 Jan 1970 00:00:00 -0000\n"
    )


def test_the_package_makes_its_units_of_those_that_are_here() -> None:
    """Its rules change lines by what they look like: each must be there to be changed."""
    rules = (DEBIAN / "rules").read_text(encoding="utf-8")
    unit = (ROOT / "packaging/systemd/sstream-proxy.service").read_text(encoding="utf-8")
    for line in (
        "ExecStart=/opt/sstream-proxy/.venv/bin/sstream-proxy serve",
        "DynamicUser=yes",
        "StateDirectory=sstream-proxy",
    ):
        assert f"\n{line}\n" in unit
    assert {"/opt/sstream-proxy/.venv/bin/", "^DynamicUser=yes$$", "^StateDirectory=.*"} <= set(
        re.findall(r"s\|([^|]+)\|", rules)
    )
    for name in re.findall(r"--name=(\S+)", rules):
        assert list((ROOT / "packaging/systemd").glob(f"{name}.*"))


def test_the_scripts_of_the_package_are_shell() -> None:
    for path in (*DEBIAN.glob("*.p*"), DEBIAN / "sstream-proxy.sh"):
        first, *lines = path.read_text(encoding="utf-8").splitlines()
        assert first == "#!/bin/sh"
        assert path.suffix == ".sh" or "#DEBHELPER#" in lines
        assert shlex.split("\n".join(lines), comments=True)
