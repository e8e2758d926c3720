"""The commands that trials of packaging type are those that documents have."""

from pathlib import Path

import pytest
from documented import commands

ROOT = Path(__file__).parents[3]


def test_the_readme_has_one_command_to_run_and_one_to_test() -> None:
    run, test = (commands(ROOT / "README.md", heading)[0] for heading in ("Run it", "Test it"))

    assert run.endswith(" && .venv/bin/sstream-proxy serve")
    assert test.endswith(" && .venv/bin/pytest")


def test_the_chapter_on_systemd_installs_the_program_before_it_needs_systemd() -> None:
    install, ask_it, hold_port, low_port, admin, without_server = commands(
        ROOT / "packaging/README.md", "systemd"
    )

    assert ["systemctl" in line for line in install.splitlines()] == [False] * 5 + [True]
    assert "systemd-run" in ask_it
    assert [name in block for name, block in zip(
        ("sstream-proxy.socket", "low-ports.conf", "sstream-proxy-admin.socket", "sstream-proxy-sync.timer"),
        (hold_port, low_port, admin, without_server),
        strict=True,
    )] == [True] * 4  # fmt: skip


def test_the_chapter_on_containers_builds_runs_and_asks() -> None:
    (lines,) = commands(ROOT / "packaging/README.md", "Container")

    words = [line.split()[:2] for line in lines.replace("\\\n", " ").splitlines()]
    assert words == [["podman", "build"], ["podman", "run"], ["podman", "exec"]]


def test_a_chapter_ends_where_the_next_one_begins(tmp_path: Path) -> None:
    document = tmp_path / "guide.md"
    document.write_text(
        "## One\n\n```bash\na\n```\n\n- b\n\n  ```bash\n  b\n  ```\n\n## Two\n\n```bash\nc\n```\n"
    )

    assert commands(document, "One") == ["a", "  b"]
    assert commands(document, "Two") == ["c"]


@pytest.mark.parametrize("text", ["## One\n\nNothing to type.\n", "## Two\n\n```bash\na\n```\n"])
def test_a_chapter_without_commands_is_told(tmp_path: Path, text: str) -> None:
    document = tmp_path / "guide.md"
    document.write_text(text)

    with pytest.raises(SystemExit, match=r"^guide\.md has no command below `## One`$"):
        commands(document, "One")
