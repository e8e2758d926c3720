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
from proxy.store.ledger import Ledger, LedgerUnavailable
from proxy.system.durable import write_file

log = logging.getLogger(__name__)

CURRENT = "generation/"


class LastAccepted:
    """Both records of one mirror."""

    def __init__(self, mirror: str, ledger: Ledger, folder: Path) -> None:
        self._mirror = mirror
        self._key = CURRENT + mirror
        self._ledger = ledger
        self._copy = folder / f"{mirror}.json"
        self._lasting: Generation | None = None
        """What this process has written so that it lasts, but for the time of the last check."""

    def read(self) -> Generation | None:
        """Return the newer one, whoever proved it."""
        copied = self._read_copy()
        try:
            noted = readable(self._ledger.record(self._key), self._mirror)
        except LedgerUnavailable as error:
            log.warning("ledger.not_used mirror=%s problem=%s", self._mirror, error)
            return copied
        newest = max((one for one in (noted, copied) if one is not None), key=_age, default=None)
        if newest is not None and noted is not None and copied is not None and _age(noted) != _age(copied):
            log.warning(
                "generation.records_differ mirror=%s ledger=%d file=%d",
                self._mirror,
                noted.number,
                copied.number,
            )
        try:
            self._even_out(newest, noted, copied)
        except LedgerUnavailable as error:
            log.warning("ledger.not_used mirror=%s problem=%s", self._mirror, error)
        return newest

    def write(self, generation: Generation) -> None:
        """Record a generation; a new one, unlike a look at an old one, outlives a power cut from then on.

        Raises LedgerUnavailable.
        """
        news = replace(generation, checked_at=0.0)
        if news == self._lasting:
            self._ledger.write(self._key, generation.to_record())
            return
        with self._ledger.lasting_transaction():
            self._ledger.write(self._key, generation.to_record())
        self._write_copy(generation)
        self._lasting = news

    def _even_out(
        self, newest: Generation | None, noted: Generation | None, copied: Generation | None
    ) -> None:
        """Have both places say what the newer one says, as far as it matters."""
        if newest is None:
            return
        if noted is None or _age(noted) < _age(newest):
            # Its documents are protected from eviction by what the ledger says.
            with self._ledger.lasting_transaction():
                self._ledger.write(self._key, newest.to_record())
        if copied is None or _age(copied) < _age(newest):
            self._write_copy(newest)

    def _write_copy(self, generation: Generation) -> None:
        """Keep the record beside the ledger too: a site that is offline could not replace it."""
        try:
            write_file(self._copy, json.dumps(generation.to_record()).encode())
        except OSError as error:
            log.warning("generation.copy_not_written mirror=%s problem=%s", self._mirror, error)

    def _read_copy(self) -> Generation | None:
        try:
            record: Any = json.loads(self._copy.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            log.warning("generation.copy_unreadable mirror=%s problem=%s", self._mirror, error)
            return None
        return readable(record, self._mirror)


def readable(record: Any, mirror: str) -> Generation | None:
    """Return the generation of a record, None without one, or when it cannot be read."""
    if record is None:
        return None
    try:
        return Generation.from_record(record)
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        log.error("ledger.record_unreadable mirror=%s problem=%s", mirror, error)  # noqa: TRY400
        return None


def _age(generation: Generation) -> tuple[int, float]:
    """Return what grows with each generation that is accepted; of clocks only when all else is equal."""
    return generation.number, generation.accepted_at
