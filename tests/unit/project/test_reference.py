"""What is made from the code says what the code says now."""

import json
import re
import tomllib
from pathlib import Path

import click
import pytest
from manual import markdown, roff
from manual.commands import commands
from manual.interface import DESCRIPTION
from manual.log_events import MEANINGS, events
from manual.settings import settings

from proxy.cli import main
from proxy.config.load import load_config
from proxy.config.toml_reader import values

ROOT = Path(__file__).parents[3]
REFERENCE = ROOT / "docs/reference"
BY_HAND = {"filters.md"}


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    """Return the reference pages as the code makes them now."""
    return markdown.pages()


@pytest.fixture(scope="module")
def manual() -> dict[str, str]:
    """Return the manual pages."""
    return roff.pages("1.2.3", "2026-01-02")


def test_the_reference_is_what_the_code_makes(made: dict[str, str]) -> None:
    """If this fails, run `python packaging/write_reference.py`."""
    for name, text in made.items():
        assert (REFERENCE / name).read_text(encoding="utf-8") == text, (
            f"docs/reference/{name} is not what the code says: run `python packaging/write_reference.py`"
        )
    assert {path.name for path in REFERENCE.glob("*.md")} == made.keys() | BY_HAND


def test_every_key_of_the_configuration_has_its_entry_and_its_text(made: dict[str, str]) -> None:
    described = {
        f"{table.name.strip('[]')}.{one.key}".lstrip(".")
        for table in settings().tables
        for one in table.settings
    }
    config = load_config(None, {"HOME": "/home/one"}, uid=1000)
    keys = {re.sub(r"\[\d+\]", "", key) for key, _ in values(config)}
    assert keys - described == {
        "user",
        "prefetch",
    }  # Empty by default; the tables of these names describe them.
    assert {"user.name", "prefetch.schedule"} <= described
    assert all(one.text for table in settings().tables for one in table.settings)
    assert all(f"### `{key}`" in made["configuration.md"] for key in described)


def test_every_command_and_option_is_described(made: dict[str, str], manual: dict[str, str]) -> None:
    context = click.Context(main)
    named = [one.name for one in commands()]
    assert [name for name in named if " " not in name] == ["", *main.list_commands(context)]
    assert {"connect maas", "connect lxd", "connect incus"} <= set(named)
    for one in commands():
        assert f"## {one.title}\n" in made["commands.md"]
        page = manual[f"{one.page}.1"]
        for option in one.options:
            assert option.text
            assert option.form.replace("-", "\\-") in page


def test_a_command_with_exit_codes_of_its_own_is_not_said_to_have_the_usual_ones(
    manual: dict[str, str],
) -> None:
    assert "EXIT STATUS" in manual["sstream-proxy-stats.1"]
    assert "EXIT STATUS" not in manual["sstream-proxy-check-health.1"]
    assert "Exit codes: 0 OK, 1 warning" in manual["sstream-proxy-check-health.1"]


def test_every_path_of_the_api_is_described(made: dict[str, str]) -> None:
    for path, methods in json.loads(DESCRIPTION.read_text())["paths"].items():
        for method in methods:
            assert f"## {method.upper()} /-{path}\n" in made["api.md"]


def test_the_events_of_the_log_are_found_wherever_they_are_written(made: dict[str, str]) -> None:
    found = {one.name: one for one in events()}
    assert found["request"].fields[:3] == ("client", "method", "path")  # A constant of its module.
    assert found["access.denied"].levels == ("varies",)
    assert found["blob.filled"].fields == ("digest", "bytes")
    assert found["log.dropped"].levels == ("warning",)  # A record that no logger has made.
    assert set(tomllib.loads(MEANINGS.read_text(encoding="utf-8"))) <= set(found)
    assert all(f"`{name}`" in made["log-events.md"] for name in found)


def test_metrics_have_the_names_that_are_scraped(made: dict[str, str]) -> None:
    assert "| `sstream_proxy_requests_total` | counter | `mirror`, `outcome` |" in made["metrics.md"]


def test_nothing_in_a_manual_page_is_taken_for_a_request_or_an_escape(manual: dict[str, str]) -> None:
    known = {"TH", "SH", "TP", "PP", "B", "BR", "I", "nf", "fi", "RS", "RE"}
    for name, page in manual.items():
        assert page.startswith('.TH "SSTREAM\\-PROXY'), name
        assert page.isascii(), name
        for line in page.splitlines():
            assert not line.startswith("'"), line
            if line.startswith("."):
                assert line[1:].partition(" ")[0] in known, line
            assert not re.search(r"\\(?![-&e(\[])", line), line


def test_a_manual_page_shows_what_was_written(manual: dict[str, str]) -> None:
    page = manual["sstream-proxy-config.5"]
    assert '.SH "[cache]"' in page
    assert ".B limit = \\(dqunlimited\\(dq" in page
    assert "sstream\\-proxy\\-prefetch (1)" in manual["sstream-proxy.1"]
