"""What every fill of a process works with."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from proxy.fills.demand import Demand
from proxy.fills.failures import Failures
from proxy.fills.feed import FeedOptions
from proxy.fills.first_bytes import FirstBytes
from proxy.fills.places import Places
from proxy.fills.silence import Silences
from proxy.fills.wrong_bytes import WrongBytes
from proxy.sources.candidates import Doubts, Source
from proxy.sources.options import UpstreamOptions
from proxy.sources.pull import Pull
from proxy.sources.segments.hosts import Hosts
from proxy.store.storage import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Facilities:
    """The parts that all fills share."""

    storage: Storage
    failures: Failures
    wrong_bytes: WrongBytes
    places: Places
    demand: Demand
    first_bytes: FirstBytes
    upstream: UpstreamOptions
    feed: FeedOptions
    random: Random
    hosts: Hosts
    silences: Silences = field(default_factory=Silences)

    def pull(self, sources: Sequence[Source], size_bytes: int, offset: int, doubts: Doubts) -> Pull:
        """Return an item's way to us, from `offset` on."""
        return Pull(sources, size_bytes, offset, self.upstream, self.random, doubts, self.hosts)
