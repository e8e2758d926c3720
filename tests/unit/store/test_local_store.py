"""Blobs on disk: named by their digest, written once, never taken from under a reader."""

import errno
import os
import resource
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.failing_disk import in_the_way
from support.holding import ROOT, Holding
from support.layout import layout_of
from support.stored import removed
from support.unprivileged import as_ordinary_user

from proxy.digest import Digest, digest_of
from proxy.store.files import StoreFault, publish, remove
from proxy.store.local import writer
from proxy.store.local.store import LocalStore
from proxy.system.durable import sync_directory

DATA = b"some bytes of a boot image"
DIGEST = digest_of(DATA)

HOLD_A_READER = """
from pathlib import Path
from proxy.digest import Digest
from proxy.store.local.store import LocalStore
from proxy.system.durable import sync_directory
blob = LocalStore(Path(sys.argv[1])).open(Digest(sys.argv[2]), int(sys.argv[3]))
"""


def damage(store: LocalStore, digest: Digest, data: bytes) -> None:
    """Change a blob behind the store's back."""
    path = layout_of(store).path(digest)
    path.chmod(0o644)
    path.write_bytes(data)


def files(store: LocalStore) -> set[str]:
    """List all files below the store."""
    return {
        str(path.relative_to(layout_of(store).root))
        for path in layout_of(store).root.rglob("*")
        if path.is_file()
    }


def test_a_blob_lies_under_its_digest_and_cannot_be_written(store: LocalStore) -> None:
    assert store.put(DATA) == DIGEST
    assert files(store) == {f"blobs/sha256/{DIGEST[:2]}/{DIGEST}"}
    assert stat.S_IMODE(layout_of(store).path(DIGEST).stat().st_mode) == 0o444


def test_what_was_put_is_what_is_read(store: LocalStore) -> None:
    for data in (DATA, b"", bytes(3_000_000)):
        digest = store.put(data)
        assert store.has(digest)
        assert store.read(digest) == data
        blob = store.open(digest, len(data))
        assert blob is not None
        with blob:
            assert blob.size_bytes == len(data)
            assert os.pread(blob.fd, len(data) + 1, 0) == data


def test_what_is_not_here_is_none(store: LocalStore) -> None:
    assert not store.has(DIGEST)
    assert store.open(DIGEST, len(DATA)) is None
    assert store.read(DIGEST) is None
    assert list(store.scan()) == []


def test_a_blob_is_written_once(store: LocalStore) -> None:
    store.put(DATA)
    before = layout_of(store).path(DIGEST).stat()
    store.put(DATA)
    after = layout_of(store).path(DIGEST).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_folder_that_loses_what_is_put_is_a_fault_after_some_tries(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[Path] = []

    def lose(draft: Path, *_: object) -> None:
        tries.append(draft)
        remove(draft)
        raise FileNotFoundError(draft)

    monkeypatch.setattr(writer, "publish", lose)
    with pytest.raises(StoreFault, match="loses files"):
        store.put(DATA)
    assert 1 < len(tries) < 20
    assert files(store) == set()


def test_a_disk_that_takes_no_document_is_a_fault(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(writer, "publish", fail)
    with pytest.raises(StoreFault, match="a document cannot be stored: Input/output error; the disk fails"):
        store.put(DATA)
    assert files(store) == set()


def test_trying_the_store_out_leaves_nothing_behind(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor when the last step fails."""
    store.try_out()
    assert files(store) == set()

    def fail(*_: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(writer, "publish", fail)
    with pytest.raises(PermissionError):
        store.try_out()
    assert files(store) == set()


def test_another_store_over_the_same_directory_has_the_same_blobs(store: LocalStore) -> None:
    store.put(DATA)
    assert LocalStore(layout_of(store).root).read(DIGEST) == DATA


def test_closing_twice_closes_nothing_of_others(store: LocalStore) -> None:
    store.put(DATA)
    blob = store.open(DIGEST, len(DATA))
    assert blob is not None
    blob.close()
    with (layout_of(store).root / "other").open("wb") as other:
        blob.close()
        other.write(b"still open")
    assert blob.fd == -1


# Damage


def test_a_blob_of_another_size_is_not_opened(store: LocalStore) -> None:
    store.put(DATA)
    assert store.open(DIGEST, len(DATA) + 1) is None
    damage(store, DIGEST, DATA[:-1])
    assert store.open(DIGEST, len(DATA)) is None


def test_an_audit_says_whose_fault_a_wrong_size_is(store: LocalStore) -> None:
    """A damaged blob is set aside, to be fetched anew; a good one stays, and the list is wrong."""
    assert store.audit(DIGEST, len(DATA) + 1) is None
    store.put(DATA)
    assert f"has {len(DATA)} bytes" in str(store.audit(DIGEST, len(DATA) + 1))
    assert store.read(DIGEST) == DATA
    assert store.audit(DIGEST, len(DATA)) is None
    damage(store, DIGEST, DATA[:-1])
    assert store.audit(DIGEST, len(DATA) + 1) is None
    assert not store.has(DIGEST)
    assert (layout_of(store).quarantine / DIGEST).read_bytes() == DATA[:-1]


def test_putting_heals_what_rotted(store: LocalStore) -> None:
    store.put(DATA)
    damage(store, DIGEST, DATA[::-1])
    store.put(DATA)
    assert store.read(DIGEST) == DATA
    assert stat.S_IMODE(layout_of(store).path(DIGEST).stat().st_mode) == 0o444
    assert (layout_of(store).quarantine / DIGEST).read_bytes() == DATA[::-1]


@pytest.mark.parametrize(
    ("data", "problem", "is_only_found_by_hashing"),
    [
        (DATA, None, False),
        (DATA[:-1], f"has {len(DATA) - 1} bytes instead of {len(DATA)}", False),
        (DATA[::-1], "is damaged: its bytes do not match its sha256", True),
    ],
    ids=["good", "short", "rotten"],
)
def test_what_is_wrong_with_a_blob_can_be_told(
    store: LocalStore, data: bytes, problem: str | None, *, is_only_found_by_hashing: bool
) -> None:
    """And is only told: the blob stays where it is."""
    assert store.problem(DIGEST, len(DATA), deep=True) == "is missing"
    store.put(DATA)
    damage(store, DIGEST, data)
    assert store.problem(DIGEST, len(DATA), deep=True) == problem
    assert store.problem(DIGEST, len(DATA), deep=False) == (None if is_only_found_by_hashing else problem)
    assert layout_of(store).path(DIGEST).read_bytes() == data


def test_a_blob_that_may_not_be_read_is_as_good_as_none(store: LocalStore) -> None:
    store.put(DATA)
    layout_of(store).path(DIGEST).chmod(0)
    assert as_ordinary_user(lambda: store.open(DIGEST, len(DATA))) is None
    assert as_ordinary_user(lambda: store.read(DIGEST)) is None
    found = as_ordinary_user(lambda: store.problem(DIGEST, len(DATA), deep=True))
    assert found == "cannot be read: Permission denied"


def test_a_document_that_rotted_is_set_aside(store: LocalStore) -> None:
    """Whoever reads a blob whole hashes it again."""
    store.put(DATA)
    damage(store, DIGEST, DATA[::-1])
    assert store.read(DIGEST) is None
    assert files(store) == {f"quarantine/{DIGEST}"}


def test_what_rotted_on_a_disk_that_can_only_be_read_is_no_document_either(store: LocalStore) -> None:
    store.put(DATA)
    damage(store, DIGEST, DATA[::-1])
    with in_the_way(layout_of(store).quarantine):
        for _ in range(2):
            assert store.read(DIGEST) is None
            assert not store.is_intact(DIGEST)
    assert store.put(DATA) == DIGEST
    assert store.read(DIGEST) == DATA


def test_what_is_damaged_twice_or_gone_already_is_no_error(store: LocalStore) -> None:
    for _ in range(2):
        store.put(DATA)
        damage(store, DIGEST, b"")
        assert store.read(DIGEST) is None
    store.set_aside(DIGEST)
    assert files(store) == {f"quarantine/{DIGEST}"}


# Removal


def test_a_blob_can_be_removed(store: LocalStore) -> None:
    store.put(DATA)
    assert removed(store, DIGEST)
    assert files(store) == set()


def test_what_is_not_here_counts_as_removed(store: LocalStore) -> None:
    assert removed(store, DIGEST)


def test_a_blob_that_is_read_stays_until_the_last_reader_is_done(store: LocalStore) -> None:
    store.put(DATA)
    first, second = store.open(DIGEST, len(DATA)), store.open(DIGEST, len(DATA))
    for reader in (first, second):
        assert reader is not None
        assert not removed(store, DIGEST)
        assert os.pread(reader.fd, 100, 0) == DATA
        reader.close()
    assert removed(store, DIGEST)


def test_a_reader_in_another_process_protects_a_blob_for_as_long_as_it_lives(store: LocalStore) -> None:
    store.put(DATA)
    with Holding(HOLD_A_READER, layout_of(store).root, DIGEST, str(len(DATA))) as reader:
        assert not removed(store, DIGEST)
        assert store.has(DIGEST)
        reader.kill()
        assert removed(store, DIGEST)


# Looking round


def test_only_blobs_are_found(store: LocalStore) -> None:
    digests = {store.put(data) for data in (b"one", b"two", b"three")}
    shard = layout_of(store).path(DIGEST).parent
    shard.mkdir(exist_ok=True)
    (shard / "README").write_text("not a blob")
    (shard / f"{DIGEST}.bak").write_text("not a blob")
    (shard.parent / DIGEST).write_text("not in a shard")
    found = {one.digest: one.size_bytes for one in store.scan()}
    assert found == {digest: len(store.read(digest) or b"") for digest in digests}


def test_only_partial_blobs_are_found(store: LocalStore) -> None:
    (layout_of(store).incoming / DIGEST).write_bytes(b"some")
    (layout_of(store).incoming / "put-abcdef").write_bytes(b"a document on its way")
    assert list(store.partial_digests()) == [DIGEST]


def test_how_much_of_a_blob_is_here_is_known(store: LocalStore) -> None:
    """All of it, its beginning, or nothing."""
    assert store.stored_bytes(DIGEST, len(DATA)) == 0
    (layout_of(store).incoming / DIGEST).write_bytes(DATA[:5])
    assert store.stored_bytes(DIGEST, len(DATA)) == 5
    (layout_of(store).incoming / DIGEST).write_bytes(DATA + b"more")
    assert store.stored_bytes(DIGEST, len(DATA)) == len(DATA)
    store.put(DATA)
    (layout_of(store).incoming / DIGEST).write_bytes(b"")
    assert store.stored_bytes(DIGEST, len(DATA)) == len(DATA)


# What dead processes left

HOLD_A_DRAFT = """
import fcntl
file = open(sys.argv[1], "wb")
fcntl.flock(file, fcntl.LOCK_EX)
"""


def test_only_the_drafts_of_dead_processes_are_removed(store: LocalStore) -> None:
    store.put(DATA)
    (layout_of(store).incoming / DIGEST).write_bytes(b"a partial blob")
    (layout_of(store).incoming / "put-dead").write_bytes(b"half a document")
    with Holding(HOLD_A_DRAFT, layout_of(store).incoming / "put-living") as process:
        store.remove_dead_drafts()
        assert {path.name for path in layout_of(store).incoming.iterdir()} == {DIGEST, "put-living"}
        process.kill()
        store.remove_dead_drafts()
    assert {path.name for path in layout_of(store).incoming.iterdir()} == {DIGEST}
    assert store.read(DIGEST) == DATA


def test_partial_blobs_that_nobody_goes_on_with_are_removed(store: LocalStore) -> None:
    """Unless they are young, or somebody writes them just now."""
    ages_s = {"young": 50, "old": 150, "held": 150}
    digests = {name: digest_of(name.encode()) for name in ages_s}
    for name, age_s in ages_s.items():
        path = layout_of(store).incoming / digests[name]
        path.write_bytes(b"the beginning")
        os.utime(path, (time.time() - age_s, time.time() - age_s))
    with Holding(
        HOLD_A_DRAFT.replace('"wb"', '"rb"'), layout_of(store).incoming / digests["held"]
    ) as process:
        store.remove_idle_partials(100)
        assert set(store.partial_digests()) == {digests["young"], digests["held"]}
        process.kill()
        store.remove_idle_partials(100)
    assert set(store.partial_digests()) == {digests["young"]}


def test_a_partial_file_from_times_to_come_begins_to_age(store: LocalStore) -> None:
    """A clock was ahead when it was written."""
    path = layout_of(store).incoming / DIGEST
    path.write_bytes(b"part")
    os.utime(path, (time.time() + 1e9, time.time() + 1e9))
    store.remove_idle_partials(100)
    assert abs(path.stat().st_mtime - time.time()) < 10
    store.remove_idle_partials(-1)
    assert not path.exists()


def test_free_space_is_what_the_file_system_says(store: LocalStore) -> None:
    status = os.statvfs(layout_of(store).root)
    assert 0 <= store.free_bytes() <= status.f_blocks * status.f_frsize


# A disk that gives out

FILL_THE_DISK = f"""
import resource, signal, sys
from pathlib import Path
from proxy.store.files import StoreFault
from proxy.store.local.store import LocalStore
from proxy.system.durable import sync_directory
store = LocalStore(Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, {resource.RLIM_INFINITY}))
try:
    store.put(bytes(200_000))
except StoreFault as error:
    print(error, "draft gone:", not list((Path(sys.argv[1]) / "incoming").iterdir()))
store.put(b"small")
"""


def test_a_blob_that_does_not_fit_leaves_nothing_behind(store: LocalStore) -> None:
    """A full disk is told of, and the store goes on with what fits."""
    done = subprocess.run(
        [sys.executable, "-c", FILL_THE_DISK, str(layout_of(store).root)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert done.stdout == "a document cannot be stored: File too large draft gone: True\n"
    assert store.read(digest_of(b"small")) == b"small"
    assert len(files(store)) == 1


def test_a_document_that_cannot_be_published_leaves_no_draft(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(writer, "publish", fail)
    with pytest.raises(StoreFault, match="a document cannot be stored"):
        store.put(b"document")
    assert not files(store)
    assert list(layout_of(store).incoming.iterdir()) == []


def test_folders_that_somebody_removed_are_made_again(store: LocalStore) -> None:
    root = layout_of(store).root
    before = {path for path in root.iterdir() if path.is_dir()}
    for folder in before:
        shutil.rmtree(folder)
    store.restore()
    assert {path for path in root.iterdir() if path.is_dir()} == before
    assert len(before) == 3


def test_what_was_inspected_is_let_go_of(store: LocalStore) -> None:
    digest = store.put(b"whole")
    before = len(list(Path("/proc/self/fd").iterdir()))
    inspection = store.inspect(digest)
    assert inspection is not None
    while inspection.step():
        pass
    assert not inspection.is_damaged()
    inspection.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_publishing_makes_the_folder_if_need_be(tmp_path: Path) -> None:
    for data in (b"new", b"newer"):
        with (tmp_path / "draft").open("wb", buffering=0) as draft:
            draft.write(data)
            publish(tmp_path / "draft", tmp_path / "folder" / "final", draft.fileno())
    assert (tmp_path / "folder" / "final").read_bytes() == b"newer"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_removing_what_is_gone_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    remove(tmp_path / "file")
    remove(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("is_adopted", [False, True], ids=["put", "adopted"])
def test_who_opens_a_blob_while_its_folder_is_synced_keeps_it_from_removal(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_adopted: bool
) -> None:
    """Its writer has its lock until the disk has the name, which may take seconds."""
    digest, opened = digest_of(b"new"), []

    def sync(folder: Path) -> None:
        sync_directory(folder)
        opened.append(store.open(digest))

    monkeypatch.setattr("proxy.store.files.sync_directory", sync)
    if is_adopted:
        (tmp_path / "file").write_bytes(b"new")
        with (tmp_path / "file").open("rb") as file:
            adoption = store.adopt(file.fileno())
            while adoption.step():
                pass
            adoption.commit()
            adoption.close()
    else:
        store.put(b"new")
    blob = opened[-1]
    assert blob is not None
    assert not removed(store, digest)
    blob.close()
    assert removed(store, digest)
