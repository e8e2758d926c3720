"""Looking whether blobs are as they should be, several at a time where they have to be hashed."""

import asyncio
from collections.abc import Mapping
from functools import partial

from proxy.digest import Digest
from proxy.store.storage import Storage

_AT_ONCE = 2
"""Half of the threads for what takes long: others have a turn too."""


async def problems(storage: Storage, blobs: Mapping[Digest, int], *, deep: bool) -> dict[Digest, str]:
    """Return what is wrong with blobs of these sizes; those that are good are not named.

    A blob is hashed if it was not lately, if its file was touched since, or if `deep` demands it.
    """
    found: dict[Digest, str] = {}
    to_come = iter(blobs.items())

    async def work() -> None:
        for digest, size_bytes in to_come:
            look = partial(storage.proofs.problem, digest, size_bytes, deep=deep)
            problem = await storage.threads.slow(look)
            if problem is not None:
                found[digest] = problem

    workers = [asyncio.create_task(work()) for _ in range(_AT_ONCE)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return found
