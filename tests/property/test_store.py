"""The store and its ledger against a dict: whatever happens in whatever order, they agree."""

import itertools
import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.keeping import Keeping
from support.layout import layout_of
from support.running import Clock
from support.stored import recorded, removed

from proxy.digest import Digest, digest_of
from proxy.store.blob_records import BlobRecords
from proxy.store.eviction_order import Usage, choose_evicted
from proxy.store.ledger import Ledger
from proxy.store.limits import StoreLimits
from proxy.store.local.blob import LocalBlob
from proxy.store.local.incoming import LocalIncoming
from proxy.store.local.store import LocalStore
from proxy.store.pins import Pins

LIMIT_BYTES = 100
CONTENTS = [bytes([number]) * size for number, size in enumerate((0, 1, 20, 30, 30, 45, 60, 100, 101))]
DATA = {digest_of(data): data for data in CONTENTS}
ANY = st.sampled_from(list(DATA))


class StoreMachine(RuleBasedStateMachine):
    """A store of 100 bytes, used, filled, crashed and repaired."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="store-"))
        self.clock = Clock()
        self.blobs: dict[Digest, float] = {}
        """What must be here, and when it was used last."""
        self.partials: dict[Digest, int] = {}
        """What has begun to arrive, and how much of it is here."""
        self.reserved: dict[Digest, int] = {}
        """Room reserved for what arrives."""
        self.paused: dict[Digest, float] = {}
        """What nobody goes on with at the moment, and when it was written last."""
        self.pins: set[Digest] = set()
        self.in_use: set[Digest] = set()
        self.readers: list[tuple[Digest, LocalBlob]] = []
        self.is_slow = False
        """Whether the disk takes so long that each turn of making room is over after the first blob."""
        self.moments_s = itertools.count()
        self.open()

    def open(self) -> None:
        """Start as a new process."""
        self.store = LocalStore(self.folder)
        self.ledger = Ledger(self.folder / "ledger", self.clock)
        limits = StoreLimits(limit_bytes=LIMIT_BYTES, min_free_bytes=0)
        self.room = Keeping(self.store, self.ledger, limits, lambda: self.in_use, self.moment_of_a_turn)

    def moment_of_a_turn(self) -> float:
        """Tell the time to whoever makes room."""
        return float(next(self.moments_s)) if self.is_slow else 0.0

    def teardown(self) -> None:
        """Clean up."""
        for _, blob in self.readers:
            blob.close()
        self.ledger.close()
        shutil.rmtree(self.folder)

    @initialize(digests=st.sets(ANY, max_size=4), in_use=st.sets(ANY, max_size=3))
    def begin_with_blobs_that_no_ledger_knows(self, digests: set[Digest], in_use: set[Digest]) -> None:
        """Begin as after an upgrade that lost the ledger."""
        for used_at, digest in enumerate(digests, 1000):
            self.store.put(DATA[digest])
            os.utime(layout_of(self.store).path(digest), (used_at, used_at))
            self.blobs[digest] = used_at
        self.in_use |= in_use
        self.room.reconcile()

    # Arriving

    def reserve(self, digest: Digest) -> bool:
        """Reserve room, and check what went for it."""
        size = len(DATA[digest])
        held = self.reserved.get(digest, 0)
        protected = self.pins | self.in_use
        usages = [Usage(here, len(DATA[here]), used_at) for here, used_at in self.blobs.items()]
        usages += [Usage(here, self.reserved[here], at) for here, at in self.paused.items() if here != digest]
        read = {here for here, _ in self.readers}
        needed = self.used_bytes() + size - held - LIMIT_BYTES if held < size else 0
        wanted = choose_evicted(usages, protected | read, needed)
        freed = sum(usage.size_bytes for usage in wanted)

        is_foreseen = self.room.may_fit(digest, size)
        assert all(self.store.has(here) for here in self.blobs)
        is_reserved = self.room.reserve(digest, size)

        # Who reads a blob is only found out when it is to go.
        assert is_foreseen == is_reserved or (is_foreseen and read)
        assert is_reserved == (freed >= needed)
        gone = {here for here in self.blobs if not self.store.has(here)}
        dropped = {here for here in self.partials if not (layout_of(self.store).incoming / here).exists()}
        assert (gone | dropped).isdisjoint(protected | read)
        assert dropped <= self.paused.keys() - {digest}
        if is_reserved or not read:
            went = sum(len(DATA[here]) for here in gone) + sum(self.reserved[here] for here in dropped)
            # Turn by turn, what goes first may do.
            assert min(needed, freed) <= went <= freed if self.is_slow else went == freed
        self.blobs = {here: used_at for here, used_at in self.blobs.items() if here not in gone}
        for here in dropped:
            del self.partials[here], self.reserved[here], self.paused[here]
        if is_reserved:
            self.paused.pop(digest, None)
        if is_reserved and held < size:
            self.reserved[digest] = size
        return is_reserved

    def acquire(self, digest: Digest) -> LocalIncoming:
        """Become the writer of a partial file."""
        incoming = self.store.acquire(digest, len(DATA[digest]))
        assert incoming is not None
        assert incoming.resumed_bytes == self.partials.get(digest, 0)
        return incoming

    @rule(digest=ANY, part=st.floats(0, 1), is_paused=st.booleans())
    def some_of_a_blob_arrives(self, digest: Digest, part: float, *, is_paused: bool) -> None:
        """Let some bytes come, until the connection is gone; nobody may want the rest for a while."""
        self.clock.advance(1)
        if digest in self.blobs or not self.reserve(digest):
            return
        incoming = self.acquire(digest)
        start = incoming.length_bytes
        stop = max(start, int(len(DATA[digest]) * part))
        incoming.append(DATA[digest][start:stop])
        incoming.close()
        if not stop:
            # Nothing has arrived, so nothing stays: whoever fills gives the room back too.
            self.room.give_back(digest)
            self.reserved.pop(digest, None)
            self.partials.pop(digest, None)
            return
        self.partials[digest] = stop
        if is_paused and stop:
            self.room.shrink(digest, stop)
            self.reserved[digest] = stop
            os.utime(layout_of(self.store).incoming / digest, (self.clock.now, self.clock.now))
            self.paused[digest] = self.clock.now

    @rule(digest=ANY, crash=st.sampled_from(["", "", "", "proved", "committed"]))
    def a_blob_arrives(self, digest: Digest, crash: str) -> None:
        """Let the rest of it come; the process may die before the end."""
        self.clock.advance(1)
        if digest in self.blobs or not self.reserve(digest):
            return
        incoming = self.acquire(digest)
        incoming.append(DATA[digest][incoming.length_bytes :])
        incoming.verify()
        self.partials[digest] = len(DATA[digest])
        if crash != "proved":
            incoming.commit()
            del self.partials[digest]
            self.reserved.pop(digest, None)
            self.blobs[digest] = self.clock.now
        if not crash:
            self.room.settle(digest, len(DATA[digest]))
        incoming.close()
        if not DATA[digest]:
            self.partials.pop(digest, None)
        if crash:
            # What the disk does not know exactly, the ledger learns from the disk.
            if digest in self.blobs:
                os.utime(layout_of(self.store).path(digest), (self.clock.now, self.clock.now))
            self.crash()

    @precondition(lambda self: self.partials)
    @rule(data=st.data())
    def a_partial_blob_turns_out_wrong(self, data: st.DataObject) -> None:
        """Throw it away, and give its room back."""
        digest = data.draw(st.sampled_from(sorted(self.partials)))
        incoming = self.acquire(digest)
        incoming.discard()
        incoming.close()
        self.room.give_back(digest)
        self.reserved.pop(digest, None)
        self.paused.pop(digest, None)
        del self.partials[digest]

    # Being used

    @rule(digest=ANY)
    def a_reader_comes(self, digest: Digest) -> None:
        """Let one read for a while."""
        blob = self.store.open(digest, len(DATA[digest]))
        assert (blob is not None) == (digest in self.blobs)
        if blob is not None:
            self.readers.append((digest, blob))

    @precondition(lambda self: self.readers)
    @rule()
    def a_reader_goes(self) -> None:
        """Let the one go that came first."""
        digest, blob = self.readers.pop(0)
        assert os.pread(blob.fd, 1000, 0) == DATA[digest]
        blob.close()

    @rule(digests=st.sets(ANY, max_size=3))
    def blobs_are_used(self, digests: set[Digest]) -> None:
        """Note the use of some that may not be here any more."""
        self.clock.advance(10)
        used_at = {digest: self.clock.now - ago_s for ago_s, digest in enumerate(digests)}
        BlobRecords(self.ledger).touch(used_at)
        self.blobs |= {digest: when for digest, when in used_at.items() if digest in self.blobs}

    @rule(digest=ANY)
    def a_blob_is_pinned_or_unpinned(self, digest: Digest) -> None:
        """Pin it whether it is here or not."""
        if digest in self.pins:
            Pins(self.ledger).unpin(digest, "test")
        else:
            Pins(self.ledger).pin_all("test", [digest])
        self.pins ^= {digest}

    @rule(digest=ANY)
    def a_document_comes_into_use_or_out_of_it(self, digest: Digest) -> None:
        """Keep served documents like pinned blobs."""
        self.in_use ^= {digest}

    @rule(digest=ANY)
    def a_blob_is_removed(self, digest: Digest) -> None:
        """Remove it unless somebody reads it."""
        is_gone = removed(self.store, digest)
        assert is_gone == (digest not in {read for read, _ in self.readers})
        if is_gone:
            BlobRecords(self.ledger).forget(digest)
            self.blobs.pop(digest, None)

    # Trouble

    @rule()
    def the_disk_becomes_slow_or_fast(self) -> None:
        """Let removing take longer than a turn, or no time."""
        self.is_slow ^= True

    @rule()
    def crash(self) -> None:
        """Lose all that was in memory; the next process brings disk and ledger in line."""
        self.ledger.close()
        self.open()
        (layout_of(self.store).incoming / "put-half").write_bytes(b"half a document")
        self.room.reconcile()

    @precondition(lambda self: self.blobs)
    @rule(data=st.data(), what=st.sampled_from(["deleted", "put back", "shortened", "rotten"]))
    def somebody_touches_the_files(self, data: st.DataObject, what: str) -> None:
        """Change a blob behind the store's back: it is given to nobody, and can come again."""
        digest = data.draw(st.sampled_from(sorted(self.blobs)))
        path = layout_of(self.store).path(digest)
        content = DATA[digest]
        if digest in {read for read, _ in self.readers}:
            return
        if what == "deleted":
            path.unlink()
            self.gone(digest)
        elif what == "put back":
            path.unlink()
            self.store.put(content)
        elif content:
            path.unlink()
            path.write_bytes(content[:-1] if what == "shortened" else content[:-1] + b"\xff")
            if what == "shortened":
                assert self.store.open(digest, len(content)) is None
                assert self.store.audit(digest, len(content)) is None
            else:
                assert self.store.read(digest) is None
            self.gone(digest)

    def gone(self, digest: Digest) -> None:
        """Note that a blob is lost, as the next process does."""
        del self.blobs[digest]
        self.crash()

    # What must always be true

    def used_bytes(self) -> int:
        """Add up what is here and what is reserved."""
        return sum(len(DATA[digest]) for digest in self.blobs) + sum(self.reserved.values())

    @invariant()
    def disk_and_ledger_agree(self) -> None:
        """Compare them with each other and with the dict."""
        sizes = {digest: len(DATA[digest]) for digest in self.blobs}
        assert {found.digest: found.size_bytes for found in self.store.scan()} == sizes
        assert {usage.digest: usage.size_bytes for usage in BlobRecords(self.ledger).usages()} == sizes
        assert BlobRecords(self.ledger).total_bytes() == sum(sizes.values())
        reserved = {key: recorded(self.ledger, key) for key in self.ledger.keys("reserved/")}
        assert reserved == {f"reserved/{digest}": size for digest, size in self.reserved.items()}
        assert {path.name for path in layout_of(self.store).incoming.iterdir()} == set(self.partials)
        assert set(Pins(self.ledger).names()) == self.pins

    @invariant()
    def every_use_is_remembered(self) -> None:
        """Check it, or eviction would take the wrong ones."""
        assert {usage.digest: usage.used_at for usage in BlobRecords(self.ledger).usages()} == self.blobs

    @invariant()
    def every_blob_is_what_its_name_says(self) -> None:
        """Compare byte for byte, whoever asks and however."""
        for digest in self.blobs:
            assert self.store.read(digest) == DATA[digest]
            held = self.store.open(digest, len(DATA[digest]))
            assert held is not None
            with held:
                assert os.pread(held.fd, 1000, 0) == DATA[digest]
        for digest, blob in self.readers:
            assert os.pread(blob.fd, 1000, 0) == DATA[digest]


TestStore = StoreMachine.TestCase
TestStore.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
