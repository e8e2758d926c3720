"""Fetching an index with all lists it names, from one origin.

The result is a Draft: verified, and not older than what was accepted. A list that cannot
be fetched or verified is left out, and the others stay. Whether a draft is accepted is
decided elsewhere.
"""

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from proxy.documents import stragglers
from proxy.documents.draft import Draft
from proxy.documents.entry_points import EntryPoints, entry_point_paths
from proxy.documents.flavours import (
    FLAVOURS,
    PLAIN_INDEX,
    PLAIN_SUFFIX,
    SIGNED_FLAVOURS,
    SIGNED_INDEX,
    Ahead,
    Flavours,
)
from proxy.documents.generation import Document, Generation
from proxy.documents.rollback import RollbackError, check_same_stream
from proxy.documents.stragglers import StragglerDeadline
from proxy.documents.unforeseen import blamed_on
from proxy.documents.vetting import DocumentRefused, Vetted, Vetting
from proxy.errors import ProxyError
from proxy.mirror import Trust
from proxy.simplestreams.model import INDEX_FORMAT, PRODUCTS_FORMAT, IndexEntry
from proxy.simplestreams.parse import FormatError
from proxy.sources.errors import OriginAbsent, OriginError, OriginForbidden, OriginMisbehaved
from proxy.sources.origin import DocumentSource
from proxy.system.task_groups import all_or_first_failure

MOST_DOCUMENTS = 1000

_TRIES_WHILE_PUBLISHING = 3
_LISTS_AT_ONCE = 4
_LATE_S = 2.0
"""How much later than all lists what is no list may come, where clients have nothing yet."""


class _StillPublishing(ProxyError):
    """The index changed while its lists were fetched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """One draft in the making, and what it is compared with."""

    origin: DocumentSource
    current: Generation | None
    known: dict[str, Document]
    """What was accepted before: fetched only if it has changed, and never replaced by something older."""
    draft: Draft
    slots: asyncio.Semaphore
    ahead: Ahead | None
    """Where a client waits for plain flavours, and has nothing yet."""
    deadline: StragglerDeadline | None
    """None where the last generation is served meanwhile."""


class Assembler:
    """Makes drafts for one mirror."""

    def __init__(self, trust: Trust, vetting: Vetting) -> None:
        self._trust = trust
        self._vetting = vetting
        self._flavours = Flavours(vetting)

    async def assemble(
        self, origin: DocumentSource, current: Generation | None, flavours: frozenset[str]
    ) -> Draft:
        """Return what `origin` publishes now.

        `flavours` are the flavours to include besides the signed one: ".json",
        ".json.gpg". Raises OriginError, DocumentRefused or RollbackError for the
        index, or when there is no list at all; one list among others that is
        refused, or that cannot be had, is noted in the draft instead.
        """
        known = {} if current is None else {**current.left, **current.documents}
        suffixes = SIGNED_FLAVOURS if self._trust is Trust.TLS else FLAVOURS
        for _ in range(_TRIES_WHILE_PUBLISHING):
            ahead = Ahead(origin)
            hasty = ahead if current is None and PLAIN_SUFFIX in flavours and suffixes is FLAVOURS else None
            try:
                draft = await self._assemble_once(origin, current, known, hasty)
                if draft.index_path == SIGNED_INDEX or self._trust is Trust.TLS:
                    for suffix in sorted(flavours.intersection(suffixes)):
                        await self._flavours.add(origin, suffix, known, draft, ahead)
            except _StillPublishing:
                continue
            finally:
                await ahead.close()
            return draft
        raise OriginMisbehaved(origin.name, "its index changes faster than its lists can be read")

    async def _assemble_once(
        self,
        origin: DocumentSource,
        current: Generation | None,
        known: dict[str, Document],
        ahead: Ahead | None,
    ) -> Draft:
        if ahead is not None:
            ahead.begin(SIGNED_INDEX)
        index = await self._fetch_index(origin, known)
        if current is not None and index.document.path != current.index_path:
            # Two flavours of one index are signed at different moments; only what they state compares.
            former = replace(current.documents[current.index_path], signed_at=None, least_signed_at=None)
            index = self._vetting.compared(index, former)
        draft = Draft(index_path=index.document.path, content_ids=_named_by(index))
        if current is not None and self._trust is Trust.GPG:
            check_same_stream(index.document.path, draft.content_ids, current.stream)
        if current is not None and current.stream and not draft.content_ids:
            draft.gaps.append(f"{index.document.path} names no list any more")
        draft.add(index)
        work = _Work(
            origin=origin,
            current=current,
            known=known,
            draft=draft,
            slots=asyncio.Semaphore(_LISTS_AT_ONCE),
            ahead=ahead,
            deadline=StragglerDeadline(stragglers.STRAGGLER_LIMIT_S) if current is None else None,
        )
        await self._follow_all(work, index)
        _check_not_bare(draft, current)
        if any(known.get(path) != document for path, document in draft.documents.items()):
            path = index.document.path
            again = await self._vetting.fetch(origin, path, {path: index.document})
            if again.document.digest != index.document.digest:
                raise _StillPublishing
        return draft

    async def _fetch_index(self, origin: DocumentSource, known: dict[str, Document]) -> Vetted:
        paths = (PLAIN_INDEX,) if self._trust is Trust.TLS else (SIGNED_INDEX, PLAIN_INDEX)
        forbidden: OriginForbidden | None = None
        for path in paths:
            try:
                vetted = await self._vetting.fetch(origin, path, known)
            except OriginAbsent:
                continue
            except OriginForbidden as error:
                forbidden = error
                continue
            if vetted.names is not None and vetted.names.is_of_mirrors:
                raise DocumentRefused(origin.name, path, FormatError("it names mirrors, and no lists"))
            if vetted.names is None:
                problem = FormatError(f"it is a products list where an index ('{INDEX_FORMAT}') is expected")
                raise DocumentRefused(origin.name, path, problem)
            return vetted
        if forbidden is not None:
            told = f"it gives no {' and no '.join(paths)}: {forbidden.problem}"
            raise OriginForbidden(origin.name, told, forbidden.remark)
        raise OriginAbsent(origin.name, f"it has no {' and no '.join(paths)}")

    async def _follow_all(self, work: _Work, index: Vetted) -> None:
        """Follow an index, and whatever else there is to begin with.

        Where clients have nothing yet, that has to come not much later than the lists.
        """
        patience_s = _LATE_S if work.current is None else None
        others = EntryPoints(self._vetting, work.origin, work.known, work.draft)
        points = asyncio.create_task(others.fetch_entry_points(index, work.current))
        try:
            named = await self._follow(work, index)
            await asyncio.wait([points], timeout=patience_s)
            found = points.result() if points.done() else []
            if not points.done():
                others.give_up_late(entry_point_paths(index.document.path))
            for one in found:
                named += await self._follow(work, one)
            files = [entry for entry in named if not entry.is_followed]
            if files:
                fetching = asyncio.create_task(others.fetch_files(files))
                try:
                    await asyncio.wait([fetching], timeout=patience_s)
                    if fetching.done():
                        fetching.result()
                    else:
                        others.give_up_late(entry.path for entry in files)
                finally:
                    await _ended(fetching)
        finally:
            await _ended(points)

    async def _follow(self, work: _Work, start: Vetted) -> list[IndexEntry]:
        """Fetch the lists that an index names, and those that the indexes among them name in turn.

        Return all that these indexes name.
        """
        pending = [start]
        asked = {start.document.path, *work.draft.documents, *work.draft.lacking}
        named: list[IndexEntry] = []
        while pending:
            named += [entry for vetted in pending if vetted.names for entry in vetted.names.entries]
            work.draft.oddities += (oddity for vetted in pending for oddity in _oddities(vetted))
            entries = {
                entry.path: entry
                for vetted in pending
                for entry in (vetted.names.entries if vetted.names else ())
                if entry.is_followed and entry.path not in asked
            }
            asked |= entries.keys()
            if len(asked) > MOST_DOCUMENTS:
                raise OriginMisbehaved(
                    work.origin.name, f"its index names more than {MOST_DOCUMENTS} documents"
                )
            found = await all_or_first_failure(self._add(work, entry) for entry in entries.values())
            pending = [vetted for vetted in found if vetted is not None]
        return named

    async def _add(self, work: _Work, entry: IndexEntry) -> Vetted | None:
        """Add what an entry of an index names; return it, or None if the draft has to do without."""
        draft = work.draft
        try:
            vetted = await self._fetch_in_time(work, entry)
        except (OriginError, DocumentRefused, RollbackError) as problem:
            draft.leave_out(entry.path, problem, work.current)
            return None
        draft.add(vetted)
        stated = vetted.document.updated
        if entry.updated is not None and stated is not None and stated < entry.updated:
            draft.gaps.append(f"{entry.path} is older than the index says")
        return vetted

    async def _fetch_in_time(self, work: _Work, entry: IndexEntry) -> Vetted:
        if work.deadline is None:
            return await self._fetch_named(work, entry)
        fetching = self._fetch_named(work, entry)
        vetted = await work.deadline.wait_for(work.origin.name, entry.path, fetching)
        if vetted.document.format == PRODUCTS_FORMAT:
            work.deadline.note_list()
        return vetted

    async def _fetch_named(self, work: _Work, entry: IndexEntry) -> Vetted:
        """Fetch the list or index that an entry means: a good signature alone lets one replace another."""
        async with work.slots:
            if work.ahead is not None:
                work.ahead.begin(entry.path)
            with blamed_on(work.origin.name):
                vetted = await self._vetting.fetch(work.origin, entry.path, work.known)
        content_id = vetted.document.content_id
        if (
            self._trust is Trust.GPG
            and vetted.document.format == PRODUCTS_FORMAT
            and content_id not in {"", entry.content_id}
        ):
            problem = FormatError(f"it is list {content_id!r}, not {entry.content_id!r}")
            raise DocumentRefused(work.origin.name, entry.path, problem)
        if self._trust is Trust.GPG:
            for former in _formerly_elsewhere(vetted.document, work.known):
                vetted = self._vetting.compared(vetted, former)
        return vetted


async def _ended(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _formerly_elsewhere(document: Document, known: dict[str, Document]) -> list[Document]:
    """Return what was accepted of a list at other paths, when nothing was at this one: flavours of it.

    They are signed at different moments; only what they state compares.
    """
    accepted = known.get(document.path)
    if accepted is not None and accepted.format == PRODUCTS_FORMAT:
        return []
    return [
        replace(one, signed_at=None, least_signed_at=None)
        for one in known.values()
        if one.format == PRODUCTS_FORMAT and one.content_id == document.content_id != ""
    ]


def _named_by(index: Vetted) -> list[str]:
    return [entry.content_id for entry in index.names.entries if entry.is_followed] if index.names else []


def _oddities(index: Vetted) -> list[str]:
    if index.names is None:
        return []
    return [f"{index.document.path}: {what}" for what in (*index.names.oddities, *index.names.omissions)]


def _check_not_bare(draft: Draft, current: Generation | None) -> None:
    """Raise what keeps all lists out of a draft: then the origin is in trouble, not a list.

    Where nothing is served yet, an index whose lists are all refused is better than nothing.
    """
    if draft.has_lists:
        return
    problems = [problem for path, problem in draft.refused.items() if path not in draft.absent]
    first = next(iter(problems), None)
    if first is not None and (current is not None or isinstance(first, OriginError)):
        raise first
