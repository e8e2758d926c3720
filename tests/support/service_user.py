"""A data directory that belongs to a service with a user of its own, and root beside it."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.commands import Commands, HasUrl

SERVICE = 61234
"""The service's user and group."""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@contextmanager
def open_folder() -> Iterator[Path]:
    """Return a folder that every user may reach; pytest's own is closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="sstream-proxy-test-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def commands_of_service(folder: Path, origin: HasUrl, keyring: Path, settings: str = "") -> Commands:
    """Return commands, over an empty data directory that belongs to the service."""
    commands = Commands(folder, origin, keyring, settings)
    commands.data.mkdir()
    os.chown(commands.data, SERVICE, SERVICE)
    return commands
