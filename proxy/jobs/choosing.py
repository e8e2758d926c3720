"""From a selection to the items that it means in the mirrors' lists of now."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import NamedTuple

from proxy.documents.generation import Edition, Generation
from proxy.jobs.naming import Searched, judge_names
from proxy.jobs.plan import Wanted
from proxy.jobs.searching import LONGEST_S, SearchTooSlow, search
from proxy.jobs.selection import Selection, UnknownNames, explain_no_match, surprises
from proxy.service.by_sha512 import recorded_item
from proxy.service.cache import Cache
from proxy.simplestreams.alternatives import alternatives
from proxy.simplestreams.filters import Filter
from proxy.simplestreams.model import Item, Products
from proxy.simplestreams.paths import PathError, listed_path
from proxy.simplestreams.select import Choice, Fields, select
from proxy.simplestreams.walk import flatten, positions
from proxy.store.ledger import Ledger

_MOST_DISPUTED = 10
_MOST_SEARCHED = 1_000_000
"""Texts in which the branches of a regular expression are looked for one by one."""


_BY_NOTHING = "cannot be had: its list gives no sha256 and size to prove it with, or no path of a file"
_BY_SHA512 = (
    "cannot be fetched before a client asks for it: its list gives a sha512 and no sha256; "
    "ask for it once, and it is known"
)


class Unprovable(NamedTuple):
    """A file that nothing that is known now proves."""

    mirror: str
    path: str
    problem: str


@dataclass(slots=True)
class Chosen:
    """What a selection means in some mirrors."""

    choices: list[tuple[str, Choice]] = field(default_factory=list)
    """Each with its mirror's name."""
    warnings: list[str] = field(default_factory=list)
    unknown: tuple[str, ...] = ()
    """Names in the selection that nothing in the lists has."""
    about_lists: str = ""
    """Of when the lists are, and what they lack."""

    @property
    def wanted(self) -> list[Wanted]:
        """The files among the choices."""
        return [Wanted(mirror, choice.file) for mirror, choice in self.choices if choice.file is not None]

    @property
    def unprovable(self) -> list[Unprovable]:
        """The files among them that cannot be fetched: their list lacks sha256 or size."""
        return [
            Unprovable(
                mirror, choice.fields["path"], _BY_SHA512 if "sha512" in choice.fields else _BY_NOTHING
            )
            for mirror, choice in self.choices
            if choice.file is None and "path" in choice.fields
        ]

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions among the choices, as "product version"."""
        fields = (choice.fields for _, choice in self.choices)
        return tuple(sorted({f"{one['product_name']} {one['version_name']}" for one in fields}))


Chooser = Callable[[Cache, Iterable[str], Selection], Awaitable[Chosen]]
"""One of the two below."""


async def choose_items(
    cache: Cache, mirrors: Iterable[str], selection: Selection, search_limit_s: float = LONGEST_S
) -> Chosen:
    """Return what a selection means in the current lists of the mirrors.

    Raises UnknownNames if there is nothing by a name in it, NothingMatches,
    SearchTooSlow, or NoGeneration for a mirror without lists.
    """
    chosen = await choose_known_items(cache, mirrors, selection, search_limit_s)
    if chosen.unknown:
        raise UnknownNames(chosen.unknown, chosen.about_lists)
    return chosen


async def choose_known_items(
    cache: Cache, mirrors: Iterable[str], selection: Selection, search_limit_s: float = LONGEST_S
) -> Chosen:
    """Return what a selection means, as `choose_items` does, although nothing has some of its names."""
    slow = cache.storage.threads.slow
    lists = {mirror: await cache.lists(mirror) for mirror in mirrors}
    try:
        chosen = await slow(choose_from_lists, lists, selection, search_limit_s)
    except SearchTooSlow:
        cache.storage.counters.limits.met("filter_time")
        raise
    await cache.storage.threads.ledger(_add_recorded, cache.storage.ledger, chosen)
    return chosen


def _add_recorded(ledger: Ledger, chosen: Chosen) -> None:
    """Add the files of which a list gives only a SHA-512, where their SHA-256 was found out. Blocks."""
    for index, (mirror, choice) in enumerate(chosen.choices):
        if choice.file is None and "sha512" in choice.fields:
            chosen.choices[index] = mirror, choice._replace(file=recorded_item(ledger, choice.fields))


def choose_from_lists(
    lists: Mapping[str, tuple[Edition, list[Products]]],
    selection: Selection,
    search_limit_s: float = LONGEST_S,
) -> Chosen:
    """Return what a selection means in lists, as `choose_known_items` does. Blocks."""
    told = [one for mirror, (edition, _) in lists.items() for one in _about_lists(mirror, edition.generation)]
    about_lists = "; ".join([*told, "what a list does not name today it may name tomorrow"])
    return _choose(lists, selection, search_limit_s, about_lists)


def _choose(
    lists: Mapping[str, tuple[Edition, list[Products]]],
    selection: Selection,
    search_limit_s: float,
    about_lists: str,
) -> Chosen:
    everywhere = [products for _, of_mirror in lists.values() for products in of_mirror]
    searched = _searched(everywhere, selection, search_limit_s)
    is_wanted = searched.condition()
    chosen = Chosen(about_lists=about_lists)
    everything: list[Fields] = []

    def noted(fields: Fields) -> bool:
        everything.append(fields)
        return is_wanted(fields)

    empty = []
    disputed: list[str] = []
    for mirror, (edition, of_mirror) in lists.items():
        listed = list(select(of_mirror, noted, searched.newest_versions))
        found = [(mirror, choice._replace(file=_served(edition, choice))) for choice in listed]
        disputed += [
            f"the lists of {mirror} disagree on {one.path}: what is served has sha256 {one.digest}"
            for (_, now), before in zip(found, listed, strict=True)
            if (one := now.file) is not None and before.file not in {None, one}
        ]
        chosen.choices += found
        if not found:
            empty.append(f"mirror {mirror!r} has nothing of what is selected: leave it out")
    naming = judge_names(
        searched,
        everything,
        (choice.fields for _, choice in chosen.choices),
        _branches(searched.filters, search_limit_s),
    )
    chosen.warnings = [*surprises(searched, everything), *naming.warnings, *disputed[:_MOST_DISPUTED]]
    chosen.unknown = naming.unknown
    if not chosen.choices:
        why = explain_no_match(searched, everything, naming.unknown, about_lists)
        raise why.with_warnings(chosen.warnings)
    chosen.unknown += tuple(empty)
    return chosen


def _served(edition: Edition, choice: Choice) -> Item | None:
    """Return what clients get where a chosen item says that it is, whichever list says so."""
    try:
        path = listed_path(choice.fields["path"])
    except (KeyError, PathError):
        return None
    return edition.served(path)


def _about_lists(mirror: str, generation: Generation) -> list[str]:
    """Say of when a mirror's lists are, and which of them could not be had."""
    of = "" if generation.updated is None else f" are of {datetime.fromtimestamp(generation.updated, UTC):%F}"
    told = [f"the lists of {mirror}{of}"] if of else []
    lacking = [*generation.absent, *generation.refused]
    if lacking:
        told.append(
            f"{mirror} lacks {', '.join(lacking)}, which its origins do not give or which was refused"
        )
    return told


def _branches(filters: Sequence[Filter], limit_s: float) -> list[Searched]:
    """Say of each branch of the filters' regular expressions whether anything there is has it."""
    asked = [
        (one, branch, sorted(one.found_in))
        for one in filters
        if one.pattern is not None and one.found_in and not one.is_negated
        for branch in alternatives(one.value)
    ]
    if not asked or sum(len(texts) for _, _, texts in asked) > _MOST_SEARCHED:
        return []
    found = search([(branch.expression, texts) for _, branch, texts in asked], limit_s)
    return [Searched(one, branch, bool(hits)) for (one, branch, _), hits in zip(asked, found, strict=True)]


def _searched(lists: Iterable[Products], selection: Selection, limit_s: float) -> Selection:
    """Return the selection with the work of its regular expressions done."""
    texts: dict[str, set[str]] = {one.key: set() for one in selection.filters if one.pattern is not None}
    if not texts:
        return selection
    for products in lists:
        for position in positions(products):
            fields = flatten(position)
            for key, known in texts.items():
                known.add(fields.get(key, ""))
    patterns = [one for one in selection.filters if one.pattern is not None]
    found = iter(search([(one.value, list(texts[one.key])) for one in patterns], limit_s))
    filters = tuple(one if one.pattern is None else one.searched(next(found)) for one in selection.filters)
    return replace(selection, filters=filters)
