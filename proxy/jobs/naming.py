"""Whether there is something by each name that a selection uses.

A name that nothing has is a typing error until a list says otherwise: without it
the rest of a selection, such as its boot loaders, would pass for all of it. Pure.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from proxy.jobs.maas import Image, images, is_chosen
from proxy.jobs.selection import Selection
from proxy.jobs.suggestions import listed
from proxy.readable import like
from proxy.simplestreams.alternatives import Alternative
from proxy.simplestreams.filters import Filter
from proxy.simplestreams.select import Fields

_SEPARATORS = re.compile(r"[,;\s]+")
_OTHER_NAMES = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "x64": "amd64",
    "x86": "amd64",
    "aarch64": "arm64",
    "armv8": "arm64",
    "ppc64le": "ppc64el",
    "ppc64": "ppc64el",
    "power": "ppc64el",
    "armv7": "armhf",
    "armv7l": "armhf",
}
"""What the architectures of Debian and Ubuntu are called elsewhere."""


class Searched(NamedTuple):
    """A branch of a filter's regular expression, and whether any text has it."""

    filter: Filter
    alternative: Alternative
    is_found: bool


class Naming(NamedTuple):
    """What is to be said of a selection's names."""

    unknown: tuple[str, ...]
    """Names that nothing has, each with what was probably meant and what there is."""
    warnings: tuple[str, ...]


def judge_names(
    selection: Selection, items: Sequence[Fields], chosen: Iterable[Fields], searched: Iterable[Searched]
) -> Naming:
    """Say which names of a selection nothing has.

    `items` is all that the lists name, `chosen` what the selection chooses of it.
    """
    chosen = list(chosen)
    unknown: list[str] = []
    warnings = [*_needless(selection.filters, items)]
    for filter_, alternative, is_found in searched:
        if not is_found:
            values = Counter(fields[filter_.key] for fields in items if filter_.key in fields)
            shown = alternative.word or alternative.text
            what = (
                f"{shown!r} in filter {filter_.expression!r} matches nothing; "
                f"{filter_.key} is one of: {listed(shown, values)}"
            )
            (warnings if alternative.word is None else unknown).append(what)
    if selection.from_maas:
        unknown += _not_in_lists(selection, items, chosen)
    elif selection.is_maas:
        of_maas = _of_maas(selection, images(items), images(chosen))
        unknown += of_maas.unknown
        warnings += of_maas.warnings
    return Naming(tuple(unknown), tuple(warnings))


def _not_in_lists(selection: Selection, items: Sequence[Fields], chosen: Sequence[Fields]) -> Iterator[str]:
    """Yield what is selected in a MAAS, and of which nothing is there."""
    if not selection.choices:
        yield f"nothing is selected in the MAAS at {selection.from_maas}"
    for choice in selection.choices:
        if not any(is_chosen(fields, choice) for fields in chosen):
            releases = Counter(image.release for image in images(items))
            there = listed(choice.release, releases)
            yield f"{choice.shown}, which MAAS has selected, is not there; there are: {there}"


def _of_maas(selection: Selection, there: set[Image], chosen: set[Image]) -> Naming:
    if not there:
        return Naming(("the lists name no images for MAAS at all",), ())
    releases = Counter(image.release for image in there)
    arches = Counter(image.arch for image in there)
    known = [name for name in selection.maas_releases if any(one.is_called(name) for one in there)]
    unknown = [
        _unknown("release", name, releases, {image.version for image in there})
        for name in selection.maas_releases
        if name not in known
    ]
    unknown += [
        _unknown("architecture", name, arches, ())
        for name in selection.maas_arches
        if name.lower() not in arches
    ]
    if unknown:
        return Naming(tuple(unknown), ())
    return Naming((*_without_images(selection, known, there, chosen),), (*_gaps(selection, known, there),))


def _without_images(
    selection: Selection, known: Sequence[str], there: set[Image], chosen: set[Image]
) -> Iterator[str]:
    """Yield the names that exist, but of which the rest of the selection leaves nothing."""
    narrowed = " or ".join(selection.maas_arches), ", ".join(one.expression for one in selection.filters)
    rest = " and ".join(filter(None, narrowed)) or "MAAS"
    for name in known:
        if not any(image.is_called(name) for image in chosen):
            arches = Counter(image.arch for image in there if image.is_called(name))
            yield f"release {name!r} has no images for {rest}; it has some for: {listed('', arches)}"
    for arch in selection.maas_arches:
        if not any(image.arch == arch.lower() for image in chosen):
            releases = Counter(image.release for image in there if image.arch == arch.lower())
            yield (
                f"architecture {arch!r} has no images of what is selected; "
                f"there are some of: {listed('', releases)}"
            )


def _gaps(selection: Selection, known: Sequence[str], there: set[Image]) -> Iterator[str]:
    """Yield the pairs of release and architecture that do not exist, though each of both does."""
    for name in known:
        for arch in selection.maas_arches:
            if not any(image.is_called(name) and image.arch == arch.lower() for image in there):
                yield f"release {name!r} has no images for architecture {arch!r}"


def _unknown(kind: str, name: str, values: Counter[str], aliases: Iterable[str]) -> str:
    there = f"there are: {listed(name, values)}"
    parts = _SEPARATORS.split(name.strip().lower())
    if len(parts) > 1 and all(part in values or part in set(aliases) for part in parts):
        return f"no {kind} {name!r}: write {' and '.join(map(repr, parts))} as names of their own; {there}"
    meant = _OTHER_NAMES.get(name.lower())
    near = [meant] if meant in values else like(name.lower(), [*values, *aliases])
    return f"no {kind} {name!r}{f', {near[0]!r} was probably meant' if near else ''}; {there}"


def _needless(filters: Iterable[Filter], items: Sequence[Fields]) -> Iterator[str]:
    """Yield the filters that mean to leave something out and find nothing to leave out."""
    for one in filters:
        if one.is_negated and items and all(one.matches(fields) for fields in items):
            values = Counter(fields[one.key] for fields in items if one.key in fields)
            if values:
                wanted = one.value if one.pattern is None else ""
                yield f"{one.expression!r} leaves nothing out; {one.key} is one of: {listed(wanted, values)}"
