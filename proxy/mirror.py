"""What a mirror is: one simplestreams tree, where it is mounted and whom it trusts. Pure."""

from dataclasses import dataclass, field
from enum import Enum

EVERYBODY = ("0.0.0.0/0", "::/0")
"""All networks there are."""
ORIGINS = "origins"
"""Stands for the URLs of a mirror's origins, among those that it answers to."""


class Trust(Enum):
    """What makes a mirror's documents believable."""

    GPG = "gpg"
    """A signature by a key of the mirror's keyring."""
    TLS = "tls"
    """The origin's TLS certificate alone; for streams that nobody signs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """One configured tree."""

    name: str
    """Names it in logs, statistics and on the command line."""
    mount: str
    """URL path below which clients find it; begins and ends with a slash."""
    origins: tuple[str, ...] = field(repr=False)
    """Base URLs, each ending with a slash, tried in this order; may hold credentials."""
    keyring: str = "ubuntu-cloudimage"
    """A bundled keyring's name, or the path of a binary or armored one."""
    trust: Trust = Trust.GPG
    spread: bool = False
    """Whether prefetches use all origins alike, instead of the first one that works."""
    join_origins: bool = True
    """Whether several origins give parts of a large item at a time, instead of the first one that works."""
    limit_bytes_s: int | None = None
    """Most bytes a second from its origins, besides `upstream.limit`; None is no limit."""
    redirect_hosts: tuple[str, ...] = ()
    """Private hosts ("host" or "host:port") that origins may redirect to."""
    allow: tuple[str, ...] = EVERYBODY
    """Networks whose clients may read it."""
    users: tuple[str, ...] = ()
    """Names of the users who may read it; empty is those who may read any."""
    answer_to: tuple[str, ...] = (ORIGINS,)
    """Base URLs of its tree by which clients may ask for it besides the mount, where their names lead here;
    "origins" stands for its origins'."""

    @property
    def origin_urls(self) -> tuple[str, ...]:
        """The URLs of those of its origins that are servers."""
        return tuple(url for url in self.origins if url.lower().startswith(("http://", "https://")))

    @property
    def answered_urls(self) -> tuple[str, ...]:
        """All URLs that it answers to besides its mount, each once."""
        listed = [self.origin_urls if entry == ORIGINS else (entry,) for entry in self.answer_to]
        return tuple(dict.fromkeys(url for urls in listed for url in urls))
