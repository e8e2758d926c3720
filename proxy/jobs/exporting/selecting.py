"""From a selection to the contents of a bundle: the documents of each mirror, and the items meant."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from proxy import __version__
from proxy.bundles.contents import Contents, File
from proxy.bundles.lockfile import Lockfile
from proxy.documents.generation import Edition, Generation
from proxy.errors import ProxyError
from proxy.jobs.choosing import choose_items
from proxy.jobs.selection import Selection
from proxy.readable import counted
from proxy.service.cache import Cache
from proxy.simplestreams.model import Item

WRITTEN_BY = f"sstream-proxy {__version__}"
Origins = Mapping[str, tuple[str, ...]]
"""The URLs of each mirror that is meant, as they may be shown."""

_TRIES = 5
_ALL_HERE = "all that is here"


class KeepsChanging(ProxyError):
    """A mirror whose generation was replaced each time that its items were being chosen."""

    def __init__(self, mirror: str) -> None:
        super().__init__(f"the lists of mirror {mirror} were replaced again and again: run the same again")


@dataclass(frozen=True, slots=True)
class Selected:
    """What a selection means, whether or not it is here."""

    contents: tuple[Contents, ...]
    """One for each mirror; every file counts as carried."""
    warnings: tuple[str, ...] = ()
    """What in the selection is surprising, and which files nothing proves."""


async def select_contents(cache: Cache, origins: Origins, selection: Selection) -> Selected:
    """Return what a selection means in the generations that the mirrors of these origins serve.

    Raises what `choose_items` raises, and KeepsChanging.
    """
    mirrors = tuple(origins)
    for _ in range(_TRIES):
        before = {mirror: await cache.edition(mirror) for mirror in mirrors}
        chosen = await choose_items(cache, mirrors, selection)
        after = {mirror: await cache.edition(mirror) for mirror in mirrors}
        changed = [one for one in mirrors if before[one].generation.number != after[one].generation.number]
        if not changed:
            break
    else:
        raise KeepsChanging(changed[0])
    items: dict[str, list[Item]] = {mirror: [] for mirror in mirrors}
    for wanted in chosen.wanted:
        items[wanted.mirror].append(wanted.item)
    contents = [
        _contents(mirror, before[mirror].generation, items[mirror], urls, str(selection))
        for mirror, urls in origins.items()
    ]
    unprovable = [f"{one.mirror} {one.path} {one.problem}" for one in chosen.unprovable]
    return Selected(tuple(contents), (*chosen.warnings, *unprovable))


def select_locked(lockfile: Lockfile) -> Selected:
    """Return what a lockfile names, of each mirror the newest generation.

    Its documents are in the store once it was verified.
    """
    contents, warnings = [], []
    for mirror in lockfile.mirrors:
        *older, newest = (one.contents for one in lockfile.of_mirror(mirror))
        contents.append(newest)
        files = {file for one in older for file in one.items} - {*newest.items}
        if files:
            warnings.append(
                f"{mirror} was replaced while this was recorded: only the newest generation is written, and "
                f"{counted(len(files), 'item')} left out that only an older one names"
            )
    return Selected(tuple(contents), tuple(warnings))


async def select_held(cache: Cache, origins: Origins, *, skips_empty: bool = False) -> Selected:
    """Return the documents that are served, and the items that they list and that are here.

    Mirrors that serve nothing yet are passed over with `skips_empty`. Raises NoGeneration.
    """
    contents = []
    for mirror, urls in origins.items():
        if skips_empty and await cache.recorded(mirror) is None:
            continue
        edition = await cache.edition(mirror)
        held = await cache.storage.threads.slow(_held, cache, edition)
        contents.append(_contents(mirror, edition.generation, held, urls, _ALL_HERE))
    return Selected(tuple(contents))


def _held(cache: Cache, edition: Edition) -> list[Item]:
    """Return the listed items that the store has. Blocks."""
    store = cache.storage.store
    return [one for one in edition.catalog if store.is_whole(one.digest, one.size_bytes)]


def _contents(
    mirror: str, generation: Generation, items: Iterable[Item], urls: tuple[str, ...], selection: str
) -> Contents:
    documents = {one.path: File.of(one.item) for one in generation.documents.values()}
    # What is listed at the path of a document is not what clients get there.
    listed = {one.path: File.of(one) for one in items if one.path not in documents}
    return Contents(
        mirror=mirror,
        generation=generation.number,
        index_path=generation.index_path,
        updated=generation.updated,
        accepted_at=generation.accepted_at,
        origins=urls,
        written_by=WRITTEN_BY,
        selection=selection,
        documents=tuple(documents[path] for path in sorted(documents)),
        items=tuple(listed[path] for path in sorted(listed)),
    )
