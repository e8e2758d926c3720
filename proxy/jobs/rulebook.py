"""What is known of each rule's runs, shared by all processes on a data directory.

One ledger record for each rule: its last result and when it is due. A lock file
for each says who runs it; the kernel lets go of it however its holder ends. The
methods of RuleBook block.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from proxy.connect.maas_api.model import Choice
from proxy.errors import ProxyError
from proxy.jobs.rules import RULE_PIN, Rule
from proxy.store.files import StoreFault
from proxy.store.ledger import Ledger
from proxy.store.pins import Pins
from proxy.store.records import Kind, known
from proxy.store.schema import Count, Moment, Schema

_LOCK_TRIES = 5
_LOCK_PAUSE_S = 0.02


class RuleBusy(ProxyError):
    """A rule that another process is running."""

    def __init__(self, name: str) -> None:
        super().__init__(f"rule {name} is being run already, by the server or another command")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a run came to. Times in Unix seconds, sizes in bytes."""

    started_at: Moment
    ended_at: Moment
    outcome: str
    """complete, partial (some items failed), paused (its window closed), failed or interrupted."""
    problem: str | None = None
    wanted_items: Count = 0
    wanted_bytes: Count = 0
    fetched_items: Count = 0
    fetched_bytes: Count = 0
    added: tuple[str, ...] = ()
    """Versions, as "product version", that the run before did not have."""
    dropped: tuple[str, ...] = ()
    """Versions that it had and this one does not want any more."""
    failures: tuple[str, ...] = ()
    """Items that could not be had, and why."""
    unknown: tuple[str, ...] = ()
    """Names in the rule that nothing in the lists has."""

    @property
    def lacks_only_names(self) -> bool:
        """Whether all is here that the lists name, but they do not name all that the rule does."""
        return self.outcome == "partial" and bool(self.unknown) and self.problem == "; ".join(self.unknown)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What the book says of one rule."""

    last: Result | None = None
    next_at: Moment | None = None
    """When the server means to run it, Unix seconds."""
    complete_at: Moment | None = None
    """When a run was complete last, Unix seconds."""
    versions: tuple[str, ...] = ()
    """What the last complete run wanted, as "product version"."""
    selected: tuple[Choice, ...] = ()
    """What was selected when its MAAS was asked last."""


_PAGES = Kind("rule/", Schema(Page, later=["unknown", "selected"]))
_ASKED = Kind("asked/", Schema(bool))
"""Rules that somebody wants to be run; whatever the value is, somebody does."""


class RuleBook:
    """Results and locks of rules."""

    def __init__(self, ledger: Ledger, locks: Path) -> None:
        self._ledger = ledger
        self._pins = Pins(ledger)
        self._locks = locks
        self._locks.mkdir(parents=True, exist_ok=True)

    def page(self, name: str) -> Page:
        """Return what is known of a rule; nothing when that cannot be read, for it must run all the same."""
        return known(_PAGES.read(self._ledger, name)) or Page()

    def note(self, name: str, **changes: Any) -> None:
        """Change what is known of a rule: fields of its Page."""
        with self._ledger.transaction():
            _PAGES.write(self._ledger, replace(self.page(name), **changes), name)

    def ask(self, name: str) -> None:
        """Ask the server to run a rule as soon as it can."""
        _ASKED.write(self._ledger, True, name)

    def take_asked(self) -> set[str]:
        """Return the rules that somebody asked for since the last call."""
        with self._ledger.transaction():
            names = _ASKED.names(self._ledger)
            for name in names:
                _ASKED.forget(self._ledger, name)
        return set(names)

    def release_all_but(self, rules: Iterable[Rule], hold_s: float) -> set[str]:
        """Let go of the pins of rules that are configured no more; return their names.

        The blobs stay for `hold_s` more.
        """
        kept = {rule.pin for rule in rules}
        names = {name for names in self._pins.names().values() for name in names}
        gone = {name for name in names if name.startswith(RULE_PIN)} - kept
        for name in gone:
            self._pins.repin(name, (), hold_s)
            _PAGES.forget(self._ledger, name.removeprefix(RULE_PIN))
        return gone

    def is_running(self, name: str) -> bool:
        """Whether some process runs a rule now."""
        try:
            fd = os.open(self._locks / name, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def lock(self, name: str) -> "RuleLock":
        """Become the only one who runs a rule. Raises RuleBusy when another process is, or StoreFault."""
        try:
            fd = os.open(self._locks / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StoreFault.of(f"the lock of rule {name} cannot be opened", error) from error
        for _ in range(_LOCK_TRIES):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return RuleLock(fd)
            # Somebody may only be asking whether it runs.
            time.sleep(_LOCK_PAUSE_S)
        os.close(fd)
        raise RuleBusy(name)


class RuleLock:
    """The right to run a rule, until `close`."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def close(self) -> None:
        """Let others run it."""
        os.close(self._fd)
