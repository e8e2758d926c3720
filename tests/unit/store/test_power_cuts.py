"""Power fails after any call that changes names or syncs: what the store has told of is true afterwards.

A blob that has its name is whole, one that was stored is there, one that was removed stays away.
"""

import hashlib
import shutil
from pathlib import Path

import pytest
from support.layout import layout_of
from support.power import PowerCuts
from support.stored import removed

from proxy.digest import digest_of
from proxy.store.local.store import LocalStore

DATA = bytes(range(256)) * 40
DIGEST = digest_of(DATA)
ANOTHER = b"another"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder that is there."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def blobs_are_whole(root: Path) -> None:
    """Assert that no name of a blob lies."""
    for path in root.glob("blobs/sha256/*/*"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name, path


def is_stored(root: Path) -> None:
    """Assert that the blob is there, for a program that starts then."""
    assert LocalStore(root).read(DIGEST) == DATA


def is_away(root: Path) -> None:
    """Assert that the blob is not there."""
    assert not LocalStore(root).has(DIGEST)


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("is_shard_there", [False, True])
def test_a_blob_that_was_committed_is_there(
    tmp_path: Path, root: Path, parts: int, *, is_shard_there: bool
) -> None:
    with PowerCuts() as power:
        power.watch(root)
        store = LocalStore(root)
        if is_shard_there:
            layout_of(store).path(DIGEST).parent.mkdir(parents=True)
            power.settle(root)
        incoming = store.acquire(DIGEST, len(DATA))
        assert incoming is not None
        for start in range(0, len(DATA), len(DATA) // parts):
            incoming.append(DATA[start : start + len(DATA) // parts])
        incoming.verify()
        incoming.commit()
        power.promise(is_stored)
        incoming.close()
        store.put(ANOTHER)
    power.check_all(tmp_path / "cuts", blobs_are_whole)


def test_what_was_put_is_there(tmp_path: Path, root: Path) -> None:
    with PowerCuts() as power:
        power.watch(root)
        LocalStore(root).put(DATA)
        power.promise(is_stored)
        LocalStore(root).put(DATA)
    power.check_all(tmp_path / "cuts", blobs_are_whole)


def test_what_is_put_is_there_after_somebody_has_removed_the_folders(tmp_path: Path, root: Path) -> None:
    with PowerCuts() as power:
        power.watch(root)
        store = LocalStore(root)
        for folder in (layout_of(store).blobs, layout_of(store).incoming):
            shutil.rmtree(folder)
        store.put(DATA)
        power.promise(is_stored)
    power.check_all(tmp_path / "cuts", blobs_are_whole)


def test_a_blob_that_was_removed_stays_away(tmp_path: Path, root: Path) -> None:
    store = LocalStore(root)
    store.put(DATA)
    with PowerCuts() as power:
        power.watch(root)
        assert removed(store, DIGEST)
        power.promise(is_away)
        store.put(ANOTHER)
    power.check_all(tmp_path / "cuts", blobs_are_whole)


def test_blobs_that_were_withdrawn_stay_away_once_that_is_finished(tmp_path: Path, root: Path) -> None:
    store = LocalStore(root)
    store.put(DATA)
    with PowerCuts() as power:
        power.watch(root)
        removal = store.withdraw(DIGEST)
        assert removal is not None
        power.cut(root, tmp_path / "before")
        removal.finish()
        power.promise(is_away)
    is_stored(tmp_path / "before")
    power.check_all(tmp_path / "cuts")


def test_a_blob_that_was_removed_and_came_again_is_there(tmp_path: Path, root: Path) -> None:
    store = LocalStore(root)
    store.put(DATA)
    with PowerCuts() as power:
        power.watch(root)
        removed(store, DIGEST)
        store.put(DATA)
        power.promise(is_stored)
    power.check_all(tmp_path / "cuts", blobs_are_whole)
