"""A key that no keyring here has."""

from collections.abc import Iterator

import pytest
from support.keys import SigningKey


@pytest.fixture
def other_key() -> Iterator[SigningKey]:
    with SigningKey("Other <other@example.test>") as key:
        yield key
