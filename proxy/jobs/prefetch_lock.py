"""Fetching what a lockfile names, and keeping it, whatever upstream publishes by now.

Where nothing is served of a mirror, or something older, the newest generation in the lockfile is
accepted first, checked as if it had been fetched. What is newer stays.
"""

from collections.abc import Iterable, Mapping

from proxy.bundles.lockfile import Lockfile
from proxy.digest import Digest
from proxy.errors import ProxyError
from proxy.jobs.choosing import Chosen
from proxy.jobs.selection import Selection
from proxy.mirror import Mirror, Trust
from proxy.service.cache import Cache
from proxy.service.locked import Verified, carried, check_flawless
from proxy.simplestreams.select import Choice
from proxy.sources.origin import Origin


class LockChooser:
    """Chooses what a lockfile names. Raises LockRefused unless all of it is proved."""

    def __init__(self, lockfile: Lockfile) -> None:
        self._lockfile = lockfile
        self.verified: tuple[Verified, ...] = ()

    async def __call__(self, cache: Cache, _mirrors: Iterable[str], _selection: Selection) -> Chosen:
        """Do what a Chooser does."""
        self.verified = await cache.verify(self._lockfile)
        check_flawless(self.verified)
        return Chosen(
            choices=[
                (one.mirror, Choice({"path": item.path}, item)) for one in self.verified for item in one.items
            ]
        )

    @property
    def document_digests(self) -> set[Digest]:
        """The blobs of its documents, once it has chosen."""
        return {digest for one in self.verified for digest in one.document_digests}


def newest_documents(lockfile: Lockfile, mirrors: Iterable[Mirror]) -> dict[str, Origin]:
    """Return the newest documents that a lockfile has of those of these mirrors whose keys prove them."""
    signed = (one.name for one in mirrors if one.trust is Trust.GPG and one.name in lockfile.mirrors)
    return {name: carried(lockfile.of_mirror(name)[-1], lockfile.data) for name in signed}


async def accept_if_newer(cache: Cache, lockfile: Lockfile, origins: Mapping[str, Origin]) -> dict[str, str]:
    """Accept what a lockfile has of mirrors of which nothing is served, or something older.

    The cache has these origins, which are `newest_documents`. Return why some are not accepted.
    """
    refused = {}
    for mirror, origin in origins.items():
        paths = [one.path for one in lockfile.of_mirror(mirror)[-1].contents.documents]
        try:
            examined = await cache.examine(mirror, origin, paths)
        except ProxyError as error:
            refused[mirror] = str(error)
            continue
        served = await cache.recorded(mirror)
        if served is not None and served.says_the_same(examined.generation):
            continue  # To confirm it is for its origins.
        problem = await cache.refresh(mirror)
        if problem is not None:
            refused[mirror] = problem
    return refused
