"""Prefetch rules: a named selection of one mirror, and when to fetch it.

Owns what a rule says; knows nothing of running it. Times of day are those of
the machine's time zone.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from proxy.connect.maas_api.model import Choice
from proxy.jobs.local_time import LocalTime
from proxy.jobs.schedule import Schedule, Window, parse_schedule
from proxy.jobs.selection import Selection
from proxy.simplestreams.filters import Filter

_ZONE = LocalTime()
RULE_PIN = "rule "
"""What the names of rules' pins begin with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One configured rule; `config` has checked that its texts can be read."""

    name: str
    """Names it in logs, statistics, pins and on the command line."""
    mirror: str
    filters: tuple[str, ...] = ()
    maas: tuple[str, ...] = ()
    """Releases as a MAAS user names them; their boot loaders come along."""
    arch: tuple[str, ...] = ()
    """Architectures, with `maas`."""
    from_maas: str = ""
    """The URL of a MAAS whose own selections are meant, instead of `maas`."""
    key_file: Path | None = None
    """The file of an API key of that MAAS."""
    maas_ca: Path | None = None
    """Authorities for that MAAS's certificate, when the system knows none."""
    max: int | Literal["all"] = "all"
    """Newest versions of each product."""
    schedule: str = ""
    jitter_s: float = 0.0
    """Each run begins up to this much later, so that not all sites ask at once."""
    window: str = ""
    limit_bytes_s: int | None = None
    """Most bytes a second, besides `upstream.background_limit`."""

    @property
    def pin(self) -> str:
        """What its pins are called."""
        return f"{RULE_PIN}{self.name}"

    def selection(self, choices: Iterable[Choice] = ()) -> Selection:
        """Return what it wants; `choices` is what is selected in its MAAS. Raises FilterError."""
        return Selection(
            filters=tuple(Filter.parse(one) for one in self.filters),
            maas_releases=self.maas,
            maas_arches=self.arch,
            from_maas=self.from_maas,
            choices=tuple(choices),
            newest=None if self.max == "all" else self.max,
        )

    def when(self) -> Schedule:
        """Return its schedule. Raises ValueError."""
        return parse_schedule(self.schedule, _ZONE)

    def hours(self) -> Window:
        """Return its window. Raises ValueError."""
        return Window.parse(self.window, _ZONE)
