"""Keys of several kinds, and a keyring with one of them."""

from collections.abc import Iterator

import pytest
from support.keys import SigningKey
from support.signed_texts import open_ring

from proxy.signatures.keyring import (
    Keyring,
)


@pytest.fixture(scope="module")
def other() -> Iterator[SigningKey]:
    """Return a key that no keyring here holds."""
    with SigningKey("Somebody Else <else@example.test>") as key:
        yield key


@pytest.fixture(scope="module")
def expired() -> Iterator[SigningKey]:
    with SigningKey.expired() as key:
        yield key


@pytest.fixture(scope="module")
def revoked() -> Iterator[SigningKey]:
    with SigningKey.revoked() as key:
        yield key


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory, key: SigningKey) -> Keyring:
    """Return a keyring that holds nothing but `key`."""
    return open_ring(tmp_path_factory.mktemp("ring"), key.public_binary())
