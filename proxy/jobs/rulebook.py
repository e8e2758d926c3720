"""What is known of each rule's runs, shared by all processes on a data directory.

One ledger record for each rule: its last result and when it is due. A lock file
for each says who runs it; the kernel lets go of it however its holder ends. The
methods of RuleBook block.
"""

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from proxy.errors import ProxyError
from proxy.jobs.rules import Rule
from proxy.store.files import StoreFault
from proxy.store.ledger import Ledger

log = logging.getLogger(__name__)

_RECORD = "rule/"
_PIN_PREFIX = "rule "
_ASKED = "asked/"
_LOCK_TRIES = 5
_LOCK_PAUSE_S = 0.02


class RuleBusy(ProxyError):
    """A rule that another process is running."""

    def __init__(self, name: str) -> None:
        super().__init__(f"rule {name} is being run already, by the server or another command")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a run came to. Times in Unix seconds, sizes in bytes."""

    started_at: float
    ended_at: float
    outcome: str
    """complete, partial (some items failed), paused (its window closed), failed or interrupted."""
    problem: str | None = None
    wanted_items: int = 0
    wanted_bytes: int = 0
    fetched_items: int = 0
    fetched_bytes: int = 0
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

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """Read what `asdict` wrote, in this release or one before."""
        tuples = {name: tuple(record[name]) for name in ("added", "dropped", "failures")}
        return cls(**{**record, **tuples, "unknown": tuple(record.get("unknown", ()))})


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What the book says of one rule."""

    last: Result | None = None
    next_at: float | None = None
    """When the server means to run it, Unix seconds."""
    complete_at: float | None = None
    """When a run was complete last, Unix seconds."""
    versions: tuple[str, ...] = ()
    """What the last complete run wanted, as "product version"."""

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """Read what `asdict` wrote."""
        last = record["last"]
        return cls(
            last=None if last is None else Result.from_record(last),
            next_at=record["next_at"],
            complete_at=record["complete_at"],
            versions=tuple(record["versions"]),
        )


class RuleBook:
    """Results and locks of rules."""

    def __init__(self, ledger: Ledger, locks: Path) -> None:
        self._ledger = ledger
        self._locks = locks
        self._locks.mkdir(parents=True, exist_ok=True)

    def page(self, name: str) -> Page:
        """Return what is known of a rule."""
        record = self._ledger.record(_RECORD + name)
        if record is None:
            return Page()
        try:
            return Page.from_record(record)
        except (TypeError, KeyError, AttributeError) as error:
            # Another release wrote it: a rule must run all the same.
            log.warning("rule.record_unreadable name=%s problem=%s", name, error)
            return Page()

    def note(self, name: str, **changes: Any) -> None:
        """Change what is known of a rule: fields of its Page."""
        with self._ledger.transaction():
            self._ledger.write(_RECORD + name, asdict(replace(self.page(name), **changes)))

    def ask(self, name: str) -> None:
        """Ask the server to run a rule as soon as it can."""
        self._ledger.write(_ASKED + name, True)

    def take_asked(self) -> set[str]:
        """Return the rules that somebody asked for since the last call."""
        with self._ledger.transaction():
            keys = self._ledger.keys(_ASKED)
            for key in keys:
                self._ledger.forget(key)
        return {key.removeprefix(_ASKED) for key in keys}

    def release_all_but(self, rules: Iterable[Rule], hold_s: float) -> set[str]:
        """Let go of the pins of rules that are configured no more; return their names.

        The blobs stay for `hold_s` more.
        """
        kept = {rule.pin for rule in rules}
        names = {name for names in self._ledger.pins().values() for name in names}
        gone = {name for name in names if name.startswith(_PIN_PREFIX)} - kept
        for name in gone:
            self._ledger.repin(name, (), hold_s)
            self._ledger.forget(_RECORD + name.removeprefix(_PIN_PREFIX))
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
