"""Configuration files of a few lines: loaded, or the faults that are found in them."""

from pathlib import Path

import pytest

from proxy.config.config import Config
from proxy.config.errors import ConfigError
from proxy.config.load import load_config
from support.credentials import cheap_hash

ENVIRON = {"HOME": "/home/someone"}
USER, ROOT = 1000, 0
HASH = cheap_hash("secret")
USER_TABLE = f"access.users = ['maas']\n[[user]]\nname = 'maas'\npassword_hash = '{HASH}'\n"


def load(folder: Path, toml: str, **overrides: object) -> Config:
    """Load `toml` as the file config.toml of `folder`."""
    path = folder / "config.toml"
    path.write_text(toml, encoding="utf-8")
    return load_config(path, ENVIRON, overrides=overrides, uid=USER)


def faults(folder: Path, toml: str, **overrides: object) -> dict[str, str]:
    """Return the problems of `toml` by their key."""
    with pytest.raises(ConfigError) as caught:
        load(folder, toml, **overrides)
    return {fault.key: fault.problem for fault in caught.value.faults}


def mirror(**lines: str) -> str:
    """Return a [[mirror]] whose lines are TOML values."""
    usual = {"name": '"one"', "mount": '"/one/"', "origins": '["https://one.example/"]'}
    return "[[mirror]]\n" + "".join(f"{key} = {value}\n" for key, value in (usual | lines).items())
