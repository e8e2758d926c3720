"""Whether the store takes what is written to it: one process tries it out, and all know the result.

The keeper writes as a fill and its bookkeeping would, every few seconds. Whoever is asked for
the state of the store only reads what came of that, from one small file that is mapped into
every process's memory:

    when the last trial ended (8 bytes, system-wide monotonic seconds), the CRC-32 (4) and the
    length (4) of a JSON list of faults in words, and that list

Without a keeper, such as for a command while no server runs, what can be said without
writing has to do.
"""

import json
import logging
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

from proxy.store.files import StoreFault
from proxy.store.ledger import Ledger, LedgerUnavailable
from proxy.store.protocols import WriteStore
from proxy.store.schema import Schema, Unreadable
from proxy.system.file_marks import is_marked, mark
from proxy.system.mapped_files import map_descriptor

log = logging.getLogger(__name__)

_MOMENT = struct.Struct("<d")
_TEXT = struct.Struct("<II")
_SIZE = 8192
_MOST_TEXT_BYTES = _SIZE - _MOMENT.size - _TEXT.size
_LONGEST_FAULT = 500
_MOST_FAULTS = 4
_READ_TRIES = 5
_PATIENCE_S = 30.0
"""No trial that ended for so long is a fault itself."""
_FAULTS = Schema(tuple[str, ...])


class StoreHealth:
    """One process's view of the health of a store."""

    def __init__(
        self,
        path: Path,
        store: WriteStore,
        ledger: Ledger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._store = store
        self._ledger = ledger
        self._clock = clock
        self._is_trying = False
        """Whether this is the process that tries the store out."""
        self._known: tuple[str, ...] = ()
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._memory = map_descriptor(self._fd, _SIZE)

    def try_out(self) -> tuple[str, ...]:
        """Write to the store and to its ledger; tell all processes what cannot be written. Blocks."""
        if not self._is_trying:
            self._is_trying = True
            mark(self._fd)
            _MOMENT.pack_into(self._memory, 0, self._clock())
            self._write(())
        faults = tuple(_find_faults(self._store, self._ledger))
        self._write(faults)
        _MOMENT.pack_into(self._memory, 0, self._clock())
        if faults and faults != self._known:
            log.error("store.not_writable problem=%s", "; ".join(faults))
        elif self._known and not faults:
            log.info("store.writable")
        self._known = faults
        return faults

    def faults(self) -> list[str]:
        """Return in words what cannot be written, as far as that is known. Writes nothing. Blocks."""
        told = [*self._of_trials(), *self._of_modes()]
        return list(dict.fromkeys(told))

    def close(self) -> None:
        """Let go of the file, and of the right to try the store out."""
        self._memory.close()
        os.close(self._fd)

    def _of_trials(self) -> tuple[str, ...]:
        if not (self._is_trying or is_marked(self._fd)):
            return ()
        (ended_at,) = _MOMENT.unpack_from(self._memory)
        since_s = self._clock() - ended_at
        if since_s > _PATIENCE_S:
            return (f"the store was last tried out {since_s:.0f} s ago: its disk may hang, see dmesg",)
        return self._read()

    def _of_modes(self) -> tuple[str, ...]:
        try:
            self._store.check_access()
        except OSError as error:
            return (_of_blobs(error),)
        return ()

    def _write(self, faults: tuple[str, ...]) -> None:
        text = json.dumps([fault[:_LONGEST_FAULT] for fault in faults[:_MOST_FAULTS]]).encode()
        text = text if len(text) <= _MOST_TEXT_BYTES else b'["it cannot be written"]'
        start = _MOMENT.size + _TEXT.size
        self._memory[start : start + len(text)] = text
        _TEXT.pack_into(self._memory, _MOMENT.size, crc32(text), len(text))

    def _read(self) -> tuple[str, ...]:
        """Return the faults found last; none for what is not whole, which the next trial mends."""
        for _ in range(_READ_TRIES):
            check, length = _TEXT.unpack_from(self._memory, _MOMENT.size)
            start = _MOMENT.size + _TEXT.size
            text = self._memory[start : start + min(length, _MOST_TEXT_BYTES)]
            if length and crc32(text) == check:
                faults = _FAULTS.decode_text(text)
                return () if isinstance(faults, Unreadable) else faults
        return ()


def _find_faults(store: WriteStore, ledger: Ledger) -> list[str]:
    faults = []
    try:
        store.try_out()
    except OSError as error:
        faults.append(_of_blobs(error))
    try:
        ledger.try_out()
    except LedgerUnavailable as error:
        faults.append(str(error))
    return faults


def _of_blobs(error: OSError) -> str:
    return str(StoreFault.of("blobs cannot be stored", error))
