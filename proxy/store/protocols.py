"""What a place for blobs offers. Each kind of place is a package beside this module, `local/` today.

    ReadStore     says what is there, and opens it
    WriteStore    also takes what arrives
    PruneStore    also removes, audits, lists and sets aside

Whoever uses a store asks for the least of these. None of them has a path to give:
where and how bytes lie is the kind's own affair. tests/contracts/test_stores.py holds
every kind to what is said here.

All methods block for as long as the place takes, and may be called from any thread.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from proxy.digest import Digest
from proxy.system.same_bytes import Way

DAMAGED = "is damaged: its bytes do not match its sha256"
"""What `ReadStore.problem` says of a blob that should be set aside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a partial file is."""

    length_bytes: int
    is_verified: bool
    """Whether its writer, which is alive and still has it open, has proved it."""
    last_sign: int
    """Another number each time that its writer has written to it, or shown that it lives."""
    is_discarded: bool
    """It has no name any more: it was found bad, or evicted after its commit."""


class PartialStatus(NamedTuple):
    """What is known of a partial file without opening it."""

    length_bytes: int
    written_at: float
    """Unix seconds."""


class FoundBlob(NamedTuple):
    """A blob that a scan came upon."""

    digest: Digest
    size_bytes: int
    used_at: float
    """When it was read or written last as far as the place knows, Unix seconds."""


class Partial(Protocol):
    """A reader's view of a partial file, whoever writes it.

    It offers `fd` to whoever sends the bytes: a descriptor of a regular file of this
    machine, for sendfile and pread at any offset below `progress().length_bytes`. It
    stays valid after the commit, until `close`, and may be duplicated.
    """

    @property
    def fd(self) -> int:
        """The descriptor; negative once this is closed."""

    def progress(self) -> Progress:
        """Return how far the file is."""

    def is_same(self, fd: int) -> bool:
        """Whether another descriptor is of the very same file."""

    def keep(self) -> bool:
        """Protect the committed file from removal while it is read; False while its writer commits it."""

    def close(self) -> None:
        """Let go of the file."""


class Blob(Protocol):
    """An open blob, all of whose bytes are there. It is not removed while it is open.

    It offers `fd` to whoever sends the bytes: a descriptor of a regular file of this
    machine, for sendfile and pread, valid until `close`. A duplicate protects the blob too.
    """

    @property
    def fd(self) -> int:
        """The descriptor; negative once this is closed."""

    @property
    def size_bytes(self) -> int:
        """How long it is."""

    def as_partial(self) -> Partial:
        """Return it as a partial file that is complete, which is closed in its place."""

    def close(self) -> None:
        """Let go of the file."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Incoming(Protocol):
    """The right to write one partial file, from `WriteStore.acquire` until `close`."""

    @property
    def fd(self) -> int:
        """A descriptor to read what has been written; negative once this is closed."""

    @property
    def resumed_bytes(self) -> int:
        """How much was there before, from an earlier run or another process."""

    @property
    def length_bytes(self) -> int:
        """How many bytes are there."""

    def append(self, *chunks: bytes) -> None:
        """Add the next bytes. Raises SizeMismatch when they are too many, OSError when the disk fails."""

    def draw(self, receive: Callable[[memoryview], int], most_bytes: int) -> None:
        """Add what `receive` puts into a buffer, until it has no more for now or `most_bytes` came.

        Raises what `append` raises.
        """

    def touch(self) -> None:
        """Show all who follow that the writer lives. Raises nothing: who cannot is as good as dead."""

    def begin_write_back(self, start: int, stop: int) -> None:
        """Have the place begin to make these bytes durable, so that `commit` has less to wait for.

        May run beside any other method, and after `close`. Promises nothing, and raises nothing.
        """

    def verify(self) -> None:
        """Mark the file as proved, for all who follow it.

        Raises SizeMismatch or DigestMismatch, and OSError if the place holds more or less than was appended.
        """

    def commit(self) -> None:
        """Make the verified blob durable under its digest. Raises OSError, also if somebody took it away."""

    def discard(self) -> None:
        """Throw away what has arrived."""

    def close(self) -> None:
        """Stop being the writer; what has arrived stays, unless committed or discarded."""


class Adoption(Protocol):
    """A file of somebody else, open for reading, whose bytes are to become a blob, whatever its digest."""

    way: Way
    """How the bytes come here: what is linked takes no room, and its file is read-only from then on."""

    def step(self) -> int:
        """Hash the next piece; return how long it was, 0 at the end. Raises OSError."""

    @property
    def digest(self) -> Digest:
        """The SHA-256 of what was hashed so far."""

    def commit(self) -> None:
        """Make what was hashed a blob, durably. Raises OSError, also if the file was written meanwhile."""

    def close(self) -> None:
        """Let go of the file, and remove what was not committed. The descriptor stays open."""


class Inspection(Protocol):
    """A blob that is hashed again piece by piece, at whatever pace. It may be removed meanwhile."""

    def step(self) -> int:
        """Hash the next piece; return how long it was, 0 at the end. Raises OSError."""

    def is_damaged(self) -> bool:
        """Whether what was hashed does not match the digest and is still the blob. Raises OSError."""

    def close(self) -> None:
        """Let go of the blob."""


class Removal(Protocol):
    """A blob that has lost its name. The bytes of one whose removal is never finished go some time later."""

    def finish(self) -> None:
        """Free its bytes, for good even if power fails; takes as long as the place does. Raises OSError."""


class ReadStore(Protocol):
    """A place from which blobs are read."""

    def open(self, digest: Digest, size_bytes: int | None = None) -> Blob | None:
        """Open a blob for reading; None when it is not there, or the place does not give it.

        None too for one of another size, if one is given.
        """

    def has(self, digest: Digest) -> bool:
        """Say whether a blob is there, without opening it."""

    def size_bytes(self, digest: Digest) -> int | None:
        """Return how large a blob is, None when it is not there, or the place does not say."""

    def is_whole(self, digest: Digest, size_bytes: int) -> bool:
        """Say whether a blob of that size is there: no beginning, however long, has been proved."""

    def stored_bytes(self, digest: Digest, size_bytes: int) -> int:
        """Return how much of a blob is there: all, the beginning of an interrupted fill, or nothing."""

    def problem(self, digest: Digest, size_bytes: int, *, deep: bool) -> str | None:
        """Return what is wrong with a blob, None when nothing is; `deep` hashes it again."""

    def read(self, digest: Digest) -> bytes | None:
        """Return a small blob whole after hashing it again; None when absent or damaged.

        A damaged one is set aside.
        """

    def is_intact(self, digest: Digest) -> bool:
        """Whether a blob is there and good; hashes it again, and sets it aside when it is damaged."""

    def shard_sizes(self, beginning: str) -> dict[str, int]:
        """Return the size of each blob whose digest begins with these two letters, by digest."""

    def partial_digests(self) -> Iterator[Digest]:
        """Yield the digests of all partial files."""


class WriteStore(ReadStore, Protocol):
    """A place into which blobs are written too."""

    def put(self, data: bytes) -> Digest:
        """Store bytes that are here in full; durable on return. Raises StoreFault."""

    def acquire(self, digest: Digest, size_bytes: int) -> Incoming | None:
        """Become the one writer of a partial file among all processes; None when another is.

        Bytes that are already there are hashed again. A partial file longer than the
        blob is worthless and starts anew. Raises OSError.
        """

    def adopt(self, fd: int) -> Adoption:
        """Begin to take over the bytes of a file that is open for reading. Raises OSError."""

    def follow(self, digest: Digest) -> Partial | None:
        """Open the partial file of a digest for reading; None when there is none."""

    def audit(self, digest: Digest, size_bytes: int) -> str | None:
        """Hash a blob again, and set it aside if it is damaged.

        Returns what is wrong with `size_bytes` when the blob is good and has another size.
        """

    def try_out(self) -> None:
        """Write something as a blob is written, and remove it. Raises OSError."""

    def check_access(self) -> None:
        """Raise OSError if it is clear without writing that nothing can be written."""


class PruneStore(WriteStore, Protocol):
    """A place that is looked after too: its blobs removed, audited, listed, and set aside."""

    def withdraw(self, digest: Digest) -> Removal | None:
        """Take away the name of a blob that nobody reads, at once; None while somebody reads it.

        From then on it is not there; to be finished. Of one that is not there, there is nothing to do.
        """

    def set_aside(self, digest: Digest) -> None:
        """Move a damaged blob out of the way, for somebody to examine."""

    def set_aside_count(self) -> int:
        """Return how many damaged blobs were set aside."""

    def changed_ns(self, digest: Digest) -> int | None:
        """Return what any later change of a blob raises, None when it is not there."""

    def inspect(self, digest: Digest) -> Inspection | None:
        """Begin to hash a blob again; None when it is not there. Raises OSError."""

    def scan(self) -> Iterator[FoundBlob]:
        """Yield every blob; what has no digest for a name is passed over."""

    def partial_status(self, digest: Digest) -> PartialStatus | None:
        """Return what is known of a partial file; None when there is none."""

    def drop_partial(self, digest: Digest) -> bool:
        """Remove a partial file unless somebody writes it; say whether there is none any more."""

    def remove_idle_partials(self, idle_s: float) -> None:
        """Remove partial files that nobody writes, and that were last written `idle_s` ago or longer."""

    def remove_dead_drafts(self) -> None:
        """Remove what processes that have died left half done."""

    def free_bytes(self) -> int:
        """Return how many bytes the place can still take."""

    def restore(self) -> None:
        """Make again what the place needs for itself and somebody has removed, such as folders."""
