"""All counters of one process; `totals.py` sums up those of all processes that ever were.

stats/<n>/                    one process at a time, which holds a lock on stats/<n>/lock
stats/<n>/counts <subject>    a Tally: "store", "limits", "transfers", "parts", "cuts",
                              "log", "mirror <name>", "origin <base URL>"
stats/<n>/clients.1           who asked (`client_table.py`)
stats/hours.json              sums by the hour (`reporting/history.py`)
stats/<n>/files.1             where files came from, and who asked for each (`file_table.py`)
stats/<n>/<subject>           what an earlier release counted (`earlier.py`)
"""

import fcntl
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from proxy.counting.client_table import ClientTable, NoClients
from proxy.counting.file_table import FileTable, FileTableWithoutClients
from proxy.counting.now import Now
from proxy.counting.subjects import (
    NAMES,
    CutTally,
    LimitTally,
    LogTally,
    MirrorTally,
    OriginTally,
    PartTally,
    StoreTally,
    TransferTally,
)
from proxy.counting.tally import Tally
from proxy.counting.totals import COUNTS

_LONGEST_FILE_NAME = 200


class Counters:
    """This process's counters."""

    def __init__(
        self, directory: Path, clock: Callable[[], float], *, remembers_clients: bool = True
    ) -> None:
        """Count in a folder of `directory`; by client too, if clients are to be remembered."""
        self._clock = clock
        self._slot, self._lock = _take_slot(directory)
        self._tallies: dict[str, Tally] = {}
        self.store = StoreTally(self._tally("store"))
        self.limits = LimitTally(self._tally("limits"))
        self._now = Now(self._slot, self._lock)
        self.transfers = TransferTally(self._tally("transfers"), self._now)
        self.parts = PartTally(self._tally("parts"))
        self.cuts = CutTally(self._tally("cuts"))
        self.log = LogTally(self._tally("log"))
        self.clients = ClientTable(self._slot, clock) if remembers_clients else NoClients(self._slot)
        self.files = (FileTable if remembers_clients else FileTableWithoutClients)(self._slot, clock)

    def mirror(self, name: str) -> MirrorTally:
        """Return the counters of a mirror."""
        return MirrorTally(self._tally("mirror", name))

    def origin(self, name: str) -> OriginTally:
        """Return the counters of an origin."""
        return OriginTally(self._tally("origin", name))

    def close(self) -> None:
        """Let another process go on with these files."""
        for tally in self._tallies.values():
            tally.close()
        self._now.close()
        self.clients.close()
        self.files.close()
        os.close(self._lock)

    def _tally(self, kind: str, name: str = "") -> Tally:
        file = COUNTS + quote(f"{kind} {name}".strip(), safe=" ")[:_LONGEST_FILE_NAME]
        if file not in self._tallies:
            self._tallies[file] = Tally(self._slot / file, NAMES[kind], self._clock)
        return self._tallies[file]


def _take_slot(directory: Path) -> tuple[Path, int]:
    """Return the first folder that no living process writes to, and the lock on it."""
    for number in itertools.count():
        slot = directory / str(number)
        slot.mkdir(parents=True, exist_ok=True)
        lock = os.open(slot / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
        else:
            return slot, lock
    raise AssertionError("counting never ends")
