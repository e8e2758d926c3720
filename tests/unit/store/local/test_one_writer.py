"""Blobs on their way in have one writer among all processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.blobs_coming_in import DATA, DIGEST, HOLD_THE_PARTIAL, SIZE, acquired, finish, partial
from support.holding import ROOT, Holding
from support.layout import layout_of

from proxy.digest import digest_of
from proxy.store.local.store import LocalStore

ENVIRON = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}


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
