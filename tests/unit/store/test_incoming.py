"""Blobs on their way in: one writer among all processes, and nothing lost when it dies."""

import fcntl
import io
import itertools
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from support.holding import ROOT, Holding
from support.layout import layout_of
from support.stored import removed
from support.unprivileged import as_ordinary_user

from proxy.digest import DigestMismatch, SizeMismatch, digest_of
from proxy.store.local.incoming import LocalIncoming
from proxy.store.local.partial import LocalPartial
from proxy.store.local.store import LocalStore

DATA = bytes(range(256)) * 5000
SIZE = len(DATA)
DIGEST = digest_of(DATA)
ENVIRON = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}

HOLD_THE_PARTIAL = """
from pathlib import Path
from proxy.digest import Digest
from proxy.store.local.incoming import LocalIncoming
from proxy.store.local.store import LocalStore
incoming = LocalStore(Path(sys.argv[1])).acquire(Digest(sys.argv[2]), int(sys.argv[3]))
incoming.append(bytes(range(256)) * 1000)
"""

PROVE_THE_PARTIAL = f"""{HOLD_THE_PARTIAL}
incoming.append((bytes(range(256)) * 5000)[incoming.length_bytes:])
incoming.verify()
"""


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """Return an empty store."""
    return LocalStore(tmp_path / "data")


def acquired(store: LocalStore) -> LocalIncoming:
    """Become the writer of the blob."""
    incoming = store.acquire(DIGEST, SIZE)
    assert incoming is not None
    return incoming


def partial(store: LocalStore) -> LocalPartial:
    """Follow the blob."""
    found = store.follow(DIGEST)
    assert found is not None
    return found


def mode(path: Path) -> int:
    """Return a file's permissions."""
    return stat.S_IMODE(path.stat().st_mode)


def leave(store: LocalStore, data: bytes) -> Path:
    """Leave a partial file as an earlier run would."""
    path = layout_of(store).incoming / DIGEST
    path.write_bytes(data)
    return path


def finish(incoming: LocalIncoming) -> None:
    """Append what is missing and commit."""
    incoming.append(DATA[incoming.length_bytes :])
    incoming.verify()
    incoming.commit()
    incoming.close()


# The usual way


def test_a_blob_arrives_piece_by_piece(store: LocalStore) -> None:
    incoming = acquired(store)
    assert (incoming.resumed_bytes, incoming.length_bytes) == (0, 0)
    for start in range(0, SIZE, 100_000):
        incoming.append(DATA[start : start + 100_000])
    assert incoming.length_bytes == SIZE
    assert not store.has(DIGEST)
    incoming.verify()
    incoming.commit()
    incoming.close()
    incoming.close()
    assert store.read(DIGEST) == DATA
    assert mode(layout_of(store).path(DIGEST)) == 0o444
    assert list(layout_of(store).incoming.iterdir()) == []


@pytest.mark.parametrize("chunk_bytes", [1, 4096, 256_000, 524_288, 700_000, SIZE])
def test_chunks_of_any_size_arrive_in_order_together_or_one_by_one(
    store: LocalStore, chunk_bytes: int
) -> None:
    """Many small ones are more than one call may write, large ones end amid a piece."""
    incoming = acquired(store)
    chunks = [DATA[start : start + chunk_bytes] for start in range(0, SIZE, chunk_bytes)]
    incoming.append(chunks[0])
    incoming.append(*chunks[1:])
    incoming.append()
    incoming.verify()
    incoming.commit()
    incoming.close()
    assert store.read(DIGEST) == DATA


@pytest.mark.parametrize("begun_bytes", [0, 1, 524_288, 700_000])
@pytest.mark.parametrize("at_once_bytes", [100_000, 524_288, SIZE])
def test_what_is_drawn_arrives_in_order_whatever_comes_at_once(
    store: LocalStore, begun_bytes: int, at_once_bytes: int
) -> None:
    """From any offset on, with times between at which there is nothing."""
    incoming = acquired(store)
    incoming.append(DATA[:begun_bytes])
    source = io.BytesIO(DATA[begun_bytes:])
    pauses = itertools.cycle([False, True, True])

    def receive(buffer: memoryview) -> int:
        return 0 if next(pauses) else source.readinto(buffer[:at_once_bytes])

    while incoming.length_bytes < SIZE:
        before_bytes = incoming.length_bytes
        incoming.draw(receive, SIZE)
        assert 0 <= incoming.length_bytes - before_bytes <= at_once_bytes
    incoming.verify()
    incoming.commit()
    incoming.close()
    assert store.read(DIGEST) == DATA


def test_what_is_appended_is_written_on_the_boundaries_of_its_pieces(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From wherever it begins: each is in the file before the next one is hashed."""
    lengths = []
    writev = os.writev

    def write(fd: int, parts: list[memoryview]) -> int:
        written = writev(fd, parts)
        lengths.append(os.fstat(fd).st_size)
        return written

    monkeypatch.setattr(os, "writev", write)
    incoming = acquired(store)
    incoming.append(DATA[:100_000])
    incoming.append(DATA[100_000:])
    assert lengths == [100_000, 524_288, 1_048_576, SIZE]
    incoming.close()


def test_nothing_is_asked_for_when_a_piece_is_full(store: LocalStore) -> None:
    """A socket would take that for the end of what comes."""
    incoming = acquired(store)
    source = io.BytesIO(DATA)
    asked_bytes = []

    def receive(buffer: memoryview) -> int:
        asked_bytes.append(len(buffer))
        return source.readinto(buffer)

    incoming.draw(receive, SIZE)
    assert asked_bytes == [524_288, 524_288]
    incoming.close()


def test_no_more_is_drawn_than_was_asked_for(store: LocalStore) -> None:
    """Up to where a piece of the file ends, if that is farther on: others have their turn."""
    incoming = acquired(store)
    source = io.BytesIO(DATA)
    lengths = []
    for most_bytes in (600_000, 100_000, 600_000):
        incoming.draw(source.readinto, most_bytes)
        lengths.append(incoming.length_bytes)
    assert lengths == [524_288, 624_288, 1_048_576]
    assert source.tell() == 1_048_576
    incoming.close()


def test_more_bytes_than_promised_are_not_drawn_into_the_file(store: LocalStore) -> None:
    incoming = acquired(store)
    source = io.BytesIO(DATA + b"!")
    with pytest.raises(SizeMismatch):
        incoming.draw(source.readinto, 2 * SIZE)
    assert (layout_of(store).incoming / DIGEST).stat().st_size <= SIZE
    incoming.close()


def test_a_reader_sees_it_grow_and_be_proved_and_keeps_it(store: LocalStore) -> None:
    """One descriptor from the first byte to long after the commit."""
    assert store.follow(DIGEST) is None
    incoming = acquired(store)
    reader = partial(store)
    seen = [reader.progress()]
    incoming.append(DATA[:1000])
    seen.append(reader.progress())
    incoming.append(DATA[1000:])
    seen.append(reader.progress())
    incoming.verify()
    seen.append(reader.progress())
    incoming.commit()
    incoming.close()
    seen.append(reader.progress())
    assert [(one.length_bytes, one.is_verified, one.is_discarded) for one in seen] == [
        (0, False, False),
        (1000, False, False),
        (SIZE, False, False),
        (SIZE, True, False),
        (SIZE, False, False),
    ]
    assert os.pread(reader.fd, SIZE, 0) == DATA
    removed(store, DIGEST)
    assert reader.progress().is_discarded
    assert os.pread(reader.fd, SIZE, 0) == DATA
    reader.close()
    reader.close()


def test_nothing_is_called_verified_before_all_of_it_is_right(store: LocalStore) -> None:
    incoming = acquired(store)
    incoming.append(DATA[:-1])
    with pytest.raises(SizeMismatch):
        incoming.verify()
    incoming.append(b"x")
    with pytest.raises(DigestMismatch):
        incoming.verify()
    reader = partial(store)
    assert not reader.progress().is_verified
    reader.close()
    incoming.close()


def test_more_bytes_than_promised_are_not_written(store: LocalStore) -> None:
    incoming = acquired(store)
    incoming.append(DATA)
    with pytest.raises(SizeMismatch):
        incoming.append(b"x")
    incoming.close()
    assert (layout_of(store).incoming / DIGEST).stat().st_size == SIZE


def test_an_empty_blob_arrives_too(store: LocalStore) -> None:
    incoming = store.acquire(digest_of(b""), 0)
    assert incoming is not None
    incoming.verify()
    incoming.commit()
    incoming.close()
    assert store.read(digest_of(b"")) == b""


# One writer


def test_there_is_one_writer_at_a_time(store: LocalStore) -> None:
    first = acquired(store)
    assert store.acquire(DIGEST, SIZE) is None
    assert LocalStore(layout_of(store).root).acquire(DIGEST, SIZE) is None
    first.append(DATA[:10])
    first.close()
    second = acquired(store)
    assert second.resumed_bytes == 10
    second.close()


def test_writers_of_different_blobs_do_not_meet(store: LocalStore) -> None:
    first = acquired(store)
    other = store.acquire(digest_of(b"other"), 5)
    assert other is not None
    first.close()
    other.close()


def test_a_writer_that_is_killed_leaves_its_place_and_its_bytes(store: LocalStore) -> None:
    with Holding(HOLD_THE_PARTIAL, layout_of(store).root, DIGEST, str(SIZE)) as writer:
        assert store.acquire(DIGEST, SIZE) is None
        reader = partial(store)
        assert reader.progress().length_bytes == 256_000
        writer.kill()
        heir = acquired(store)
        assert heir.resumed_bytes == 256_000
        finish(heir)
    assert store.read(DIGEST) == DATA
    assert os.pread(reader.fd, SIZE, 0) == DATA
    reader.close()


def test_a_follower_can_tell_whether_its_file_is_still_the_one(store: LocalStore) -> None:
    """A discarded file may have been begun anew, with other bytes."""
    first = acquired(store)
    reader = partial(store)
    assert reader.is_same(first.fd)
    first.discard()
    second = acquired(store)
    assert not reader.is_same(second.fd)
    for one in (first, second, reader):
        one.close()


def test_what_took_the_name_of_a_removed_file_is_neither_committed_nor_removed(store: LocalStore) -> None:
    """Somebody empties the folder while items arrive, and another worker begins the item anew.

    Nothing of its file is proved when the first writer has all of its own.
    """
    first = acquired(store)
    first.append(DATA)
    (layout_of(store).incoming / DIGEST).unlink()
    second = acquired(store)
    second.append(DATA[:1000])
    first.verify()
    with pytest.raises(OSError, match="removed or replaced it"):
        first.commit()
    assert not store.has(DIGEST)
    first.discard()
    first.close()
    finish(second)
    assert store.read(DIGEST) == DATA


def test_a_file_that_was_removed_and_not_begun_anew_is_not_committed(store: LocalStore) -> None:
    incoming = acquired(store)
    incoming.append(DATA)
    incoming.verify()
    (layout_of(store).incoming / DIGEST).unlink()
    with pytest.raises(OSError, match="removed or replaced it"):
        incoming.commit()
    incoming.discard()
    incoming.close()
    assert not store.has(DIGEST)


@pytest.mark.parametrize("change", ["longer", "shorter"])
def test_a_file_that_somebody_else_has_made_longer_or_shorter_is_not_proved(
    store: LocalStore, change: str
) -> None:
    """What arrived matches the digest; what lies there, and is sent to clients, does not."""
    incoming = acquired(store)
    incoming.append(DATA[:1000])
    path = layout_of(store).incoming / DIGEST
    if change == "longer":
        with path.open("ab") as file:
            file.write(b"?")
    else:
        os.truncate(path, 10)
    incoming.append(DATA[1000:])
    reader = partial(store)
    with pytest.raises(OSError, match="somebody else has written to it"):
        incoming.verify()
    assert not reader.progress().is_verified
    reader.close()
    incoming.close()


def test_a_child_process_does_not_inherit_the_place(store: LocalStore) -> None:
    """Such as gpg, started while a download runs."""
    incoming = acquired(store)
    with Holding("", layout_of(store).root):
        incoming.close()
        acquired(store).close()


RACE = """
import os, sys
from pathlib import Path
from support.stored import removed
from support.unprivileged import as_ordinary_user
from proxy.digest import Digest
from proxy.store.local.incoming import LocalIncoming
from proxy.store.local.store import LocalStore
store, digest, data = LocalStore(Path(sys.argv[1])), Digest(sys.argv[2]), bytes(range(256))

def run():
    for number in range(400):
        incoming = store.acquire(digest, len(data))
        if incoming is None:
            continue
        if store.has(digest):
            incoming.discard()
        else:
            incoming.append(data[incoming.length_bytes:])
            incoming.verify()
            incoming.commit()
        incoming.close()
        blob = store.open(digest, len(data))
        if blob is not None:
            if os.pread(blob.fd, 999, 0) != data or os.fstat(blob.fd).st_mode & 0o222:
                print("a committed blob was changed or became writable")
            blob.close()
        if number % 4 == 0:
            removed(store, digest)

print("ready", flush=True)
sys.stdin.readline()
as_ordinary_user(run)
print("done")
"""


def test_processes_that_race_for_a_blob_neither_spoil_nor_unlock_it(store: LocalStore) -> None:
    """Whatever the order in which they open, lock, commit and remove."""
    data = bytes(range(256))
    digest = digest_of(data)
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(layout_of(store).root), digest],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=ENVIRON,
        )
        for _ in range(3)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == b"ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write(b"go\n")
        racer.stdin.flush()
    assert [racer.communicate(timeout=60)[0] for racer in racers] == [b"done\n"] * 3
    incoming = store.acquire(digest, len(data))
    assert incoming is not None
    incoming.discard()
    incoming.close()
    assert store.read(digest) in {data, None}
    assert list(layout_of(store).quarantine.iterdir()) == []


MEET = """
import os, sys
from pathlib import Path
from support.stored import removed
from support.unprivileged import as_ordinary_user
from proxy.digest import digest_of
from proxy.store.local.incoming import LocalIncoming
from proxy.store.local.store import LocalStore
store, data = LocalStore(Path(sys.argv[1])), b"some bytes"
digest = digest_of(data)

def meet():
    first = store.acquire(digest, len(data))
    first.append(data)
    first.verify()
    pending = [first]

    def finish_first(event, _):
        # Python tells of each call of flock before it is made.
        if event == "fcntl.flock" and pending:
            pending.clear()
            first.commit()
            first.close()

    sys.addaudithook(finish_first)
    late = store.acquire(digest, len(data))
    print(pending, late.length_bytes, oct(store._folders.blob(digest).stat().st_mode), store.read(digest))

meet() if sys.argv[2] == "privileged" else as_ordinary_user(meet)
"""


@pytest.mark.parametrize("user", ["privileged", "ordinary"])
def test_who_opens_it_before_and_locks_it_after_the_commit_begins_anew(store: LocalStore, user: str) -> None:
    """The committed blob is not taken for a partial file, and stays as it is."""
    done = run(MEET, layout_of(store).root, user)
    assert done == "[] 0 0o100444 b'some bytes'\n"


FAIL_ONCE = """
import sys
from pathlib import Path
from proxy.digest import digest_of
from proxy.store.local.incoming import LocalIncoming
from proxy.store.local.store import LocalStore
store, digest = LocalStore(Path(sys.argv[1])), digest_of(b"some bytes")
faults = [OSError("the disk fails")]

def fail_once(event, _):
    if event == "os.chmod" and faults:
        raise faults.pop()

sys.addaudithook(fail_once)
try:
    store.acquire(digest, 10)
except OSError as error:
    print(error)
print(store.acquire(digest, 10) is not None)
"""


def test_who_fails_at_once_locks_nobody_out(store: LocalStore) -> None:
    """Not even its own next try."""
    assert run(FAIL_ONCE, layout_of(store).root) == "the disk fails\nTrue\n"


def run(code: str, *arguments: str | Path) -> str:
    """Run a program, and return what it says."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRON,
    )
    return done.stdout + done.stderr


# What an earlier run left


def test_bytes_that_are_here_are_not_asked_for_again(store: LocalStore) -> None:
    leave(store, DATA[:700_000])
    incoming = acquired(store)
    assert (incoming.resumed_bytes, incoming.length_bytes) == (700_000, 700_000)
    finish(incoming)
    assert store.read(DIGEST) == DATA


def test_bytes_that_are_here_are_hashed_again(store: LocalStore) -> None:
    """A power cut may have left anything in the file."""
    leave(store, bytes(700_000))
    incoming = acquired(store)
    incoming.append(DATA[700_000:])
    with pytest.raises(DigestMismatch):
        incoming.verify()
    incoming.discard()
    incoming.close()
    finish(acquired(store))
    assert store.read(DIGEST) == DATA


def test_a_partial_file_that_is_whole_needs_nothing_more(store: LocalStore) -> None:
    leave(store, DATA)
    incoming = acquired(store)
    assert incoming.length_bytes == SIZE
    finish(incoming)
    assert store.read(DIGEST) == DATA


def test_a_partial_file_longer_than_the_blob_starts_anew(store: LocalStore) -> None:
    """As another file: who has read part of this one must not be given the rest of what is right."""
    leave(store, b"wrong" + DATA)
    follower = partial(store)
    incoming = acquired(store)
    assert (incoming.resumed_bytes, (layout_of(store).incoming / DIGEST).stat().st_size) == (0, 0)
    assert (follower.progress().is_discarded, follower.is_same(incoming.fd)) == (True, False)
    finish(incoming)
    assert not follower.progress().is_verified
    assert store.read(DIGEST) == DATA


@pytest.mark.parametrize("mode_bits", [0o444, 0o644, 0o400])
def test_a_file_that_looks_proved_is_not_while_its_writer_has_proved_nothing(
    store: LocalStore, mode_bits: int
) -> None:
    """It holds the lock and is about to hash what a power cut has left."""
    path = leave(store, bytes(SIZE))
    with path.open("rb+") as file:
        path.chmod(mode_bits)
        fcntl.flock(file, fcntl.LOCK_EX)
        reader = partial(store)
        assert reader.progress().length_bytes == SIZE
        assert not reader.progress().is_verified
        reader.close()


def test_a_proof_ends_with_its_process(store: LocalStore) -> None:
    with Holding(PROVE_THE_PARTIAL, layout_of(store).root, DIGEST, SIZE) as prover:
        reader = partial(store)
        assert reader.progress().is_verified
        copy = layout_of(store).incoming / "copy"
        shutil.copy2(layout_of(store).incoming / DIGEST, copy)
        of_copy = LocalPartial(os.open(copy, os.O_RDONLY))
        assert not of_copy.progress().is_verified
        of_copy.close()
        prover.kill()
        assert not reader.progress().is_verified
        reader.close()
    finish(acquired(store))
    assert store.read(DIGEST) == DATA


@pytest.mark.parametrize("data", [DATA, DATA[:-1], bytes(SIZE)], ids=["right", "short", "wrong"])
@pytest.mark.parametrize("is_ordinary", [True, False], ids=["ordinary", "privileged"])
def test_a_partial_file_marked_as_proved_is_not_believed(
    store: LocalStore, data: bytes, *, is_ordinary: bool
) -> None:
    """Its writer died between proof and commit, and nobody knows what came after."""
    leave(store, data).chmod(0o444)

    def resume() -> None:
        incoming = acquired(store)
        assert incoming.resumed_bytes == len(data)
        reader = partial(store)
        assert not reader.progress().is_verified
        reader.close()
        if data == bytes(SIZE):
            with pytest.raises(DigestMismatch):
                incoming.verify()
            incoming.discard()
            incoming.close()
            incoming = acquired(store)
        finish(incoming)

    if is_ordinary:
        as_ordinary_user(resume)
    else:
        resume()
    assert store.read(DIGEST) == DATA
    assert mode(layout_of(store).path(DIGEST)) == 0o444


def test_who_comes_between_proof_and_commit_takes_nothing_back(store: LocalStore) -> None:
    """Followers in other processes have seen that the file is proved, and go by that."""

    def meet() -> None:
        writer = acquired(store)
        writer.append(DATA)
        writer.verify()
        reader = partial(store)
        assert store.acquire(DIGEST, SIZE) is None
        assert reader.progress().is_verified
        writer.commit()
        writer.close()
        reader.close()

    as_ordinary_user(meet)
    assert mode(layout_of(store).path(DIGEST)) == 0o444


def test_a_folder_that_cannot_be_written_is_an_error_and_not_a_wait(store: LocalStore) -> None:
    layout_of(store).incoming.chmod(0o555)
    try:
        with pytest.raises(PermissionError):
            as_ordinary_user(lambda: store.acquire(DIGEST, SIZE))
    finally:
        layout_of(store).incoming.chmod(0o755)


# Discarding and removing


def test_followers_see_when_it_is_discarded(store: LocalStore) -> None:
    incoming = acquired(store)
    incoming.append(bytes(1000))
    reader = partial(store)
    incoming.discard()
    assert reader.progress().is_discarded
    reader.close()
    successor = acquired(store)
    assert successor.resumed_bytes == 0
    incoming.close()
    finish(successor)
    assert store.read(DIGEST) == DATA


def test_a_blob_is_not_removed_while_its_writer_is_at_it(store: LocalStore) -> None:
    incoming = acquired(store)
    incoming.append(DATA)
    incoming.verify()
    incoming.commit()
    assert not removed(store, DIGEST)
    incoming.close()
    assert removed(store, DIGEST)


def test_a_follower_keeps_a_committed_blob_from_removal(store: LocalStore) -> None:
    incoming = acquired(store)
    reader = partial(store)
    reader.keep()
    finish(incoming)
    reader.keep()
    assert not removed(store, DIGEST)
    reader.close()
    assert removed(store, DIGEST)


def test_opening_while_the_writer_holds_on_works(store: LocalStore) -> None:
    incoming = acquired(store)
    incoming.append(DATA)
    incoming.verify()
    incoming.commit()
    blob = store.open(DIGEST, SIZE)
    assert blob is not None
    with blob:
        assert os.pread(blob.fd, SIZE, 0) == DATA
    incoming.close()
