"""From a selection to the items that it means in the mirrors' lists of now."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from proxy.cache.service import Cache
from proxy.jobs.plan import Wanted
from proxy.jobs.selection import Selection, explain_no_match, surprises
from proxy.simplestreams.model import Products
from proxy.simplestreams.select import Choice, Fields, select


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


async def choose(cache: Cache, mirrors: Iterable[str], selection: Selection) -> Chosen:
    """Return what a selection means in the current lists of the mirrors.

    Raises NothingMatches, or NoGeneration for a mirror without lists.
    """
    chosen = Chosen()
    everything: list[Fields] = []
    for mirror in mirrors:
        _, lists = await cache.lists(mirror)
        found, fields = await cache.storage.threads.slow(_choose, lists, selection)
        chosen.choices += [(mirror, choice) for choice in found]
        everything += fields
    chosen.warnings = surprises(selection, everything)
    if not chosen.choices:
        raise explain_no_match(selection, everything).with_warnings(chosen.warnings)
    return chosen


def _choose(lists: list[Products], selection: Selection) -> tuple[list[Choice], list[Fields]]:
    everything: list[Fields] = []
    is_wanted = selection.condition()

    def look(fields: Fields) -> bool:
        everything.append(fields)
        return is_wanted(fields)

    return list(select(lists, look, selection.newest_versions)), everything
