"""An empty store, and an empty ledger."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.descriptors import _closes_its_files  # noqa: F401 - an autouse fixture
from support.running import Clock

from proxy.store.ledger import Ledger
from proxy.store.local.store import LocalStore


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """Return an empty store."""
    return LocalStore(tmp_path / "data")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return where the ledger lies."""
    return tmp_path / "ledger"


@pytest.fixture
def ledger(directory: Path, clock: Clock) -> Iterator[Ledger]:
    """Return an empty ledger."""
    ledger = Ledger(directory, clock)
    yield ledger
    ledger.close()
