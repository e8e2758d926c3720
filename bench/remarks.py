"""What a reader of the figures must know of the servers: what was switched for them, and who was left out.

Servers say so when they are started; whoever writes the results collects it.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Switch:
    """A setting that differs from what an installed server has; configurations are written from these."""

    setting: str
    """Its name, as the server's configuration spells it."""
    value: str
    """As the configuration spells it."""
    installed: str
    """What an installed server has."""
    reason: str


@dataclass(frozen=True)
class Switched:
    """A switch, and the server that had it."""

    server: str
    switch: Switch


@dataclass(frozen=True)
class LeftOut:
    """A server that has no rows, and why."""

    server: str
    reason: str


Remark = Switched | LeftOut

_remarks: dict[Remark, None] = {}


def note_switches(server: str, switches: Sequence[Switch]) -> None:
    """Note what was switched for a server."""
    _remarks.update(dict.fromkeys(Switched(server, one) for one in switches))


def note_left_out(server: str, reason: str) -> None:
    """Note that a server has no rows."""
    _remarks[LeftOut(server, reason)] = None


def collect() -> list[Remark]:
    """Return what was noted since the last time, each remark once."""
    collected = list(_remarks)
    _remarks.clear()
    return collected
