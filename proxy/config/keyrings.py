"""The keyrings that a configuration names, opened for the mirrors that have one."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from proxy.config.config import Config
from proxy.mirror import Trust
from proxy.signatures.keyring import Keyring, keyring_file

HOMES = "gnupg"
"""The folder, in the data directory, of what gpg needs."""

Keyrings = Mapping[str, Keyring]
"""The keyring of every mirror that has one, by the mirror's name."""


def keyring_files(config: Config) -> dict[str, Path]:
    """Return the keyring files, by the names of the mirrors that have one."""
    return {one.name: keyring_file(one.keyring) for one in config.mirrors if one.trust is Trust.GPG}


def open_keyrings(config: Config) -> Keyrings:
    """Return the keyrings of all mirrors. Raises GpgMissing, GpgFailed, HomeFault or KeyringError. Blocks."""
    named = keyring_files(config)
    homes = config.data_dir / HOMES
    opened = {path: Keyring.open(path, homes) for path in sorted(set(named.values()))}
    return {name: opened[path] for name, path in named.items()}


def bundled_keyrings() -> tuple[str, ...]:
    """Return the names that `Mirror.keyring` may have besides paths."""
    suffix = "-keyring.gpg"
    names = (entry.name for entry in files("proxy").joinpath("data").iterdir())
    return tuple(sorted(name.removesuffix(suffix) for name in names if name.endswith(suffix)))
