"""The command line to type again."""

import shutil
import sys
from pathlib import Path

import pytest

from proxy.cli.going_on import program, typed_again


@pytest.mark.parametrize(
    ("typed", "environ", "again"),
    [
        (
            ["/opt/x/sstream-proxy", "prefetch", "release~(noble|jammy)", "--max=1"],
            {},
            "sstream-proxy prefetch 'release~(noble|jammy)' --max=1",
        ),
        (["/usr/lib/proxy/__main__.py", "sync"], {}, f"{sys.executable} -m proxy sync"),
        (
            ["sstream-proxy", "import", "--tree", "http://me:secret@host/a b"],
            {},
            "sstream-proxy import --tree 'http://...@host/a b'",
        ),
        (
            ["sstream-proxy", "import", "/media/my stick"],
            {"SUDO_COMMAND": "/usr/bin/sstream-proxy import /media/my stick"},
            "sudo sstream-proxy import '/media/my stick'",
        ),
        (["sstream-proxy", "sync"], {"SUDO_COMMAND": "/usr/bin/bash"}, "sstream-proxy sync"),
    ],
)
def test_it_is_what_a_shell_takes(
    typed: list[str], environ: dict[str, str], again: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/opt/x/{name}")
    if typed[0] == "sstream-proxy":
        monkeypatch.setattr(shutil, "which", lambda _: None)

    assert typed_again(typed, environ) == again


def test_another_program_of_that_name_is_called_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/sstream-proxy")

    assert typed_again([str(tmp_path / "sstream-proxy"), "sync"], {}) == f"{tmp_path}/sstream-proxy sync"


def test_a_program_that_no_name_finds_is_called_by_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has typed `.venv/bin/sstream-proxy` has none of that name on the path."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(sys, "argv", [".venv/bin/sstream-proxy", "sync"])

    assert typed_again(sys.argv, {}) == ".venv/bin/sstream-proxy sync"
    assert program() == ".venv/bin/sstream-proxy"


def test_what_a_package_has_wrapped_is_called_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(sys, "argv", ["/usr/lib/sstream-proxy/bin/sstream-proxy", "serve"])

    assert program() == "sstream-proxy"
