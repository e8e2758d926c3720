"""What the ledger keeps of one mirror: its generations, and what is known beside them.

A generation is served only as far as the keys that the mirror has now prove it.
"""

import contextlib
import logging
from dataclasses import asdict, fields

from proxy.digest import Digest
from proxy.documents.generation import Edition, Generation, load_edition, read_lists
from proxy.documents.reading import Reading
from proxy.documents.records import CURRENT, LastAccepted, readable
from proxy.documents.reverification import Reverifier
from proxy.documents.trouble import Trouble
from proxy.errors import ProxyError
from proxy.simplestreams.model import Products
from proxy.store.files import StoreFault
from proxy.store.ledger import Ledger
from proxy.store.storage import Storage

log = logging.getLogger(__name__)

_RETIRED = "retired/"
_SIBLINGS = "siblings/"
_TROUBLE = "trouble/"


class MirrorRecords:
    """One mirror's records."""

    def __init__(self, mirror: str, reverifier: Reverifier, storage: Storage, reading: Reading) -> None:
        self._mirror = mirror
        self._reverifier = reverifier
        self._store = storage.store
        self._reading = reading
        self._ledger = storage.ledger
        self._threads = storage.threads
        self._last = LastAccepted(mirror, storage.ledger, storage.data_dir / "generations")
        self._counted: set[Digest] = set()
        self._unproved = ""

    @property
    def keyring_identity(self) -> str:
        """Of the keys that prove what is accepted from now on."""
        return self._reverifier.identity

    async def accepted(self) -> Generation | None:
        """Return the generation accepted last, whoever proved it: nothing older may be."""
        return await self._threads.ledger(self._last.read)

    async def current(self) -> Generation | None:
        """Return what may be served of the generation accepted last."""
        generation = await self.accepted()
        return None if generation is None else await self.proved(generation)

    async def proved(self, generation: Generation) -> Generation | None:
        """Return what may be served of a generation; None for nothing, and `why_unproved` says why."""
        unproved = ""
        proved = None
        try:
            proved = await self._threads.slow(self._reverifier.reverify, generation)
        except ProxyError as error:
            unproved = f"what was accepted before does not count under the keys of now: {error}"
        if unproved and unproved != self._unproved:
            log.warning("generation.unproved mirror=%s problem=%s", self._mirror, unproved)
        self._unproved = unproved
        return proved

    def why_unproved(self) -> str:
        """Return why the generation accepted last is not served, "" if nothing keeps it from that."""
        return self._unproved

    async def install(self, generation: Generation) -> None:
        """Make a generation the current one, so that a power cut does not undo it."""
        await self._threads.ledger(self._write_current, generation)

    async def load(self, generation: Generation) -> Edition:
        """Read a generation's lists from the store. Raises GenerationLost."""
        return await self._threads.slow(load_edition, self._store, self._reading, generation)

    async def count_items(self, edition: Edition) -> int:
        """Return how many paths of an edition can be served."""
        return await self._threads.slow(len, edition.catalog)

    async def conflicts(self, edition: Edition) -> list[str]:
        """Return in words the paths that an edition's lists name twice, and not alike."""
        return await self._threads.slow(edition.conflicts)

    async def lists(self, generation: Generation) -> list[Products]:
        """Return a generation's products lists in full. Raises GenerationLost."""
        return await self._threads.slow(lambda: list(read_lists(self._store, generation)))

    async def retired(self, since: float) -> list[tuple[Generation, float]]:
        """Return what may be served of the generations replaced after `since`, newest first, with when."""
        found = []
        for generation, when in await self._replaced(since):
            with contextlib.suppress(ProxyError):
                found.append((await self._threads.slow(self._reverifier.reverify, generation), when))
        return found

    async def retire(self, generation: Generation, now: float, retain_s: float) -> None:
        """Keep a replaced generation for `retain_s`; forget those replaced longer ago."""
        kept = [(generation, now), *await self._replaced(now - retain_s)]
        records = [[replaced.to_record(), when] for replaced, when in kept]
        await self._threads.ledger(self._ledger.write, _RETIRED + self._mirror, records)

    async def siblings(self) -> frozenset[str]:
        """Return the flavours, besides the signed one, that clients have asked for."""
        record = await self._threads.ledger(self._ledger.record, _SIBLINGS + self._mirror)
        return frozenset(record or ())

    async def add_siblings(self, suffixes: set[str]) -> None:
        """Remember that clients ask for further flavours."""
        wanted = sorted(await self.siblings() | suffixes)
        await self._threads.ledger(self._ledger.write, _SIBLINGS + self._mirror, wanted)

    async def trouble(self) -> Trouble:
        """Return what went wrong with the last checks, of any worker."""
        record = await self._threads.ledger(self._ledger.record, _TROUBLE + self._mirror)
        known = {field.name for field in fields(Trouble)}
        # Another version may have written more.
        return Trouble(**{name: value for name, value in (record or {}).items() if name in known})

    async def note_trouble(self, trouble: Trouble) -> None:
        """Write down what went wrong."""
        await self._threads.ledger(self._ledger.write, _TROUBLE + self._mirror, asdict(trouble))

    def _write_current(self, generation: Generation) -> None:
        """Write the record, and count its documents among the blobs. Blocks."""
        for document in generation.documents.values():
            for digest in (document.digest, document.text):
                if digest not in self._counted:
                    size_bytes = self._store.size_bytes(digest)
                    if size_bytes is None:
                        raise StoreFault(f"the store has lost a document as it was accepted: {document.path}")
                    self._ledger.add_blob(digest, size_bytes)
                    self._counted.add(digest)
        self._last.write(generation)

    async def _replaced(self, since: float) -> list[tuple[Generation, float]]:
        """Return the generations replaced after `since` (Unix seconds), whoever proved them."""
        records = await self._threads.ledger(self._ledger.record, _RETIRED + self._mirror)
        found = []
        for entry in records if isinstance(records, list) else ():
            match entry:
                case [record, int() | float() as when] if when > since:
                    generation = readable(record, self._mirror)
                    if generation is not None:
                        found.append((generation, float(when)))
        return found


def documents_in_use(ledger: Ledger) -> set[Digest]:
    """Return the blobs of all documents that may be served, of any mirror. Blocks."""
    records = [ledger.record(key) for key in ledger.keys(CURRENT)]
    for key in ledger.keys(_RETIRED):
        records += [record for record, _ in ledger.record(key) or ()]
    return {
        Digest(document[kind])
        for record in records
        if record is not None
        for document in record["documents"].values()
        for kind in ("digest", "text")
    }
