"""Which blobs to let go: a pure decision."""

from collections.abc import Container, Iterable
from dataclasses import dataclass

from proxy.digest import Digest


@dataclass(frozen=True, slots=True)
class Usage:
    """What the ledger knows of one blob; `used_at` in Unix seconds."""

    digest: Digest
    size_bytes: int
    used_at: float


class IdlePartial(Usage):
    """A partial file that nobody writes: it was used when it was written, and takes what is reserved."""


def choose_evicted(usages: Iterable[Usage], protected: Container[Digest], needed_bytes: int) -> list[Usage]:
    """Return the blobs to remove, least recently used first, so that `needed_bytes` become free.

    Protected blobs are never chosen. When all the rest together would not be
    enough, nothing is chosen: an eviction that does not help only harms.
    """
    chosen: list[Usage] = []
    for usage in sorted(usages, key=lambda usage: usage.used_at):
        if needed_bytes <= 0:
            break
        if usage.digest not in protected:
            chosen.append(usage)
            needed_bytes -= usage.size_bytes
    return chosen if needed_bytes <= 0 else []
