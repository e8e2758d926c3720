"""Whether origins may be asked: as configured, or as an operator switched it at run time.

One byte in a file, mapped into every process's memory, so that a switch reaches
all of them at once and lasts over restarts.
"""

from pathlib import Path
from typing import Protocol

from proxy.system.mapped_files import map_file

_SIZE = 1


class Offline(Protocol):
    """Says whether origins may be asked."""

    @property
    def is_on(self) -> bool:
        """Whether no origin may be asked now."""


class AskedAnyway:
    """What has been carried here, or is at the server that somebody names, may be read also while offline."""

    is_on = False


class NeverAsked:
    """What is served is fixed: nobody is asked for anything newer."""

    is_on = True


class OfflineSwitch:
    """One process's view of the switch."""

    def __init__(self, path: Path, *, is_configured: bool) -> None:
        self._is_configured = is_configured
        path.parent.mkdir(parents=True, exist_ok=True)
        self._memory = map_file(path, _SIZE)

    @property
    def is_on(self) -> bool:
        """Whether no origin may be asked now."""
        return self._is_configured or self.is_switched

    @property
    def is_switched(self) -> bool:
        """Whether an operator switched it on at run time."""
        return self._memory[0] != 0

    @property
    def is_configured(self) -> bool:
        """Whether the configuration says so, which no switch can change."""
        return self._is_configured

    def turn(self, *, on: bool) -> None:
        """Switch all processes off the network, or back."""
        self._memory[0] = on

    def close(self) -> None:
        """Close the file."""
        self._memory.close()
