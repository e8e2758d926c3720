"""The proof that a selection can be served with upstream gone."""

from collections.abc import Iterable
from dataclasses import dataclass

from proxy.cache.service import Cache
from proxy.jobs.plan import Wanted
from proxy.simplestreams.model import Item


@dataclass(frozen=True, slots=True)
class Flaw:
    """A document or item that is not here as it should be."""

    mirror: str
    path: str
    problem: str


async def find_flaws(
    cache: Cache, wanted: Iterable[Wanted], documents: Iterable[Wanted], *, deep: bool
) -> list[Flaw]:
    """Return all that keeps the wanted items, and the documents that name them, from being served.

    Sizes are always compared. `deep` hashes every blob again; documents, being
    small, are hashed each time.
    """
    flaws = []
    for one in documents:
        flaws += await cache.threads.slow(_flaws, cache, one, True)
    for one in wanted:
        flaws += await cache.threads.slow(_flaws, cache, one, deep)
    return flaws


def _flaws(cache: Cache, wanted: Wanted, deep: bool) -> list[Flaw]:
    problem = _problem(cache, wanted.item, deep)
    return [] if problem is None else [Flaw(wanted.mirror, wanted.item.path, problem)]


def _problem(cache: Cache, item: Item, deep: bool) -> str | None:
    return cache.store.problem(item.digest, item.size_bytes, deep=deep)
