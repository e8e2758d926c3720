"""An empty store of local files."""

from pathlib import Path

import pytest

from proxy.store.local.store import LocalStore


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """Return an empty store."""
    return LocalStore(tmp_path / "data")
