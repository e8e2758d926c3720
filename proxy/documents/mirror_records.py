"""What is recorded of one mirror, for those who must not wait for the ledger: awaitable, and verified.

A generation is served only as far as the keys that the mirror has now verify it.
"""

import contextlib
import logging
from typing import Any, NamedTuple

from proxy.digest import Digest
from proxy.documents import records
from proxy.documents.generation import Edition, Generation, check_stored, load_edition, read_lists
from proxy.documents.last_accepted import LastAccepted
from proxy.documents.reading import Reading
from proxy.documents.reverification import Reverifier
from proxy.documents.shared_facts import Announced
from proxy.documents.trouble import Trouble
from proxy.errors import ProxyError
from proxy.simplestreams.model import Products
from proxy.store.files import StoreFault
from proxy.store.schema import Unreadable
from proxy.store.storage import Storage

log = logging.getLogger(__name__)


class Recorded(NamedTuple):
    """What the records say of a mirror's generations, whoever verified them."""

    accepted: Generation | None
    """The one accepted last: nothing older is accepted."""
    held: Generation | None
    """The one to serve whatever is accepted, None for the one accepted last."""
    problem: str
    """Why `accepted` is None though something was accepted, "" if nothing was."""

    @property
    def numbers(self) -> Announced:
        """The numbers of both, 0 for none."""
        return Announced(*(0 if one is None else one.number for one in (self.accepted, self.held)))

    @property
    def is_nothing(self) -> bool:
        """Whether no generation was ever accepted."""
        return self.accepted is None and not self.problem


class MirrorRecords:
    """One mirror's records."""

    def __init__(self, mirror: str, reverifier: Reverifier, storage: Storage, reading: Reading) -> None:
        self._mirror = mirror
        self._reverifier = reverifier
        self._store = storage.store
        self._reading = reading
        self._ledger = storage.ledger
        self._blobs = storage.blobs
        self._threads = storage.threads
        self._last = LastAccepted(mirror, storage.ledger, storage.data_dir / "generations")
        self._counted: set[Digest] = set()
        self._unverified = ""
        self._logged: dict[int, str] = {}
        """Why generations, by their numbers, are not verified, as far as that was logged."""

    @property
    def keyring_identity(self) -> str:
        """Identity of the keys that verify what is accepted from now on."""
        return self._reverifier.identity

    # Generations

    async def recorded(self) -> Recorded:
        """Return what the records say."""
        return await self._threads.ledger(self._read)

    async def served(self) -> Generation | None:
        """Return what may be served of the generation to serve, whether or not it is still in the store."""
        recorded = await self.recorded()
        for generation in (recorded.held, recorded.accepted):
            verified = None if generation is None else await self.verified(generation)
            if verified is not None:
                return verified
        return None

    async def verified(self, generation: Generation) -> Generation | None:
        """Return what may be served of a generation; None for nothing, and `why_unverified` says why."""
        unverified = ""
        verified = None
        try:
            verified = await self._threads.slow(self._reverifier.reverify, generation)
        except ProxyError as error:
            unverified = f"what was accepted before does not count under the keys of now: {error}"
        if unverified and self._logged.get(generation.number) != unverified:
            log.warning("generation.unproved mirror=%s problem=%s", self._mirror, unverified)
            self._logged[generation.number] = unverified
        self._unverified = unverified
        return verified

    def why_unverified(self) -> str:
        """Return why the generation that was asked for last is not served, "" if it may be."""
        return self._unverified

    async def accept(self, generation: Generation) -> None:
        """Record a generation as the one accepted last, so that no power cut takes it back."""
        await self._threads.ledger(self._write_accepted, generation)

    async def hold(self, generation: Generation) -> None:
        """Record that a generation is served whatever is accepted, so that no power cut takes it back."""
        await self._threads.ledger(records.hold, self._ledger, self._mirror, generation)

    async def let_go(self) -> None:
        """Record that the generation accepted last is served."""
        await self._threads.ledger(records.let_go, self._ledger, self._mirror)

    async def replaced(self, since: float) -> list[tuple[Generation, float]]:
        """Return what may be served of the generations replaced after `since`, newest first, with when."""
        found = []
        for one in await self._threads.ledger(records.replaced_since, self._ledger, self._mirror, since):
            with contextlib.suppress(ProxyError):
                verified = await self._threads.slow(self._reverifier.reverify, one.generation)
                found.append((verified, one.when))
        return found

    async def note_replaced(self, generation: Generation, now: float, retain_s: float) -> None:
        """Record that a generation is replaced now; forget those replaced more than `retain_s` ago."""
        await self._threads.ledger(
            records.note_replaced, self._ledger, self._mirror, generation, now, now - retain_s
        )

    # What is read from the store

    async def load(self, generation: Generation) -> Edition:
        """Read a generation's lists from the store. Raises GenerationLost."""
        return await self._threads.slow(load_edition, self._store, self._reading, generation)

    async def check_stored(self, generation: Generation) -> None:
        """Raise GenerationLost unless the store has a generation's index and lists."""
        await self._threads.slow(check_stored, self._store, generation)

    async def figures(self, edition: Edition) -> dict[str, Any]:
        """Return how many paths of an edition can be served, and which its lists name twice and not alike."""
        return await self._threads.slow(
            lambda: {"items": len(edition.catalog), "conflicts": edition.conflicts()}
        )

    async def lists(self, generation: Generation) -> list[Products]:
        """Return a generation's products lists in full. Raises GenerationLost."""
        return await self._threads.slow(lambda: list(read_lists(self._store, generation)))

    # Flavours and trouble

    async def flavours(self) -> frozenset[str]:
        """Return the flavours, besides the signed one, that clients have asked for."""
        return await self._threads.ledger(records.flavours_asked_for, self._ledger, self._mirror)

    async def add_flavours(self, *suffixes: str) -> None:
        """Record that clients ask for further flavours."""
        await self._threads.ledger(records.add_flavours, self._ledger, self._mirror, frozenset(suffixes))

    async def trouble(self) -> Trouble:
        """Return what went wrong with the last checks, of any worker."""
        return await self._threads.ledger(records.trouble_of, self._ledger, self._mirror)

    async def note_trouble(self, trouble: Trouble) -> None:
        """Record what went wrong."""
        await self._threads.ledger(records.note_trouble, self._ledger, self._mirror, trouble)

    def _read(self) -> Recorded:
        accepted, held = self._last.read(), records.held_generation(self._ledger, self._mirror)
        if isinstance(accepted, Unreadable):
            return Recorded(None, held, accepted.problem)
        return Recorded(accepted, held, "")

    def _write_accepted(self, generation: Generation) -> None:
        """Write the record, and count its documents among the blobs. Blocks."""
        for document in generation.documents.values():
            for digest in (document.digest, document.text):
                if digest not in self._counted:
                    size_bytes = self._store.size_bytes(digest)
                    if size_bytes is None:
                        raise StoreFault(f"the store has lost a document as it was accepted: {document.path}")
                    self._blobs.add(digest, size_bytes)
                    self._counted.add(digest)
        self._last.write(generation)
