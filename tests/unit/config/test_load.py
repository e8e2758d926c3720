"""The configuration file itself: where it is looked for, and what cannot be read of it."""

from pathlib import Path

import pytest
from support.config_files import ENVIRON, ROOT, USER

from proxy.config.errors import ConfigError
from proxy.config.load import default_data_dir, find_config_file, load_config


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"offline = true\nlimit = 200 GiB", "line 2, column"),
        (b"[cache\n", "look there for a missing quote, bracket or ="),
        (b"a = 1\na = 2", "is in the file twice"),
        (b"[cache]\n[log]\n[cache]\n", "line 3, column 7); that key or [table] is in the file twice"),
        (b"[[mirror]]\n[mirror]\n", "is in the file twice"),
        (b"a = { b = 1, b = 2 }\n", "is in the file twice"),
        (b"a = 1\xff", "save it as UTF-8"),
        (b"a = " + b"9" * 5000, "no valid TOML"),
    ],
)
def test_what_is_no_toml_is_told_with_its_place(tmp_path: Path, content: bytes, problem: str) -> None:
    """Syntax errors have line and column."""
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(path, ENVIRON)
    assert caught.value.source == str(path)
    assert len(caught.value.faults) == 1
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    "text", ["listen = " + "[" * 5000 + "]" * 5000, "a = " + "{a = " * 5000 + "1" + "}" * 5000]
)
def test_lists_and_tables_in_one_another_without_end_are_a_fault_and_no_crash(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="nested too deeply"):
        load_config(path, {})


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """A folder, say, is no configuration file."""
    with pytest.raises(ConfigError, match="check its path and permissions"):
        load_config(tmp_path, ENVIRON)


def test_the_file_is_looked_for_in_order(tmp_path: Path) -> None:
    """The option wins over the variable, that over the system's file."""
    first, second, third = (tmp_path / name for name in ("option.toml", "variable.toml", "system.toml"))
    for path in (first, second, third):
        path.touch()
    environ = {"SSTREAM_PROXY_CONFIG": str(second)}
    assert find_config_file(first, environ, system=third) == first
    assert find_config_file(None, environ, system=third) == second
    assert find_config_file(None, {"SSTREAM_PROXY_CONFIG": ""}, system=third) == third
    assert find_config_file(None, {}, system=tmp_path / "absent.toml") is None


@pytest.mark.parametrize(
    ("option", "environ", "source"),
    [
        (Path("/absent.toml"), {}, "command line"),
        (None, {"SSTREAM_PROXY_CONFIG": "/absent.toml"}, "$SSTREAM_PROXY_CONFIG"),
    ],
)
def test_a_named_file_must_exist(option: Path | None, environ: dict[str, str], source: str) -> None:
    """A mistyped name never silently means the defaults."""
    with pytest.raises(ConfigError, match="there is no configuration file") as caught:
        find_config_file(option, environ)
    assert caught.value.source == source


@pytest.mark.parametrize(
    ("environ", "uid", "expected"),
    [
        ({"STATE_DIRECTORY": "/var/lib/private/x", "HOME": "/h"}, USER, "/var/lib/private/x"),
        ({"STATE_DIRECTORY": "/first:/second"}, ROOT, "/first"),
        ({"HOME": "/root", "XDG_DATA_HOME": "/data"}, ROOT, "/var/lib/sstream-proxy"),
        ({"HOME": "/h", "XDG_DATA_HOME": "/data"}, USER, "/data/sstream-proxy"),
        ({"HOME": "/h", "XDG_DATA_HOME": "relative"}, USER, "/h/.local/share/sstream-proxy"),
        ({"HOME": "/h"}, USER, "/h/.local/share/sstream-proxy"),
        ({}, USER, "/var/lib/sstream-proxy"),
    ],
)
def test_the_default_data_folder(environ: dict[str, str], uid: int, expected: str) -> None:
    """It depends on systemd and on the user, not on the working directory."""
    assert default_data_dir(environ, uid) == Path(expected)
    assert load_config(None, environ, uid=uid).data_dir == Path(expected)
