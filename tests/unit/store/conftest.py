"""An empty ledger."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.descriptors import _closes_its_files  # noqa: F401 - an autouse fixture
from support.running import Clock

from proxy.store.ledger import Ledger


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
