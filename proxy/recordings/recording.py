"""What a recording takes: since when, until when, whose requests, of which mirrors. Pure."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_network

from proxy.errors import ProxyError
from proxy.store.schema import Count, Moment, Schema
from proxy.system.ip_addresses import parse_address

MOST_FILES = 100_000
"""Of one recording, unless somebody says otherwise."""
LARGEST_MOST_FILES = 1_000_000
CLOCK_SET_BACK_S = 5.0
"""Nothing that was noted waits for so long to be written down."""
LATE_S = 0.05
"""A reply that was ready is counted a moment after it has gone out."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class RecordingRefused(ProxyError):
    """A recording that cannot be begun, ended or shown as it was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One recording. Moments are Unix seconds."""

    name: str
    since: Moment
    until: Moment | None = None
    """When it ends, or was ended; None until somebody ends it."""
    clients: tuple[str, ...] = ()
    """Networks of the clients whose requests it takes; all if there are none."""
    mirrors: tuple[str, ...] = ()
    """Names of the mirrors whose requests it takes; all if there are none."""
    most_files: Count = MOST_FILES
    """What is asked for beyond so many files is not recorded."""
    begun_at: Moment
    begun_by: str = ""

    def __post_init__(self) -> None:
        check_name(self.name)
        for one in self.clients:
            ip_network(one)

    @property
    def _set_back_s(self) -> float:
        """By how much a request has to precede the beginning to show that the clock was set back.

        Of a recording that began at once: what was noted before it is younger than that.
        """
        return CLOCK_SET_BACK_S if self.since == self.begun_at else math.inf

    @property
    def pin(self) -> str:
        """The name of the pin that keeps what it names."""
        return f"recording {self.name}"

    def has_ended(self, now: float) -> bool:
        """Whether nothing more is recorded."""
        return self.until is not None and now > self.until

    def takes(self, mirror: str, client: str, first: float, last: float) -> bool:
        """Whether requests of a client for something of a mirror, made in that time, belong to it."""
        is_before = self._set_back_s > self.since - last > 0
        if is_before or (self.until is not None and first > self.until + LATE_S):
            return False
        if self.mirrors and mirror not in self.mirrors:
            return False
        return not self.clients or _is_among(client, self.clients)

    def __str__(self) -> str:
        whose = f"clients in {', '.join(self.clients)}" if self.clients else "all clients"
        return f"what {whose} ask of {', '.join(self.mirrors) if self.mirrors else 'all mirrors'}"


RECORDING: Schema[Recording] = Schema(Recording)


def check_name(name: str) -> None:
    """Raise RecordingRefused unless a recording, and its folder, may be called so."""
    if not _NAME.fullmatch(name):
        raise RecordingRefused(
            f"{name!r:.100} is no name for a recording: write 1 to 64 letters, digits, '.', '_' and '-', "
            "a letter or digit first"
        )


def _is_among(client: str, networks: Iterable[str]) -> bool:
    address = parse_address(client)
    return address is not None and any(address in ip_network(one) for one in networks)
