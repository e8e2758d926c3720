"""From bytes to Index and Products.

Strict about what a document is, lenient about what it lists: one odd entry is
passed over and told, a document of the wrong shape is a FormatError.
"""

import json
from collections.abc import Callable, Iterator
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

from proxy.errors import ProxyError
from proxy.simplestreams.model import INDEX_FORMAT, PRODUCTS_FORMAT, Index, IndexEntry, Products
from proxy.simplestreams.paths import PathError, listed_path
from proxy.simplestreams.shape import TooComplex, check_shape

_SUFFIXES = (".sjson", ".json")
_PairsHook = Callable[[list[tuple[str, Any]]], dict[str, Any]]


class FormatError(ProxyError):
    """A document that is not the simplestreams it should be."""


class ShapeError(FormatError):
    """A document that would cost too much to read."""


def parse_document(raw: bytes) -> Index | Products:
    """Read the JSON text of an index or a products list, told apart by `format`.

    Raises FormatError.
    """
    document = _load(raw)
    kind = document.get("format")
    if kind == INDEX_FORMAT:
        return _index(document)
    if kind == PRODUCTS_FORMAT:
        return _products(document)
    raise FormatError(f"its format is {kind!r:.40}, not '{INDEX_FORMAT}' or '{PRODUCTS_FORMAT}'")


def same_statement(one: bytes, other: bytes) -> bool:
    """Say whether two JSON texts state the same to every reader.

    A name that stands twice in one object is read differently by different
    readers, so `other` may have none.

    An index names `.sjson` lists in its signed form and `.json` lists in its
    plain form; that difference alone does not count.
    """
    try:
        ours, theirs = _load(one), _load(other, object_pairs_hook=_without_repeats)
        return _is_same(_flavourless(ours, theirs), theirs)
    except (FormatError, RecursionError):
        return False


def parse_updated(value: object) -> float | None:
    """Return an RFC 2822 date as Unix seconds, None when there is none to read."""
    if not isinstance(value, str):
        return None
    try:
        date = parsedate_to_datetime(value)
        # "-0000" means UTC from an unknown zone (RFC 2822 section 3.3), and never this machine's zone.
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, TypeError):
        return None


def _load(raw: bytes, object_pairs_hook: _PairsHook | None = None) -> dict[str, Any]:
    try:
        check_shape(raw)
        # A call of Python for each object gives other threads their turn; else they would wait for all of it.
        document = json.loads(raw.decode("utf-8"), object_hook=_pass, object_pairs_hook=object_pairs_hook)
    except TooComplex as error:
        raise ShapeError(str(error)) from None
    except UnicodeDecodeError as error:
        raise FormatError(f"it is not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise ShapeError("it is nested too deeply") from None
    except ValueError as error:
        raise FormatError(f"it is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise FormatError("it is not a JSON object")
    return document


def _index(document: dict[str, Any]) -> Index:
    listed = document.get("index")
    mirrors = document.get("mirrors")
    is_of_mirrors = False
    if listed is None and isinstance(mirrors, dict):
        is_of_mirrors = True
        listed = _numbered(mirrors)
    if not isinstance(listed, dict):
        raise FormatError("it has no 'index' object")
    entries: list[IndexEntry] = []
    oddities: list[str] = []
    omissions: list[str] = []
    for content_id, entry in listed.items():
        if not isinstance(entry, dict):
            oddities.append(f"entry {content_id!r:.80} is not an object")
            continue
        path = entry.get("path")
        if path is None:
            continue
        try:
            canonical = listed_path(path) if isinstance(path, str) else None
        except PathError as error:
            oddities.append(f"entry {content_id!r:.80}: {error}")
            continue
        if canonical is None:
            oddities.append(f"entry {content_id!r:.80} has a path that is no text")
            continue
        omissions += [f"entry {content_id!r:.80} does not say its {what}" for what in _omitted(entry)]
        entries.append(
            IndexEntry(
                content_id=content_id,
                path=canonical,
                format=str(entry.get("format", "")),
                updated=parse_updated(entry.get("updated")),
            )
        )
    return Index(
        updated=parse_updated(document.get("updated")),
        entries=tuple(entries),
        oddities=tuple(oddities),
        omissions=tuple(omissions),
        is_of_mirrors=is_of_mirrors,
    )


def _numbered(mirrors: dict[str, Any]) -> dict[str, Any]:
    """Return the entries of an index of mirrors, which has a list of them for each content id."""
    return {
        f"{content_id} {number}": entry
        for content_id, entries in mirrors.items()
        for number, entry in enumerate(entries if isinstance(entries, list) else [entries])
    }


def stated_date(raw: bytes) -> float | None:
    """Return the date that a text of any kind states; None unless it is JSON and has one."""
    try:
        return parse_updated(_load(raw).get("updated"))
    except FormatError:
        return None


def _omitted(entry: dict[str, Any]) -> Iterator[str]:
    """Yield what an entry with a path should say and does not."""
    kind = entry.get("format")
    if not isinstance(kind, str) or not kind:
        yield "format, so that nobody can tell what it is"
    elif kind == PRODUCTS_FORMAT and not entry.get("datatype"):
        yield "datatype, which some clients need"


def _products(document: dict[str, Any]) -> Products:
    if not isinstance(document.get("products"), dict):
        raise FormatError("it has no 'products' object")
    return Products(
        content_id=str(document.get("content_id", "")),
        updated=parse_updated(document.get("updated")),
        document=document,
    )


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise FormatError("a name stands twice in one object")
    return members


def _pass(members: dict[str, Any]) -> dict[str, Any]:
    return members


def _is_same(one: object, other: object) -> bool:
    """Whether two JSON values are written alike: 1, 1.0 and true differ, and so do 0.0 and -0.0."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return repr(one) == repr(other)
    return type(one) is type(other) and one == other


def _flavourless(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return what `one` states: an index with the paths of `other` where only their flavour differs."""
    if one.get("format") == INDEX_FORMAT and isinstance(one.get("mirrors"), dict) and "index" not in one:
        return {**one, "mirrors": _mirrors_in_flavour_of(other.get("mirrors"), one["mirrors"])}
    listed, others = one.get("index"), other.get("index")
    if one.get("format") != INDEX_FORMAT or not isinstance(listed, dict) or not isinstance(others, dict):
        return one
    return {**one, "index": {name: _in_flavour_of(others.get(name), entry) for name, entry in listed.items()}}


def _mirrors_in_flavour_of(others: object, mirrors: dict[str, Any]) -> dict[str, Any]:
    def entries(name: str, ours: object) -> object:
        theirs = others.get(name) if isinstance(others, dict) else None
        if not isinstance(ours, list) or not isinstance(theirs, list) or len(ours) != len(theirs):
            return ours
        return [_in_flavour_of(their, our) for our, their in zip(ours, theirs, strict=True)]

    return {name: entries(name, ours) for name, ours in mirrors.items()}


def _in_flavour_of(other: object, entry: object) -> object:
    if not isinstance(entry, dict) or not isinstance(other, dict):
        return entry
    path, wanted = entry.get("path"), other.get("path")
    if isinstance(path, str) and isinstance(wanted, str) and wanted in _flavours(path):
        return {**entry, "path": wanted}
    return entry


def _flavours(path: str) -> Iterator[str]:
    for suffix, another in (_SUFFIXES, _SUFFIXES[::-1]):
        if path.endswith(suffix):
            yield path.removesuffix(suffix) + another
