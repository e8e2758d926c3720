"""Choosing from large lists without reading them here: a server has neither the memory nor the time.

A process of its own does it, which is this module run as a program. It is told where
the store is, which generations, and what is selected; it says which files that means.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from proxy.connect.maas_api.model import Choice
from proxy.documents.generation import Generation, load_edition, read_lists
from proxy.documents.reading import Reading
from proxy.documents.records import GENERATION
from proxy.errors import ProxyError
from proxy.jobs.choosing import choose_from_lists, choose_items
from proxy.jobs.plan import Wanted
from proxy.jobs.searching import SearchTooSlow
from proxy.jobs.selection import Selection, UnknownNames
from proxy.service.cache import Cache
from proxy.simplestreams.filters import Filter
from proxy.simplestreams.model import PRODUCTS_FORMAT, Item
from proxy.store.files import StoreFault
from proxy.store.schema import Unreadable
from proxy.store.storage import listings_folder, open_store_to_read
from proxy.system.programs import ask_program

_LARGE_BYTES = 8 * 1024 * 1024
"""Of lists, in all."""


class NotChosen(ProxyError):
    """A selection from which nothing came, for the reason that the process told."""


async def choose_wanted(cache: Cache, mirrors: Sequence[str], selection: Selection) -> list[Wanted]:
    """Return the files that a selection means in the current lists of the mirrors.

    Raises NotChosen or StoreFault, and what `choose_items` raises.
    """
    generations = {mirror: (await cache.edition(mirror)).generation for mirror in mirrors}
    if sum(map(_lists_bytes, generations.values())) < _LARGE_BYTES:
        return (await choose_items(cache, mirrors, selection)).wanted
    given = {
        "data_dir": str(cache.storage.data_dir),
        "generations": {mirror: GENERATION.encode(one) for mirror, one in generations.items()},
        "selection": _as_json(selection),
    }
    try:
        found = await cache.storage.threads.slow(ask_program, __name__, [], json.dumps(given).encode())
    except (OSError, subprocess.SubprocessError) as error:
        raise StoreFault(f"what is selected cannot be looked up: {error}") from error
    if "problem" in found:
        if found["kind"] == SearchTooSlow.__name__:
            cache.storage.counters.limits.met("filter_time")
        raise NotChosen(found["problem"])
    return [Wanted(mirror, Item(*item)) for mirror, *item in found["wanted"]]


def _lists_bytes(generation: Generation) -> int:
    return sum(one.size_bytes for one in generation.documents.values() if one.format == PRODUCTS_FORMAT)


def _as_json(selection: Selection) -> dict[str, Any]:
    return {
        "filters": [one.expression for one in selection.filters],
        "maas_releases": selection.maas_releases,
        "maas_arches": selection.maas_arches,
        "from_maas": selection.from_maas,
        "choices": selection.choices,
        "newest": selection.newest,
    }


def _selection(told: dict[str, Any]) -> Selection:
    return Selection(
        filters=tuple(map(Filter.parse, told["filters"])),
        maas_releases=tuple(told["maas_releases"]),
        maas_arches=tuple(told["maas_arches"]),
        from_maas=told["from_maas"],
        choices=tuple(Choice(os, release, *map(tuple, names)) for os, release, *names in told["choices"]),
        newest=told["newest"],
    )


def _generation(record: object) -> Generation:
    generation = GENERATION.decode(record)
    if isinstance(generation, Unreadable):
        raise NotChosen(generation.problem)
    return generation


def _choose(given: dict[str, Any]) -> dict[str, Any]:
    data_dir = Path(given["data_dir"])
    store = open_store_to_read(data_dir)
    reading = Reading(store, listings_folder(data_dir))
    generations = {mirror: _generation(one) for mirror, one in given["generations"].items()}
    try:
        lists = {
            mirror: (load_edition(store, reading, one), list(read_lists(store, one)))
            for mirror, one in generations.items()
        }
        chosen = choose_from_lists(lists, _selection(given["selection"]))
        if chosen.unknown:
            raise UnknownNames(chosen.unknown, chosen.about_lists)
    except ProxyError as error:
        return {"kind": type(error).__name__, "problem": str(error)}
    return {"wanted": [[one.mirror, *one.item] for one in chosen.wanted]}


if __name__ == "__main__":
    json.dump(_choose(json.load(sys.stdin)), sys.stdout)
