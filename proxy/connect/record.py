"""What was changed of each MAAS, in files of the data directory, so that it can be taken back.

connect/maas/<URL>.json    written before the first change; for its owner's eyes

A URL of a source may hold a password; keys and passwords of MAAS itself are in none.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from proxy.connect.errors import MaasFault
from proxy.connect.steps import Kind, Step
from proxy.store.schema import Moment, Schema, Unreadable
from proxy.system.durable import make_folder, sync_directory, write_file

_FOLDER = "connect/maas"
_LONGEST_NAME = 180


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    """A step as it is written down."""

    kind: Kind
    target: str = ""
    old: dict[str, Any] = field(default_factory=dict)
    new: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What was changed of one MAAS."""

    maas: str
    mirror: str
    url: str
    """The mirror's, as MAAS sees it."""
    changed_at: Moment
    steps: tuple[_Written, ...] = ()

    @property
    def done(self) -> list[Step]:
        """The changes, the first first."""
        return [Step(kind=one.kind, target=one.target, old=one.old, new=one.new) for one in self.steps]

    def with_steps(self, steps: Sequence[Step]) -> "Record":
        """Return a record of these steps."""
        written = tuple(
            _Written(kind=one.kind, target=one.target, old=dict(one.old), new=dict(one.new)) for one in steps
        )
        return replace(self, steps=written)


_SCHEMA = Schema(Record)


def merged(before: Sequence[Step], further: Sequence[Step]) -> list[Step]:
    """Return the steps of two runs as one: what was there before the first, what is there after the last."""
    steps = list(before)
    for step in further:
        same = next((one for one in steps if (one.kind, one.target) == (step.kind, step.target)), None)
        if step.kind in {"change source", "change setting"} and same is not None:
            whole = replace(same, old={**step.old, **same.old}, new={**same.new, **step.new})
            steps[steps.index(same)] = whole
        elif step.kind == "change source" and (made := _made(steps, step.target)) is not None:
            steps[steps.index(made)] = replace(made, new={**made.new, **step.new})
        elif step.kind != "select" or step not in steps:
            steps.append(step)
    return steps


def _made(steps: Sequence[Step], target: str) -> Step | None:
    return next((one for one in steps if one.kind == "make source" and one.target == target), None)


class Records:
    """The records of a data directory. Its methods block and raise OSError."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / _FOLDER

    def read(self, maas: str) -> Record | None:
        """Return what was changed of a MAAS; raises MaasFault for what cannot be understood."""
        try:
            text = self._file(maas).read_bytes()
        except FileNotFoundError:
            return None
        found = _SCHEMA.decode_text(text)
        if isinstance(found, Unreadable):
            raise MaasFault(
                f"{self._file(maas)}, the record of what was changed, cannot be read: {found.problem}"
            )
        return found

    def known(self) -> list[str]:
        """Return the URLs of all MAAS of which changes are written down and can be read."""
        found = [_SCHEMA.decode_text(one.read_bytes()) for one in sorted(self._folder.glob("*.json"))]
        return [one.maas for one in found if not isinstance(one, Unreadable)]

    def write(self, record: Record) -> None:
        """Write down what is changed of a MAAS."""
        make_folder(self._folder.parent, 0o700)
        make_folder(self._folder, 0o700)
        values: Mapping[str, Any] = _SCHEMA.encode(record)
        write_file(self._file(record.maas), json.dumps(values, indent=2).encode())

    def forget(self, maas: str) -> None:
        """Forget what was changed, as it has been taken back."""
        self._file(maas).unlink(missing_ok=True)
        if self._folder.is_dir():
            sync_directory(self._folder)

    def _file(self, maas: str) -> Path:
        return self._folder / f"{quote(maas.rstrip('/'), safe='')[:_LONGEST_NAME]}.json"
