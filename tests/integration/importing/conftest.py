"""The far side: its commands, and its server, which is offline."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.commands import Commands
from support.gap import Nowhere
from support.running import Service
from support.serving import run_service


@pytest.fixture
def commands(tmp_path: Path, keyring: Path) -> Commands:
    """Return the commands of the far site."""
    return Commands(tmp_path, Nowhere(), keyring)


@pytest.fixture
async def server(commands: Commands) -> AsyncIterator[Service]:
    """Return the far site's server, which is offline."""
    settings = 'listen = ["127.0.0.1:0"]\nworkers = 1\noffline = true\n'
    commands.config.write_text(settings + commands.config.read_text())
    async with run_service(commands.config) as service:
        yield service
