"""From a selection to the items that it means in the mirrors' lists of now."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from proxy.cache.service import Cache
from proxy.jobs.plan import Wanted
from proxy.jobs.searching import LONGEST_S, SearchTooSlow, search
from proxy.jobs.selection import Selection, explain_no_match, surprises
from proxy.simplestreams.model import Products
from proxy.simplestreams.select import Choice, Fields, select
from proxy.simplestreams.walk import flatten, positions


@dataclass(slots=True)
class Chosen:
    """What a selection means in some mirrors."""

    choices: list[tuple[str, Choice]] = field(default_factory=list)
    """Each with its mirror's name."""
    warnings: list[str] = field(default_factory=list)

    @property
    def wanted(self) -> list[Wanted]:
        """The files among the choices."""
        return [Wanted(mirror, choice.file) for mirror, choice in self.choices if choice.file is not None]

    @property
    def unprovable(self) -> list[tuple[str, str]]:
        """Mirror and path of the files among them that no client can get: their list lacks sha256 or size."""
        return [
            (mirror, choice.fields["path"])
            for mirror, choice in self.choices
            if choice.file is None and "path" in choice.fields
        ]

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions among the choices, as "product version"."""
        fields = (choice.fields for _, choice in self.choices)
        return tuple(sorted({f"{one['product_name']} {one['version_name']}" for one in fields}))


async def choose(
    cache: Cache, mirrors: Iterable[str], selection: Selection, search_limit_s: float = LONGEST_S
) -> Chosen:
    """Return what a selection means in the current lists of the mirrors.

    Raises NothingMatches, SearchTooSlow, or NoGeneration for a mirror without lists.
    """
    slow = cache.storage.threads.slow
    lists = {mirror: (await cache.lists(mirror))[1] for mirror in mirrors}
    try:
        return await slow(_choose, lists, selection, search_limit_s)
    except SearchTooSlow:
        cache.storage.counters.limits.met("filter_time")
        raise


def _choose(lists: Mapping[str, list[Products]], selection: Selection, search_limit_s: float) -> Chosen:
    searched = _searched(lists, selection, search_limit_s)
    is_wanted = searched.condition()
    chosen = Chosen()
    everything: list[Fields] = []

    def look(fields: Fields) -> bool:
        everything.append(fields)
        return is_wanted(fields)

    for mirror, of_mirror in lists.items():
        chosen.choices += [(mirror, one) for one in select(of_mirror, look, searched.newest_versions)]
    chosen.warnings = surprises(searched, everything)
    if not chosen.choices:
        raise explain_no_match(searched, everything).with_warnings(chosen.warnings)
    return chosen


def _searched(lists: Mapping[str, list[Products]], selection: Selection, limit_s: float) -> Selection:
    """Return the selection with the work of its regular expressions done."""
    texts: dict[str, set[str]] = {one.key: set() for one in selection.filters if one.pattern is not None}
    if not texts:
        return selection
    for of_mirror in lists.values():
        for products in of_mirror:
            for position in positions(products):
                fields = flatten(position)
                for key, known in texts.items():
                    known.add(fields.get(key, ""))
    patterns = [one for one in selection.filters if one.pattern is not None]
    found = iter(search([(one.value, list(texts[one.key])) for one in patterns], limit_s))
    filters = tuple(one if one.pattern is None else one.searched(next(found)) for one in selection.filters)
    return replace(selection, filters=filters)
