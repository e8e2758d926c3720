"""The records of documents in the ledger: what each says, and what one means that cannot be read.

    generation/MIRROR   the generation accepted last; the file generations/MIRROR.json says the same
    served/MIRROR       the generation that is held: served whatever is accepted. Usually there is none
    retired/MIRROR      the generations replaced lately, newest first: [[generation, when], ...]
    siblings/MIRROR     the flavours of documents, besides the signed ones, that clients ask for
    trouble/MIRROR      what went wrong with the last checks
    last check/MIRROR   what the first release does not know of that, and would refuse

All have the form of the first release, so that it reads what this one writes; it does not
know `served/`, and serves what was accepted last. A record that another release wrote, or
half a record, means this:

    generation/   the other place counts. If that says nothing either, the dates that can be read
                  still count against older documents; if there are none, nothing is accepted
                  before an operator allows it
    served/       nothing is held
    retired/      an entry that cannot be read is kept as if it had been replaced now
    siblings/     clients ask for all flavours
    trouble/, last check/    there was none

Blobs whose digests stand anywhere in a generation that cannot be read stay in use.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any

from proxy.digest import Digest
from proxy.documents.flavours import FLAVOURS
from proxy.documents.generation import NO_DIGEST, Document, Generation
from proxy.documents.trouble import Trouble
from proxy.store.ledger import Ledger, LedgerUnavailable
from proxy.store.records import Kind, known
from proxy.store.schema import Count, Moment, Row, Schema, Unreadable

_LATER = (
    "broken", "oddities", "content_ids", "left", "is_ahead", "least_updated", "least_signed_at", "unproved",
)  # fmt: skip
GENERATION = Schema(Generation, later=_LATER)
ACCEPTED = Kind("generation/", GENERATION)
HELD = Kind("served/", GENERATION)

_REPLACED: Kind[list[Any]] = Kind("retired/", Schema(list[Any]))
"""Its entries are decoded one by one: one that cannot be read takes no other with it."""
_FLAVOURS = Kind("siblings/", Schema(tuple[str, ...]))
_TROUBLE = Kind("trouble/", Schema(Trouble, later=["is_local", "too_old", "causes"]))
_DIGEST = re.compile(r"\b[0-9a-f]{64}\b")


class Replaced(Row, frozen=True):
    """A generation that another one has replaced."""

    generation: Generation
    when: Moment
    """Unix seconds."""


_ENTRY = Schema(Replaced, later=_LATER)


def held_generation(ledger: Ledger, mirror: str) -> Generation | None:
    """Return the generation that is held, None when none is, or when that cannot be read. Blocks."""
    try:
        return known(HELD.read(ledger, mirror))
    except LedgerUnavailable:
        return None  # Without its ledger a mirror serves what its file names.


def hold(ledger: Ledger, mirror: str, generation: Generation) -> None:
    """Record that a generation is held, so that no power cut undoes that. Blocks."""
    with ledger.lasting_transaction():
        HELD.write(ledger, generation, mirror)


def let_go(ledger: Ledger, mirror: str) -> None:
    """Record that no generation is held any more, so that no power cut undoes that. Blocks."""
    with ledger.lasting_transaction():
        HELD.forget(ledger, mirror)


def replaced_since(ledger: Ledger, mirror: str, since: float) -> list[Replaced]:
    """Return the generations replaced after `since` (Unix seconds), newest first. Blocks."""
    found = []
    for entry in _entries(_replaced(ledger, mirror), since):
        replaced = _ENTRY.decode(entry)
        if isinstance(replaced, Unreadable):
            ledger.tell_unreadable(_REPLACED.key(mirror), replaced.problem)
        elif replaced.when > since:
            found.append(replaced)
    return found


def note_replaced(ledger: Ledger, mirror: str, generation: Generation, now: float, since: float) -> None:
    """Record that a generation is replaced now; forget those replaced before `since`. Blocks."""
    with ledger.transaction():
        kept = [entry for entry in _entries(_replaced(ledger, mirror), now) if entry[1] > since]
        _REPLACED.write(ledger, [_ENTRY.encode(Replaced(generation, now)), *kept], mirror)


def _replaced(ledger: Ledger, mirror: str) -> Any:
    key = _REPLACED.key(mirror)
    return ledger.records_at(key).get(key)


def _entries(record: Any, now: float) -> list[list[Any]]:
    """Return the pairs of a generation and when it was replaced; anything else was replaced now."""
    if record is None:
        return []
    if isinstance(record, Unreadable):
        return [[record.remains, now]]
    entries = record if isinstance(record, list) else [record]
    return [entry if _is_entry(entry) else [entry, now] for entry in entries]


def _is_entry(entry: Any) -> bool:
    match entry:
        case [_, bool()]:
            return False
        case [_, int() | float()]:
            return True
    return False


def flavours_asked_for(ledger: Ledger, mirror: str) -> frozenset[str]:
    """Return the flavours, besides the signed one, that clients have asked for. Blocks."""
    flavours = _FLAVOURS.read(ledger, mirror)
    return frozenset(FLAVOURS if isinstance(flavours, Unreadable) else flavours or ())


def add_flavours(ledger: Ledger, mirror: str, suffixes: frozenset[str]) -> None:
    """Record that clients ask for further flavours. Blocks."""
    with ledger.transaction():
        _FLAVOURS.write(ledger, tuple(sorted(flavours_asked_for(ledger, mirror) | suffixes)), mirror)


@dataclass(frozen=True, slots=True, kw_only=True)
class _LastCheck:
    is_local: bool = False
    too_old: str = ""
    causes: tuple[str, ...] = ()


_LAST_CHECK = Kind("last check/", Schema(_LastCheck, later=["causes"]))


def trouble_of(ledger: Ledger, mirror: str) -> Trouble:
    """Return what went wrong with the last checks, of any worker. Blocks."""
    found = ledger.records_at(_TROUBLE.key(mirror), _LAST_CHECK.key(mirror))
    trouble = known(_TROUBLE.among(ledger, found, mirror)) or Trouble()
    last = known(_LAST_CHECK.among(ledger, found, mirror))
    if last is None:
        return trouble
    return replace(trouble, is_local=last.is_local, too_old=last.too_old, causes=last.causes)


def note_trouble(ledger: Ledger, mirror: str, trouble: Trouble) -> None:
    """Record what went wrong. Blocks."""
    last = _LastCheck(is_local=trouble.is_local, too_old=trouble.too_old, causes=trouble.causes)
    with ledger.transaction():
        _TROUBLE.write(ledger, replace(trouble, is_local=False, too_old="", causes=()), mirror)
        _LAST_CHECK.write(ledger, last, mirror)


@dataclass(frozen=True, slots=True, kw_only=True)
class _DocumentDates:
    path: str
    format: str = ""
    content_id: str = ""
    updated: Moment | None = None
    signed_at: Moment | None = None
    is_ahead: bool = False
    least_updated: Moment | None = None
    least_signed_at: Moment | None = None

    def document(self) -> Document:
        dates = {one.name: getattr(self, one.name) for one in fields(self)}
        return Document(**dates, digest=NO_DIGEST, text=NO_DIGEST, size_bytes=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dates:
    number: Count
    index_path: str
    documents: dict[str, _DocumentDates]
    left: dict[str, _DocumentDates] = field(default_factory=dict)
    content_ids: tuple[str, ...] = ()


_DATES = Schema(_Dates)


def dates_of(record: Any) -> Generation | None:
    """Return the dates that can be read in the record of a generation that cannot, None without any.

    The result bears no keyring: it is never served, and nothing older than it says is accepted.
    """
    if not isinstance(record, dict):
        return None
    dates = _DATES.decode({name: value for name, value in record.items() if name != "version"})
    if isinstance(dates, Unreadable) or dates.index_path not in dates.documents:
        return None
    return Generation(
        number=dates.number,
        keyring="",
        accepted_at=0.0,
        checked_at=0.0,
        index_path=dates.index_path,
        documents={path: one.document() for path, one in dates.documents.items()},
        left={path: one.document() for path, one in dates.left.items()},
        content_ids=dates.content_ids,
    )


def documents_in_use(ledger: Ledger) -> set[Digest]:
    """Return the blobs of all documents that are or may be served, of any mirror. Blocks."""
    generations = [*ledger.records(ACCEPTED.prefix).items(), *ledger.records(HELD.prefix).items()]
    for key, record in ledger.records(_REPLACED.prefix).items():
        generations += [(key, entry[0]) for entry in _entries(record, 0.0)]
    return {digest for key, record in generations for digest in _digests(ledger, key, record)}


def _digests(ledger: Ledger, key: str, record: Any) -> Iterator[Digest]:
    """Yield the digests of a generation's documents and texts; all that stand in one that cannot be read."""
    generation = GENERATION.decode(record)
    if not isinstance(generation, Unreadable):
        for document in generation.documents.values():
            yield document.digest
            yield document.text
        return
    ledger.tell_unreadable(key, generation.problem)
    values: list[Any] = [record]
    while values:
        value = values.pop()
        if isinstance(value, dict):
            values += value.values()
        elif isinstance(value, list):
            values += value
        elif isinstance(value, Unreadable):
            values.append(value.remains)
        elif isinstance(value, str):
            yield from map(Digest, _DIGEST.findall(value))
