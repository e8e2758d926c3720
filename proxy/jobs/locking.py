"""From what a recording has taken to a lockfile.

A lockfile has all documents of each generation that something was asked of: those that nobody
asked for prove the others. Of items it has those that were asked for.
"""

from collections.abc import Iterable
from typing import NamedTuple

from proxy import __version__
from proxy.bundles.contents import Contents, File
from proxy.bundles.lockfile import Locked, Lockfile
from proxy.digest import Digest
from proxy.documents.generation import Generation
from proxy.errors import ProxyError
from proxy.recordings.asked import Asked, Kind, Taken
from proxy.recordings.recording import Recording
from proxy.service.cache import Cache


class NothingToLock(ProxyError):
    """A recording of which no lockfile can be made."""


class Made(NamedTuple):
    """A lockfile, and what could not be put into it."""

    lockfile: Lockfile
    unprovable: list[Asked]
    """Items that no list names with a sha256."""


async def make_lock(cache: Cache, recording: Recording, taken: Taken) -> Made:
    """Return what a recording says that clients need. Raises NothingToLock."""
    got = taken.of_kind(Kind.GOT)
    if not got:
        raise NothingToLock(f"nothing was asked for during the recording {recording.name!r}")
    locked = [
        _lock(recording, mirror, generation, [one for one in got if one.mirror == mirror])
        for (mirror, _), generation in sorted(taken.generations.items(), key=lambda one: one[0])
    ]
    documents = {file.sha256: (one.contents, file) for one in locked for file in one.contents.documents}
    data = {digest: await _read(cache, *where) for digest, where in documents.items()}
    unprovable = [one for one in got if (one.mirror, one.generation) not in taken.generations]
    if not locked:
        raise NothingToLock(
            f"the recording {recording.name!r} has no documents, and no item that any list proves"
        )
    return Made(Lockfile(recording=recording.name, locked=tuple(locked), data=data), unprovable)


def _lock(recording: Recording, mirror: str, generation: Generation, got: Iterable[Asked]) -> Locked:
    of_this = [one for one in got if one.generation == generation.number]
    asked = {one.path for one in of_this if one.is_document}
    return Locked(
        contents=Contents(
            mirror=mirror,
            generation=generation.number,
            index_path=generation.index_path,
            updated=generation.updated,
            accepted_at=generation.accepted_at,
            origins=tuple(sorted({one.origin for one in generation.documents.values() if one.origin})),
            written_by=f"sstream-proxy {__version__}",
            selection=recording.pin,
            documents=tuple(
                File(path=one.path, sha256=one.digest, size=one.size_bytes)
                for one in generation.documents.values()
            ),
            items=tuple(
                File(path=one.path, sha256=Digest(one.sha256), size=one.size)
                for one in of_this
                if not one.is_document
            ),
        ),
        unasked=tuple(path for path in generation.documents if path not in asked),
    )


async def _read(cache: Cache, contents: Contents, file: File) -> bytes:
    data = await cache.storage.threads.slow(cache.storage.store.read, file.sha256)
    if data is None:
        raise NothingToLock(
            f"the store has lost {file.path} of generation {contents.generation} of mirror "
            f"{contents.mirror}, without which nothing proves what that names"
        )
    return data
