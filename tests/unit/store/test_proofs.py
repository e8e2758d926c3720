"""What counts as proved, and for how long."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.layout import layout_of
from support.running import Clock

from proxy.digest import digest_of
from proxy.store.blob_records import BlobRecords
from proxy.store.ledger import Ledger
from proxy.store.local.store import LocalStore
from proxy.store.proofs import RECENT_S, Proofs

DATA = b"a blob"
DIGEST = digest_of(DATA)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path)
    store.put(DATA)
    return store


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "ledger", clock)
    BlobRecords(ledger).add(DIGEST, len(DATA))
    yield ledger
    ledger.close()


@pytest.fixture
def proofs(store: LocalStore, ledger: Ledger) -> Proofs:
    return Proofs(store, BlobRecords(ledger))


def rot(store: LocalStore) -> None:
    """Change bytes in a way that the file system tells of."""
    path = layout_of(store).path(DIGEST)
    path.chmod(0o644)
    path.write_bytes(b"A blob")


def changed_ns(store: LocalStore) -> int:
    """Return when the blob's file was touched last."""
    found = store.changed_ns(DIGEST)
    assert found is not None
    return found


def test_a_blob_without_a_proof_is_hashed_and_then_has_one(proofs: Proofs) -> None:
    assert not proofs.is_recent(DIGEST)
    assert proofs.problem(DIGEST, len(DATA), deep=False) is None
    assert proofs.is_recent(DIGEST)


def test_a_proof_lasts_thirty_days(proofs: Proofs, clock: Clock) -> None:
    proofs.record(DIGEST)
    clock.advance(RECENT_S)
    assert proofs.is_recent(DIGEST)
    clock.advance(1)
    assert not proofs.is_recent(DIGEST)


def test_a_proof_survives_that_the_blob_is_used(proofs: Proofs, ledger: Ledger, clock: Clock) -> None:
    proofs.record(DIGEST)
    BlobRecords(ledger).touch({DIGEST: clock()})
    assert proofs.is_recent(DIGEST)


def test_a_touched_file_is_hashed_again_and_set_aside_if_it_is_damaged(
    proofs: Proofs, store: LocalStore
) -> None:
    proofs.record(DIGEST)
    rot(store)
    assert not proofs.is_recent(DIGEST)
    assert proofs.problem(DIGEST, len(DATA), deep=False) == "is damaged: its bytes do not match its sha256"
    assert not store.has(DIGEST)
    assert (layout_of(store).quarantine / DIGEST).exists()


def test_what_rots_unseen_is_found_only_by_a_deep_look(proofs: Proofs, store: LocalStore) -> None:
    rot(store)
    proofs.record(DIGEST)
    assert proofs.problem(DIGEST, len(DATA), deep=False) is None
    assert proofs.problem(DIGEST, len(DATA), deep=True) is not None


def test_a_blob_that_cannot_be_read_is_not_set_aside(
    proofs: Proofs, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("proxy.store.local.reader.hashlib.file_digest", fail)
    assert proofs.problem(DIGEST, len(DATA), deep=True) == "cannot be read: Too many open files"
    assert store.has(DIGEST)


def test_a_proof_counts_on_when_the_file_got_another_name(
    proofs: Proofs, store: LocalStore, tmp_path: Path
) -> None:
    proofs.record(DIGEST)
    before_ns = changed_ns(store)
    while changed_ns(store) == before_ns:  # Kernel time is coarse.
        (tmp_path / "another-name").unlink(missing_ok=True)
        os.link(layout_of(store).path(DIGEST), tmp_path / "another-name")
    assert not proofs.is_recent(DIGEST)
    proofs.carry_over({DIGEST: before_ns})
    assert proofs.is_recent(DIGEST)


def test_no_proof_counts_on_of_what_had_changed_before_that(
    proofs: Proofs, store: LocalStore, tmp_path: Path
) -> None:
    proofs.record(DIGEST)
    recorded_ns = changed_ns(store)
    while (before_ns := changed_ns(store)) == recorded_ns:
        layout_of(store).path(DIGEST).chmod(0o644)
    os.link(layout_of(store).path(DIGEST), tmp_path / "another-name")
    proofs.carry_over({DIGEST: before_ns})
    assert not proofs.is_recent(DIGEST)
