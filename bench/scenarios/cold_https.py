"""Cold fills from an https origin, as most are: 1 GiB in 64 items, 8 clients, into empty stores.

As `cold`, beside nginx with the same https origin (proxy_pass https://…), whose
certificate ours verifies and nginx does not: so they are installed.
"""

from collections.abc import Iterator

from figures import Effort, Finding
from servers.peers import origin_of
from stage import stage

from scenarios import cold

NEEDS = ("nginx",)
_ITEMS = 64
_ITEM_BYTES = 16 * 1024 * 1024


def measure(effort: Effort) -> Iterator[Finding]:
    """Yield wall time and CPU of both, and of the origin itself."""
    with stage([_ITEM_BYTES] * effort.scaled(_ITEMS)) as ready:
        certificate = ready.certificate()
        with origin_of(ready, certificate) as origin:
            yield from cold.fill(effort, ready, origin, ["nginx proxy_cache"], certificate)
