"""The record of the generation that a mirror accepted last, in two places: the ledger, and a file beside it.

Either may be lost, or be older than the other after a power cut: the newer one
counts, for what is served and for what is too old to be accepted, and replaces
the older. All methods block, in the ledger's thread.
"""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from proxy.documents.generation import Generation
from proxy.documents.records import ACCEPTED, GENERATION, dates_of
from proxy.store.ledger import Ledger, LedgerUnavailable
from proxy.store.schema import Unreadable, parse
from proxy.system.durable import write_file

log = logging.getLogger(__name__)


class LastAccepted:
    """Both records of one mirror."""

    def __init__(self, mirror: str, ledger: Ledger, folder: Path) -> None:
        self._mirror = mirror
        self._ledger = ledger
        self._copy = folder / f"{mirror}.json"
        self._lasting: Generation | None = None
        """What this process has written so that it lasts, but for the time of the last check."""

    def read(self) -> Generation | Unreadable | None:
        """Return the newer one, whoever verified it; Unreadable when one is there and none can be read."""
        copied = self._read_copy()
        try:
            noted = self._read_ledger()
        except LedgerUnavailable as error:
            log.warning("ledger.not_used mirror=%s problem=%s", self._mirror, error)
            return Unreadable(str(error)) if copied is None else copied
        found = [one for one in (noted, copied) if isinstance(one, Generation)]
        if not found:
            return noted or copied
        newest = max(found, key=_age)
        if isinstance(noted, Generation) and isinstance(copied, Generation) and _age(noted) != _age(copied):
            log.warning(
                "generation.records_differ mirror=%s ledger=%d file=%d",
                self._mirror,
                noted.number,
                copied.number,
            )
        if newest.keyring:
            self._even_out(newest, noted, copied)
        return newest

    def write(self, generation: Generation) -> None:
        """Record a generation; a new one, unlike a confirmed one, outlives a power cut from then on.

        Raises LedgerUnavailable.
        """
        lasting = replace(generation, checked_at=0.0)
        if lasting == self._lasting:
            ACCEPTED.write(self._ledger, generation, self._mirror)
            return
        with self._ledger.lasting_transaction():
            ACCEPTED.write(self._ledger, generation, self._mirror)
        self._write_copy(generation)
        self._lasting = lasting

    def _even_out(
        self,
        newest: Generation,
        noted: Generation | Unreadable | None,
        copied: Generation | Unreadable | None,
    ) -> None:
        """Have both places say what the newer one says, as far as it matters."""
        try:
            if not isinstance(noted, Generation) or _age(noted) < _age(newest):
                # Its documents are protected from eviction by what the ledger says.
                with self._ledger.lasting_transaction():
                    ACCEPTED.write(self._ledger, newest, self._mirror)
        except LedgerUnavailable as error:
            log.warning("ledger.not_used mirror=%s problem=%s", self._mirror, error)
        if not isinstance(copied, Generation) or _age(copied) < _age(newest):
            self._write_copy(newest)

    def _read_ledger(self) -> Generation | Unreadable | None:
        key = ACCEPTED.key(self._mirror)
        found = self._ledger.records_at(key)
        return self._decode(key, found[key]) if key in found else None

    def _read_copy(self) -> Generation | Unreadable | None:
        where = f"{self._copy.parent.name}/{self._copy.name}"
        try:
            text = self._copy.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._ledger.tell_unreadable(where, str(error))
            return Unreadable(str(error))
        return self._decode(where, parse(text))

    def _decode(self, where: str, record: Any) -> Generation | Unreadable:
        generation = GENERATION.decode(record)
        if not isinstance(generation, Unreadable):
            return generation
        self._ledger.tell_unreadable(where, generation.problem)
        return dates_of(record) or generation

    def _write_copy(self, generation: Generation) -> None:
        """Keep the record beside the ledger too: a site that is offline could not replace it."""
        try:
            write_file(self._copy, json.dumps(GENERATION.encode(generation)).encode())
        except OSError as error:
            log.warning("generation.copy_not_written mirror=%s problem=%s", self._mirror, error)


def _age(generation: Generation) -> tuple[int, float]:
    """Return what grows with each generation that is accepted; clocks count only when all else is equal."""
    return generation.number, generation.accepted_at
