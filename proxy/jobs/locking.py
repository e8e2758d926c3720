"""From what a recording has taken to a lockfile.

A lockfile has all documents of each generation that something was asked of: those that nobody
asked for prove the others. Of items it has those that were asked for.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from proxy import __version__
from proxy.bundles.contents import Contents, File
from proxy.bundles.lockfile import Locked, Lockfile
from proxy.documents.generation import Edition, Generation, GenerationLost, load_edition
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
    locked: list[Locked] = []
    left: list[Asked] = []
    for mirror in dict.fromkeys(one.mirror for one in got):
        numbered = sorted(key for key in taken.generations if key[0] == mirror)
        editions = [await _load(cache, mirror, taken.generations[key]) for key in numbered]
        asked = [one for one in got if one.mirror == mirror]
        paths = {one.path for one in asked if one.is_document}
        of_mirror: list[Locked] = []
        for edition in reversed(editions):
            # What a newer generation says as well belongs to that.
            named = [one for one in asked if edition.served(one.path) == one.item]
            asked = [one for one in asked if one not in named]
            if named:
                of_mirror.append(_lock(recording, mirror, edition, named, paths))
        locked += reversed(of_mirror)
        left += asked
    if not locked:
        raise NothingToLock(
            f"the recording {recording.name!r} has no documents, and no item that any list proves"
        )
    documents = {file.sha256: (one.contents, file) for one in locked for file in one.contents.documents}
    data = {digest: await _read(cache, *where) for digest, where in documents.items()}
    return Made(Lockfile(recording=recording.name, locked=tuple(locked), data=data), left)


def _lock(
    recording: Recording, mirror: str, edition: Edition, named: Iterable[Asked], asked_paths: Collection[str]
) -> Locked:
    """Return what was asked of a generation; a document counts that was asked for in any."""
    generation = edition.generation
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
            documents=tuple(File.of(one.item) for one in generation.documents.values()),
            items=tuple(File.of(one.item) for one in named if edition.document(one.path) is None),
        ),
        unasked=tuple(path for path in generation.documents if path not in asked_paths),
    )


async def _load(cache: Cache, mirror: str, generation: Generation) -> Edition:
    storage = cache.storage
    try:
        return await storage.threads.slow(load_edition, storage.store, cache.reading, generation)
    except GenerationLost as error:
        raise NothingToLock(
            f"generation {generation.number} of mirror {mirror}, which clients used, is lost: {error}"
        ) from error


async def _read(cache: Cache, contents: Contents, file: File) -> bytes:
    data = await cache.storage.threads.slow(cache.storage.store.read, file.sha256)
    if data is None:
        raise NothingToLock(
            f"the store has lost {file.path} of generation {contents.generation} of mirror "
            f"{contents.mirror}, without which nothing proves what that names"
        )
    return data
