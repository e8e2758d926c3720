"""Pins that keep what a prefetch wants, from before it arrives until a later run lets it go.

And what a lockfile names, while it is served.
"""

import logging

from proxy.bundles.lockfile import Lockfile
from proxy.digest import Digest
from proxy.jobs.plan import Plan
from proxy.service.cache import Cache
from proxy.store.files import StoreFault

log = logging.getLogger(__name__)

_SERVED_LOCK = "serve --lock"
_ANY_BYTES = 2**63
"""More than any file has: whatever is here counts."""


async def pin_also(cache: Cache, name: str, plan: Plan) -> None:
    """Pin what a plan wants, here or about to be, under a name; let go of nothing."""
    await cache.storage.threads.ledger(cache.storage.pins.pin_all, name, plan.digests)


async def pin_only(cache: Cache, name: str, plan: Plan, hold_s: float) -> None:
    """Pin what a completed plan wanted under a name, and let go of everything else that it kept.

    What is let go stays for `hold_s` more: clients may still work from an older list.
    """
    await cache.storage.threads.ledger(cache.storage.pins.repin, name, plan.digests, hold_s)


async def pin_served_lock(cache: Cache, lockfile: Lockfile | None) -> None:
    """Pin what the lockfile names that is served, for as long as it is; if there is none, let go of it."""
    contents = () if lockfile is None else (one.contents for one in lockfile.locked)
    digests = {file.sha256 for one in contents for file in one.files()}
    try:
        await cache.storage.threads.ledger(cache.storage.pins.repin, _SERVED_LOCK, digests)
    except StoreFault as error:
        log.warning("lockfile.not_kept problem=%s", error)


async def unpin_if_nothing_came(cache: Cache, name: str) -> None:
    """Let go of a pin that keeps nothing at all, such as that of a prefetch of which all has failed."""
    storage, store = cache.storage, cache.storage.store

    def is_any_here(digest: Digest) -> bool:
        return store.has(digest) or store.stored_bytes(digest, _ANY_BYTES) > 0

    def unpin() -> None:
        with storage.ledger.lasting_transaction():
            pinned = storage.pins.pinned_by(name)
            if not any(map(is_any_here, pinned)):
                for digest in pinned:
                    storage.pins.unpin(digest, name)

    await storage.threads.ledger(unpin)
