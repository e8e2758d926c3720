"""From a file and a command line to a configuration: where the file is looked for, and how both are read.

How TOML becomes dataclasses is `toml_reader`'s business. All faults are told at once.
"""

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from proxy.config.checks.options import OptionChecks, absolute
from proxy.config.config import Config
from proxy.config.errors import COMMAND_LINE, ConfigError
from proxy.config.toml_reader import Fault, Faults, read
from proxy.config.wording import masked

SYSTEM_CONFIG = Path("/etc/sstream-proxy/config.toml")
_SYSTEM_DATA = Path("/var/lib/sstream-proxy")


def find_config_file(
    option: Path | None, environ: Mapping[str, str], *, system: Path = SYSTEM_CONFIG
) -> Path | None:
    """Return the file to read: `option`, else $SSTREAM_PROXY_CONFIG, else `system` if there.

    Raises ConfigError if a file that was named does not exist.
    """
    variable = environ.get("SSTREAM_PROXY_CONFIG", "")
    named = option or (Path(variable) if variable else None)
    if named is None:
        return system if os.path.exists(system) else None  # noqa: PTH110 - never raises
    if not os.path.exists(named):  # noqa: PTH110
        source = COMMAND_LINE if option else "$SSTREAM_PROXY_CONFIG"
        problem = f"there is no configuration file '{named}': correct the path or create the file"
        raise ConfigError(source, [Fault("", problem)])
    return named


def default_data_dir(environ: Mapping[str, str], uid: int) -> Path:
    """Return systemd's state folder, else the system's for root, else the user's own."""
    if state := environ.get("STATE_DIRECTORY", "").split(":")[0]:
        return Path(state)
    home = environ.get("HOME", "")
    if uid == 0 or not home:
        return _SYSTEM_DATA
    shared = Path(environ.get("XDG_DATA_HOME", ""))
    return (shared if shared.is_absolute() else Path(home, ".local/share")) / "sstream-proxy"


def load_config(
    path: Path | None,
    environ: Mapping[str, str],
    *,
    overrides: Mapping[str, object] = MappingProxyType({}),
    uid: int | None = None,
) -> Config:
    """Return the defaults, changed by the file at `path`, changed by `overrides`.

    `overrides` come from the command line, by top-level key; None and () mean
    not given. Relative paths in the file are taken from its folder. `uid` is
    the user whose default data folder is meant; None is the one that runs.

    Raises ConfigError with every fault of file and command line.
    """
    given = {key: _as_toml(key, value) for key, value in overrides.items() if value not in (None, ())}
    table = {**(_parse(path) if path else {}), **given}
    table.setdefault("data_dir", str(default_data_dir(environ, os.geteuid() if uid is None else uid)))
    faults = Faults()
    folder = path.parent if path else Path()
    config = OptionChecks(faults, folder, environ.get("HOME", "")).config(read(Config, table, faults))
    if found := faults.found():
        raise ConfigError(_source(path, given, found), found, table)
    return config


def _parse(path: Path) -> dict[str, object]:
    try:
        # Windows editors put a byte order mark in front, which TOML has no place for.
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        problem = f"the file cannot be read ({error.strerror}): check its path and permissions"
    except UnicodeDecodeError as error:
        problem = f"the file is no UTF-8 text (byte {error.start}): save it as UTF-8"
    except RecursionError:
        problem = "the file is no configuration: its lists or tables are nested too deeply"
    except ValueError as error:
        problem = f"the file is no valid TOML: {masked(str(error))}; {_remedy(str(error))}"
    raise ConfigError(str(path), [Fault("", problem)])


def _remedy(problem: str) -> str:
    """Say what to look for, by what the TOML reader complains of."""
    if problem.startswith(("Cannot ", "Duplicate ")):
        return "that key or [table] is in the file twice: remove one, or put what is below both under one"
    return "look there for a missing quote, bracket or ="


def _as_toml(key: str, value: object) -> object:
    """Return a value of the command line as TOML would have had it."""
    match value:
        case Path():
            return str(absolute(value))
        case tuple():
            return list(value)
        case str() if key == "workers" and re.fullmatch("[0-9]{1,9}", value):
            return int(value)
        case _:
            return value


def _source(path: Path | None, given: Mapping[str, object], faults: Iterable[Fault]) -> str:
    """Say which of file and command line the faults are in."""
    if path is None:
        return COMMAND_LINE
    roots = {re.split(r"[.\[]", fault.key)[0] for fault in faults}
    if roots <= given.keys():
        return COMMAND_LINE
    return f"{path} and {COMMAND_LINE}" if roots & given.keys() else str(path)
