"""The proof that a selection can be served with upstream gone."""

from collections.abc import Iterable
from dataclasses import dataclass

from proxy.cache.service import Cache
from proxy.jobs.plan import Wanted


@dataclass(frozen=True, slots=True)
class Flaw:
    """A document or item that is not here as it should be."""

    mirror: str
    path: str
    problem: str


async def find_flaws(cache: Cache, wanted: Iterable[Wanted], *, deep: bool) -> list[Flaw]:
    """Return what of the wanted files could not be served from the store.

    Every blob was hashed when it was stored, and its size is compared now;
    `deep` hashes them all again.
    """
    flaws = []
    for one in wanted:
        problem = await cache.storage.threads.slow(_problem, cache, one, deep)
        if problem is not None:
            flaws.append(Flaw(one.mirror, one.item.path, problem))
    return flaws


def _problem(cache: Cache, wanted: Wanted, deep: bool) -> str | None:
    return cache.storage.store.problem(wanted.item.digest, wanted.item.size_bytes, deep=deep)
