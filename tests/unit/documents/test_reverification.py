"""Which documents still count when the keys of their mirror have changed."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.drafted import INDEX, a_document, a_generation
from support.keys import SigningKey
from support.signed_texts import open_ring

from proxy.digest import digest_of
from proxy.documents.generation import NO_DIGEST, SIBLING, Document, Generation, GenerationLost
from proxy.documents.reverification import NoLongerVerified, Reverifier
from proxy.signatures.keyring import Keyring
from proxy.store.local.store import LocalStore

LIST = "streams/v1/one.sjson"
PLAIN = "streams/v1/one.json"
OTHER = "streams/v1/two.sjson"


@pytest.fixture(scope="module")
def other() -> Iterator[SigningKey]:
    """Return a key that the ring does not hold."""
    with SigningKey("Somebody Else <else@example.test>") as key:
        yield key


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory, key: SigningKey) -> Keyring:
    """Return the keys of now."""
    return open_ring(tmp_path_factory.mktemp("ring"), key.public_binary())


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """Return an empty store."""
    return LocalStore(tmp_path / "data")


class Published:
    """Documents as their publisher signed them, in a store."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store

    def signed(self, path: str, key: SigningKey, **fields: Any) -> Document:
        text = f"what {path} says\n".encode()
        raw = key.clearsign(text)
        return a_document(path, **{"digest": self._store.put(raw), "text": digest_of(text), **fields})

    def plain(self, path: str, **fields: Any) -> Document:
        digest = self._store.put(f"what {path} says\n".encode())
        return a_document(path, **{"digest": digest, "text": digest, **fields})

    def signature(self, of: str, key: SigningKey) -> Document:
        digest = self._store.put(key.detach(f"what {of} says\n".encode()))
        return a_document(f"{of}.gpg", digest=digest, text=digest, format=SIBLING)


@pytest.fixture
def published(store: LocalStore) -> Published:
    """Return what can be published into the store."""
    return Published(store)


def reverified(store: LocalStore, ring: Keyring, *documents: Document, **fields: object) -> Generation:
    reverifier = Reverifier("test", "gpg", ring, store)
    return reverifier.reverify(a_generation(*documents, **{"keyring": "of before", **fields}))


def test_what_these_keys_have_verified_is_not_looked_at_again(store: LocalStore, ring: Keyring) -> None:
    generation = a_generation(a_document(INDEX), keyring=ring.identity)
    assert Reverifier("test", "gpg", ring, store).reverify(generation) is generation
    trusting = a_generation(a_document(INDEX), keyring="tls")
    assert Reverifier("test", "tls", None, store).reverify(trusting) is trusting
    with pytest.raises(NoLongerVerified, match="trust = 'tls'"):
        Reverifier("test", "tls", None, store).reverify(generation)


def test_what_the_keys_of_now_verify_stays(
    store: LocalStore, ring: Keyring, key: SigningKey, published: Published
) -> None:
    documents = (
        published.signed(INDEX, key),
        published.plain(PLAIN, format=SIBLING),
        published.signature(PLAIN, key),
        published.signed(LIST, key, content_id="one"),
    )
    found = reverified(store, ring, *documents)
    assert found.keyring == ring.identity
    assert list(found.documents) == [one.path for one in documents]
    signers = [found.documents[path].fingerprint for path in (INDEX, LIST)]
    assert signers == [key.fingerprint] * 2
    assert (found.refused, found.left, found.content_ids) == ({}, {}, ("one",))


def test_what_others_signed_is_left_out_with_what_it_proved(
    store: LocalStore, ring: Keyring, key: SigningKey, other: SigningKey, published: Published
) -> None:
    documents = (
        published.signed(INDEX, key),
        published.signed(LIST, other, updated=5.0, content_id="one"),
        published.plain(PLAIN, format=SIBLING),
        published.signature(PLAIN, key),
    )
    before = {OTHER: "it was refused before"}
    found = reverified(store, ring, *documents, refused=before, content_ids=("one", "two"))
    assert list(found.documents) == [INDEX]
    assert found.refused.keys() == {OTHER, LIST, PLAIN, f"{PLAIN}.gpg"}
    assert found.refused[LIST].startswith(f"{LIST} is refused: ")
    assert found.refused[PLAIN] == f"{PLAIN} is refused: {LIST} is refused, which proves it"
    assert found.refused[f"{PLAIN}.gpg"] == f"{PLAIN}.gpg is refused: {PLAIN} is refused, which it signs"
    # Nothing older than its dates may come back.
    assert found.left == {LIST: documents[1].date_only()}
    assert found.content_ids == ("one", "two")


def test_a_signature_by_another_key_is_left_out_alone(
    store: LocalStore, ring: Keyring, key: SigningKey, other: SigningKey, published: Published
) -> None:
    documents = (
        published.signed(INDEX, key),
        published.signed(LIST, key),
        published.plain(PLAIN, format=SIBLING),
        published.signature(PLAIN, other),
    )
    found = reverified(store, ring, *documents)
    assert list(found.documents) == [INDEX, LIST, PLAIN]
    assert found.refused.keys() == {f"{PLAIN}.gpg"}


def test_plain_documents_are_verified_by_the_signatures_beside_them(
    store: LocalStore, ring: Keyring, key: SigningKey, other: SigningKey, published: Published
) -> None:
    index = "streams/v1/index.json"
    documents = (
        published.plain(index),
        published.signature(index, key),
        published.plain(PLAIN),
        published.signature(PLAIN, other),
        published.plain("streams/v1/two.json"),
    )
    found = reverified(store, ring, *documents)
    assert list(found.documents) == [index, f"{index}.gpg"]
    assert found.documents[index].fingerprint == key.fingerprint
    assert found.refused["streams/v1/two.json"] == "streams/v1/two.json is refused: it is not signed"


def test_without_its_index_nothing_is_served(
    store: LocalStore, ring: Keyring, key: SigningKey, other: SigningKey, published: Published
) -> None:
    with pytest.raises(NoLongerVerified, match=f"{INDEX} is refused: "):
        reverified(store, ring, published.signed(INDEX, other), published.signed(LIST, key))


def test_a_signature_proves_the_text_that_was_read_and_no_other(
    store: LocalStore, ring: Keyring, key: SigningKey, published: Published
) -> None:
    index = published.signed(INDEX, key)
    with pytest.raises(NoLongerVerified, match="another text than the one that was read"):
        reverified(store, ring, replace(index, text=NO_DIGEST))


def test_what_the_store_has_lost_can_be_verified_no_more(
    store: LocalStore, ring: Keyring, key: SigningKey, published: Published
) -> None:
    with pytest.raises(GenerationLost, match=f"the store has lost {LIST}"):
        reverified(store, ring, published.signed(INDEX, key), a_document(LIST))


def test_each_signature_is_checked_once(
    store: LocalStore, ring: Keyring, key: SigningKey, published: Published
) -> None:
    reverifier = Reverifier("test", "gpg", ring, store)
    index = published.signed(INDEX, key)
    generation = a_generation(index, keyring="of before")
    first = reverifier.reverify(generation)
    store.set_aside(index.digest)
    assert reverifier.reverify(generation) == first
