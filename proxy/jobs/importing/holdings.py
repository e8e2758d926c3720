"""What is here of some mirrors: of the generation that each serves, and of those that wait to be complete."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from proxy.bundles.contents import Contents, File
from proxy.jobs.exporting.selecting import Origins, select_held
from proxy.jobs.importing.lacking import stored_contents
from proxy.jobs.importing.waiting import waiting_generations
from proxy.service.cache import Cache


async def held_contents(cache: Cache, origins: Origins, *, skips_empty: bool) -> tuple[Contents, ...]:
    """Return what is here, those that wait behind what is served. Raises what `select_held` raises."""
    served = (await select_held(cache, origins, skips_empty=skips_empty)).contents
    waiting = await cache.storage.threads.ledger(lambda: [*_waiting(cache, origins)])
    return (*served, *waiting)


def _waiting(cache: Cache, origins: Origins) -> Iterator[Contents]:
    """Yield what is here of each generation that waits. Blocks."""
    store = cache.storage.store

    def is_here(file: File) -> bool:
        return store.is_whole(file.sha256, file.size)

    for mirror in origins:
        for one in waiting_generations(cache.storage.ledger, mirror):
            contents = stored_contents(store, one.contents)
            if contents is None:
                continue  # Nothing of it will ever be served.
            with contextlib.suppress(ValueError):  # Nor without its index.
                yield replace(
                    contents,
                    mirror=mirror,
                    documents=tuple(filter(is_here, contents.documents)),
                    items=tuple(filter(is_here, contents.items)),
                )
