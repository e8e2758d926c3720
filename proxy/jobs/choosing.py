"""From a selection to the items that it means in the mirrors' lists of now."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from proxy.cache.service import Cache
from proxy.jobs.plan import Wanted
from proxy.jobs.selection import Selection, explain_no_match, surprises
from proxy.simplestreams.model import Products
from proxy.simplestreams.select import Choice, Fields, select
from proxy.simplestreams.walk import listed_items


@dataclass(slots=True)
class Chosen:
    """What a selection means in some mirrors."""

    choices: list[tuple[str, Choice]] = field(default_factory=list)
    """Each with its mirror's name."""
    documents: list[Wanted] = field(default_factory=list)
    """The indexes and lists of those mirrors."""
    warnings: list[str] = field(default_factory=list)

    @property
    def wanted(self) -> list[Wanted]:
        """The files among the choices."""
        return [Wanted(mirror, choice.file) for mirror, choice in self.choices if choice.file is not None]


async def choose(cache: Cache, mirrors: Iterable[str], selection: Selection) -> Chosen:
    """Return what a selection means in the current lists of the mirrors.

    Raises NothingMatches, or NoGeneration for a mirror without lists.
    """
    chosen = Chosen()
    everything: list[Fields] = []
    for mirror in mirrors:
        edition, lists = await cache.lists(mirror)
        chosen.documents += [Wanted(mirror, one.item) for one in edition.generation.documents.values()]
        found, fields = await cache.storage.threads.slow(_choose, lists, selection)
        chosen.choices += [(mirror, choice) for choice in found]
        everything += fields
    chosen.warnings = surprises(selection, everything)
    if not chosen.choices:
        raise explain_no_match(selection, everything).with_warnings(chosen.warnings)
    return chosen


def _choose(lists: list[Products], selection: Selection) -> tuple[list[Choice], list[Fields]]:
    fields = [item.fields for products in lists for item in listed_items(products)]
    return list(select(lists, selection.wants, selection.newest_versions)), fields
