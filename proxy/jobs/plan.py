"""What a prefetch would do: a pure sum, made before anything is fetched."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from proxy.digest import Digest
from proxy.simplestreams.model import Item
from proxy.store.eviction_order import Usage


@dataclass(frozen=True, slots=True)
class Wanted:
    """An item that a mirror names and a selection wants."""

    mirror: str
    item: Item


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is wanted, what of it is here, and what that means for the disk. Sizes in bytes."""

    wanted: tuple[Wanted, ...]
    """One for each digest."""
    missing: tuple[Wanted, ...]
    """Those that are not in the store in full, in the order they were named."""
    contradicted: tuple[Wanted, ...]
    """Those of a digest that another one gives another size: one of the two cannot be had."""
    paths: int
    """How many paths name them."""
    total_bytes: int
    shared_bytes: int
    """What the same content under several paths does not cost again."""
    held_bytes: int
    """What is here already, beginnings of interrupted transfers included."""

    @property
    def fetch_bytes(self) -> int:
        """What upstream has to send."""
        return self.total_bytes - self.held_bytes

    @property
    def digests(self) -> frozenset[Digest]:
        """All that the selection needs."""
        return frozenset(one.item.digest for one in self.wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What fetching would do to the store, and how long it takes."""

    needed_bytes: int
    """What would be stored."""
    free_bytes: int
    evicted: tuple[Usage, ...]
    """Blobs that would have to go."""
    missing_bytes: int
    """What would still be lacking when all that may go is gone; zero when it fits."""
    min_free_bytes: int
    """What is kept free on the disk, whatever is wanted."""
    seconds: float | None
    """How long it takes at the rate of the last transfer; None if that is unknown."""

    @property
    def is_disk_short(self) -> bool:
        """Whether the disk alone has no room, even if the cache were allowed to take what is free."""
        return self.needed_bytes > self.free_bytes - self.min_free_bytes

    @property
    def evicted_bytes(self) -> int:
        """The size of what would have to go."""
        return sum(usage.size_bytes for usage in self.evicted)


def make_plan(
    wanted: Iterable[Wanted], held_bytes: Callable[[Item], int], is_whole: Callable[[Item], bool]
) -> Plan:
    """Sum up what a selection needs; it is said how much of an item is here, and whether it is proved."""
    unique: dict[Digest, Wanted] = {}
    paths: set[tuple[str, str]] = set()
    contradicted: list[Wanted] = []
    named_bytes = 0
    for one in wanted:
        if (one.mirror, one.item.path) in paths:
            continue
        paths.add((one.mirror, one.item.path))
        if unique.setdefault(one.item.digest, one).item.size_bytes != one.item.size_bytes:
            contradicted.append(one)
            continue
        named_bytes += one.item.size_bytes
    held = {digest: held_bytes(one.item) for digest, one in unique.items()}
    total_bytes = sum(one.item.size_bytes for one in unique.values())
    return Plan(
        wanted=tuple(unique.values()),
        missing=tuple(one for one in unique.values() if not is_whole(one.item)),
        contradicted=tuple(contradicted),
        paths=len(paths),
        total_bytes=total_bytes,
        shared_bytes=named_bytes - total_bytes,
        held_bytes=sum(held.values()),
    )
