"""What a person wants fetched: filters or a MAAS selection, as one value.

Owns what such a selection means, what in it surprises people, and what to say
when it matches nothing. Pure.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from proxy.connect.maas_api.model import Choice
from proxy.errors import ProxyError
from proxy.jobs.maas import NEWEST_VERSIONS, choices_condition, maas_condition
from proxy.jobs.suggestions import listed, near_key
from proxy.simplestreams.filters import Filter, matches_all
from proxy.simplestreams.select import Condition, Fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which items of a mirror are wanted."""

    filters: tuple[Filter, ...] = ()
    maas_releases: tuple[str, ...] = ()
    """Releases as a MAAS user names them; their boot loaders come along."""
    maas_arches: tuple[str, ...] = ()
    from_maas: str = ""
    """The MAAS whose own selections are meant."""
    choices: tuple[Choice, ...] = ()
    """What is selected there."""
    newest: int | None = None
    """Newest versions of each product; None is all."""

    @property
    def is_maas(self) -> bool:
        """Whether this is a MAAS selection, perhaps narrowed by filters."""
        return bool(self.maas_releases or self.from_maas)

    @property
    def newest_versions(self) -> int | None:
        """How many versions count: MAAS uses one."""
        return NEWEST_VERSIONS if self.is_maas and self.newest is None else self.newest

    def condition(self) -> Condition:
        """Return what says of an item whether it is wanted."""
        if not self.is_maas:
            return lambda fields: matches_all(self.filters, fields)
        if self.from_maas:
            for_maas = choices_condition(self.choices)
        else:
            for_maas = maas_condition(self.maas_releases, self.maas_arches)
        return lambda fields: for_maas(fields) and matches_all(self.filters, fields)

    def __str__(self) -> str:
        parts = [one.expression for one in self.filters]
        if self.from_maas:
            parts.insert(0, f"from-maas={self.from_maas}")
        elif self.is_maas:
            parts.insert(0, f"maas={','.join(self.maas_releases)}")
            if self.maas_arches:
                parts.insert(1, f"arch={','.join(self.maas_arches)}")
        if self.newest is not None:
            parts.append(f"max={self.newest}")
        return " ".join(parts) or "everything"


class NothingMatches(ProxyError):
    """A selection that no item passes, and what would have."""

    def with_warnings(self, warnings: Iterable[str]) -> "NothingMatches":
        """Return the error with what was probably meant, first."""
        said = str(self)
        return NothingMatches("; ".join([*(one for one in warnings if one not in said), said]))


class UnknownNames(NothingMatches):
    """Names in a selection that nothing in the lists has."""

    def __init__(self, names: Iterable[str], about_lists: str) -> None:
        self.names = tuple(names)
        super().__init__(f"{'; '.join(self.names)} ({about_lists})")

    def with_warnings(self, warnings: Iterable[str]) -> "UnknownNames":  # noqa: ARG002
        """Return the error as it is: each name has what was probably meant with it."""
        return self


def contradictions(filters: Iterable[Filter]) -> Iterator[str]:
    """Yield which filters no item can pass together, whatever the lists name: a key has one value."""
    wanted: defaultdict[str, list[str]] = defaultdict(list)
    unwanted: set[tuple[str, str]] = set()
    for one in filters:
        if one.pattern is None and one.is_negated:
            unwanted.add((one.key, one.value))
        elif one.pattern is None and one.value not in wanted[one.key]:
            wanted[one.key].append(one.value)
    for key, values in wanted.items():
        if len(values) > 1:
            shown = " and ".join(repr(f"{key}={value}") for value in values)
            either = f"{key}~^({'|'.join(map(re.escape, values))})$"
            yield f"no item passes {shown}: it must pass all filters; '{either}' was probably meant"
        for value in values:
            if (key, value) in unwanted:
                shown = f"{f'{key}={value}'!r} and {f'{key}!={value}'!r}"
                yield f"no item passes {shown}: leave one of them out"


def surprises(selection: Selection, items: Sequence[Fields]) -> list[str]:
    """Return what in a selection probably means something else than its author thinks.

    The filter language is the reference's; these are its known traps.
    """
    warnings = list(contradictions(selection.filters))
    for one in selection.filters:
        known = {fields[one.key] for fields in items if one.key in fields}
        if one.pattern is None and one.value.startswith("="):
            warnings.append(
                f"{one.expression!r} compares with the text {one.value!r}; "
                f"'{one.key}={one.value.lstrip('= ')}' was probably meant"
            )
        elif one.pattern is None and "," in one.value and one.value not in known:
            choices = "|".join(part.strip() for part in one.value.split(","))
            warnings.append(
                f"{one.expression!r} compares with the whole text, commas included; "
                f"'{one.key}~^({choices})$' was probably meant"
            )
        elif one.pattern is None and one.key == "subarches" and one.value not in known:
            warnings.append(
                f"{one.expression!r} never matches: 'subarches' is one text of many names joined by commas; "
                f"'subarches~{one.value}' was probably meant"
            )
        elif not known and items:
            warnings.append(f"no item has a field {one.key!r}{near_key(one.key, _keys(items))}")
    return warnings


def explain_no_match(
    selection: Selection, items: Sequence[Fields], unknown: Sequence[str] = (), about_lists: str = ""
) -> NothingMatches:
    """Say which part of the selection excludes everything, and which values exist."""
    if not items:
        return NothingMatches("the mirror's lists name no items at all")
    for one in selection.filters:
        if not any(one.matches(fields) for fields in items):
            values = Counter(fields[one.key] for fields in items if one.key in fields)
            if not values:
                return NothingMatches(
                    f"filter {one.expression!r} matches nothing: no item has a field {one.key!r}"
                    f"{near_key(one.key, _keys(items))}"
                )
            there = listed(one.value, values)
            return NothingMatches(f"filter {one.expression!r} matches nothing; {one.key} is one of: {there}")
    if unknown:
        return UnknownNames(unknown, about_lists)
    together = f"each part of {str(selection)!r} matches something, all together match nothing"
    return NothingMatches("; ".join([together, *_apart(selection.filters, items)]))


def _apart(filters: Iterable[Filter], items: Sequence[Fields]) -> Iterator[str]:
    """Yield which filters of one key no item passes together, where `contradictions` cannot know it."""
    wanted: defaultdict[str, list[Filter]] = defaultdict(list)
    for one in filters:
        if not one.is_negated:
            wanted[one.key].append(one)
    for key, same in wanted.items():
        has_pattern = any(one.pattern is not None for one in same)
        if has_pattern and not any(matches_all(same, fields) for fields in items):
            shown = " and ".join(repr(one.expression) for one in same)
            either = "|".join(one.value if one.pattern else f"^{re.escape(one.value)}$" for one in same)
            yield f"no item passes {shown}: it must pass all filters; '{key}~({either})' was probably meant"


def _keys(items: Iterable[Fields]) -> set[str]:
    return {key for fields in items for key in fields}
