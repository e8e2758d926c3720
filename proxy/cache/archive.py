"""What the ledger keeps of one mirror: its generations, and what is known beside them.

A generation counts only under the keyring that proved it.
"""

import json
import logging
import os
from dataclasses import asdict, fields
from typing import Any

from proxy.cache.generation import Edition, Generation, load_edition, read_lists
from proxy.cache.storage import Storage
from proxy.cache.trouble import Trouble
from proxy.digest import Digest
from proxy.simplestreams.model import Products
from proxy.store.ledger import Ledger, LedgerUnavailable

log = logging.getLogger(__name__)

_CURRENT = "generation/"
_RETIRED = "retired/"
_SIBLINGS = "siblings/"
_TROUBLE = "trouble/"


class Archive:
    """One mirror's records."""

    def __init__(self, mirror: str, keyring_identity: str, storage: Storage) -> None:
        self._mirror = mirror
        self.keyring_identity = keyring_identity
        self._store = storage.store
        self._reading = storage.reading
        self._ledger = storage.ledger
        self._threads = storage.threads
        self._copy = storage.store.root / "generations" / f"{mirror}.json"
        self._counted: set[Digest] = set()

    async def current(self) -> Generation | None:
        """Return the generation accepted last."""
        try:
            record = await self._threads.ledger(self._ledger.record, _CURRENT + self._mirror)
            if record is None:
                record = await self._threads.disk(self._read_copy)
                if record is not None:
                    # Its documents are protected from eviction by what the ledger says.
                    await self._threads.ledger(self._ledger.write, _CURRENT + self._mirror, record)
        except LedgerUnavailable as error:
            log.warning("ledger.not_used mirror=%s problem=%s", self._mirror, error)
            record = await self._threads.disk(self._read_copy)
        return None if record is None else self._read(record)

    async def install(self, generation: Generation) -> None:
        """Make a generation the current one."""
        await self._threads.ledger(self._write_current, generation)

    async def load(self, generation: Generation) -> Edition:
        """Read a generation's lists from the store. Raises GenerationLost."""
        return await self._threads.slow(load_edition, self._store, self._reading, generation)

    async def count_items(self, edition: Edition) -> int:
        """Return how many paths of an edition can be served."""
        return await self._threads.slow(len, edition.catalog)

    async def lists(self, generation: Generation) -> list[Products]:
        """Return a generation's products lists in full. Raises GenerationLost."""
        return await self._threads.slow(lambda: list(read_lists(self._store, generation)))

    async def retired(self, since: float) -> list[tuple[Generation, float]]:
        """Return the generations replaced after `since` (Unix seconds), newest first, with when."""
        records = await self._threads.ledger(self._ledger.record, _RETIRED + self._mirror)
        found = []
        for entry in records if isinstance(records, list) else ():
            match entry:
                case [record, int() | float() as when] if when > since:
                    generation = self._read(record)
                    if generation is not None:
                        found.append((generation, float(when)))
        return found

    async def retire(self, generation: Generation, now: float, retain_s: float) -> None:
        """Keep a replaced generation for `retain_s`; forget those replaced longer ago."""
        kept = [(generation, now), *await self.retired(now - retain_s)]
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
                    self._ledger.add_blob(digest, self._store.path(digest).stat().st_size)
                    self._counted.add(digest)
        self._ledger.write(_CURRENT + self._mirror, generation.to_record())
        try:
            self._write_copy(generation)
        except OSError as error:
            log.warning("generation.copy_not_written mirror=%s problem=%s", self._mirror, error)

    def _write_copy(self, generation: Generation) -> None:
        """Keep the record beside the ledger too: a site that is offline could not replace it. Blocks."""
        self._copy.parent.mkdir(parents=True, exist_ok=True)
        draft = self._copy.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(generation.to_record()))
        draft.replace(self._copy)

    def _read_copy(self) -> dict[str, Any] | None:
        """Return the record that is kept beside the ledger. Blocks."""
        try:
            record = json.loads(self._copy.read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.warning("generation.copy_unreadable mirror=%s problem=%s", self._mirror, error)
            return None
        return record if isinstance(record, dict) else None

    def _read(self, record: Any) -> Generation | None:
        """Return the generation of a record, None for one that cannot be read, or that other keys proved."""
        try:
            generation = Generation.from_record(record)
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            log.error("ledger.record_unreadable mirror=%s problem=%s", self._mirror, error)  # noqa: TRY400
            return None
        return generation if generation.keyring == self.keyring_identity else None


def documents_in_use(ledger: Ledger) -> set[Digest]:
    """Return the blobs of all documents that may be served, of any mirror. Blocks."""
    records = [ledger.record(key) for key in ledger.keys(_CURRENT)]
    for key in ledger.keys(_RETIRED):
        records += [record for record, _ in ledger.record(key) or ()]
    return {
        Digest(document[kind])
        for record in records
        if record is not None
        for document in record["documents"].values()
        for kind in ("digest", "text")
    }
