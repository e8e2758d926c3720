"""What can be configured: every option and its default.

`Config` only nests the options of the parts, which own them. How they are read is the
business of `load`, what is wrong with their values that of `checks`.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from proxy.config.addresses import is_plain, split_address
from proxy.config.tls import Tls
from proxy.documents.freshness import FreshnessPolicy
from proxy.fills.feed import FeedOptions
from proxy.jobs.importing.options import BundleOptions
from proxy.jobs.rules import Rule
from proxy.jobs.scrub import ScrubPolicy
from proxy.mirror import Mirror
from proxy.sources.options import UpstreamOptions
from proxy.store.limits import StoreLimits
from proxy.web.access.gate import AccessOptions, User
from proxy.web.admin.permission import AdminOptions
from proxy.web.client_options import ClientOptions

_MOST_AUTO_WORKERS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["human", "json"] = "human"


def _maas_mirror(name: str, path: str) -> Mirror:
    return Mirror(name=name, mount=f"/images/{path}", origins=(f"https://images.maas.io/{path}",))


MAAS_MIRRORS: tuple[Mirror, ...] = (
    _maas_mirror("maas-stable", "ephemeral-v3/stable/"),
    _maas_mirror("maas-candidate", "ephemeral-v3/candidate/"),
    _maas_mirror("maas-v2-daily", "ephemeral-v2/daily/"),
    _maas_mirror("maas-v2-releases", "ephemeral-v2/releases/"),
)
"""All trees of images.maas.io, mounted so that only the host of a MAAS image source changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that can be configured."""

    listen: tuple[str, ...] = ("0.0.0.0:8080",)
    """HOST:PORT or [IPV6]:PORT each; port 0 is any free port. With http:// before it TLS is not spoken."""
    data_dir: Path
    """Holds what is stored and the records of it; absolute. See `load.default_data_dir`."""
    workers: int | Literal["auto"] = "auto"
    """Processes that serve; see `worker_count`."""
    offline: bool = False
    """Serve what is held and never ask an origin."""
    lock: Path | None = None
    """Serve exactly what this lockfile names, and nothing else."""
    tls: Tls = field(default_factory=Tls)
    cache: StoreLimits = field(default_factory=StoreLimits)
    scrub: ScrubPolicy = field(default_factory=ScrubPolicy)
    freshness: FreshnessPolicy = field(default_factory=FreshnessPolicy)
    upstream: UpstreamOptions = field(default_factory=UpstreamOptions)
    feed: FeedOptions = field(default_factory=FeedOptions)
    clients: ClientOptions = field(default_factory=ClientOptions)
    access: AccessOptions = field(default_factory=AccessOptions)
    users: tuple[User, ...] = ()
    """Who has a password for mirrors."""
    admin: AdminOptions = field(default_factory=AdminOptions)
    log: LogOptions = field(default_factory=LogOptions)
    bundles: BundleOptions = field(default_factory=BundleOptions)
    mirrors: tuple[Mirror, ...] = MAAS_MIRRORS
    prefetch: tuple[Rule, ...] = ()
    """What the server fetches by itself."""

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """`listen` as (host, port), IPv6 without its brackets."""
        return tuple(split_address(entry) for entry in self.listen)

    @property
    def listening_names(self) -> frozenset[str]:
        """The hosts of `listen`, of both kinds, in small letters: some may be names."""
        return frozenset(host.lower().rstrip(".") for host, _ in (*self.addresses, *self.admin_addresses))

    @property
    def plain_addresses(self) -> frozenset[tuple[str, int]]:
        """Those of all addresses at which TLS is not spoken though it is configured."""
        return frozenset(
            split_address(entry) for entry in (*self.listen, *self.admin.listen) if is_plain(entry)
        )

    @property
    def admin_addresses(self) -> tuple[tuple[str, int], ...]:
        """`admin.listen` in the same way."""
        return tuple(split_address(entry) for entry in self.admin.listen)

    def worker_count(self, cpus: int | None = None) -> int:
        """Return how many workers to run; "auto" is one for each usable CPU, at most four."""
        if self.workers != "auto":
            return self.workers
        return min(cpus or len(os.sched_getaffinity(0)), _MOST_AUTO_WORKERS)
