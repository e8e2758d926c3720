"""Fetching an index with all lists it names, from one origin.

The result is a Draft: proved, and not older than what is served. Whether it is
accepted is for `documents.py` to say.
"""

import asyncio
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import NoReturn

from proxy.cache.generation import Document, Generation
from proxy.cache.mirror import Trust
from proxy.cache.vetting import (
    SIGNATURE_SUFFIX,
    SIGNED_SUFFIX,
    DocumentRefused,
    Vetted,
    Vetting,
    check_not_older,
)
from proxy.errors import ProxyError
from proxy.simplestreams.model import INDEX_FORMAT, PRODUCTS_FORMAT, IndexEntry
from proxy.simplestreams.parse import FormatError
from proxy.upstream.errors import OriginAbsent, OriginError, OriginMisbehaved, OriginStatus
from proxy.upstream.keyring import SignatureError
from proxy.upstream.origin import Fetched, Origin, Validators

SIGNED_INDEX = "streams/v1/index.sjson"
PLAIN_INDEX = "streams/v1/index.json"
PLAIN_SUFFIX = ".json"
MOST_DOCUMENTS = 1000

_TRIES_WHILE_PUBLISHING = 3
_LISTS_AT_ONCE = 4


class _StillPublishing(ProxyError):
    """The index changed while its lists were fetched."""


@dataclass(kw_only=True)
class Draft:
    """A generation in the making."""

    index_path: str
    documents: dict[str, Document] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    """Why the origin seems to be in the middle of publishing, in words."""
    refused: dict[str, DocumentRefused] = field(default_factory=dict)
    refused_siblings: dict[str, DocumentRefused | OriginError] = field(default_factory=dict)
    """Flavours that cannot be believed, or that the origin has and does not give."""

    def add(self, vetted: Vetted) -> None:
        """Take a proved document in, with its signature when that is a file of its own."""
        self.documents[vetted.document.path] = vetted.document
        if vetted.signature is not None:
            self.documents[vetted.signature.path] = vetted.signature


class Assembler:
    """Makes drafts for one mirror."""

    def __init__(self, trust: Trust, vetting: Vetting) -> None:
        self._trust = trust
        self._vetting = vetting

    async def assemble(self, origin: Origin, current: Generation | None, siblings: frozenset[str]) -> Draft:
        """Return what `origin` publishes now.

        `siblings` are the flavours to include besides the signed one: ".json",
        ".json.gpg". Raises OriginError, DocumentRefused or RollbackError; a list
        that is refused is noted in the draft instead.
        """
        known = {} if current is None else current.documents
        for _ in range(_TRIES_WHILE_PUBLISHING):
            try:
                draft = await self._assemble_once(origin, current, known)
            except _StillPublishing:
                continue
            if draft.index_path == SIGNED_INDEX:
                for suffix in sorted(siblings):
                    await self._add_siblings(origin, suffix, known, draft)
            return draft
        raise OriginMisbehaved(origin.name, "its index changes faster than its lists can be read")

    async def _assemble_once(
        self, origin: Origin, current: Generation | None, known: dict[str, Document]
    ) -> Draft:
        index = await self._fetch_index(origin, known)
        if current is not None and index.document.path != current.index_path:
            # Two flavours of one index are signed at different moments; only what they state compares.
            check_not_older(index.document, replace(current.documents[current.index_path], signed_at=None))
        draft = Draft(index_path=index.document.path)
        draft.add(index)
        await self._follow(origin, index, known, draft)
        if any(known.get(path) != document for path, document in draft.documents.items()):
            path = index.document.path
            again = await self._vetting.fetch(origin, path, {path: index.document})
            if again.document.digest != index.document.digest:
                raise _StillPublishing
        return draft

    async def _fetch_index(self, origin: Origin, known: dict[str, Document]) -> Vetted:
        paths = (PLAIN_INDEX,) if self._trust is Trust.TLS else (SIGNED_INDEX, PLAIN_INDEX)
        for path in paths:
            try:
                vetted = await self._vetting.fetch(origin, path, known)
            except OriginAbsent:
                continue
            if vetted.names is None:
                problem = FormatError(f"it is a products list where an index ('{INDEX_FORMAT}') is expected")
                raise DocumentRefused(origin.name, path, problem)
            return vetted
        raise OriginAbsent(origin.name, f"it has no {' and no '.join(paths)}")

    async def _follow(self, origin: Origin, start: Vetted, known: dict[str, Document], draft: Draft) -> None:
        """Fetch what an index names, and what the indexes among that name in turn."""
        pending = [start]
        slots = asyncio.Semaphore(_LISTS_AT_ONCE)
        while pending:
            entries = {
                entry.path: entry
                for vetted in pending
                for entry in (vetted.names.entries if vetted.names else ())
                if entry.is_followed and entry.path not in draft.documents
            }
            if len(draft.documents) + len(entries) > MOST_DOCUMENTS:
                raise OriginMisbehaved(origin.name, f"its index names more than {MOST_DOCUMENTS} documents")
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [
                        group.create_task(self._add(origin, entry, known, draft, slots))
                        for entry in entries.values()
                    ]
            except BaseExceptionGroup as failures:
                _raise_first(failures)
            pending = [found for task in tasks if (found := task.result()) is not None]

    async def _add(
        self,
        origin: Origin,
        entry: IndexEntry,
        known: dict[str, Document],
        draft: Draft,
        slots: asyncio.Semaphore,
    ) -> Vetted | None:
        async with slots:
            try:
                vetted = await self._vetting.fetch(origin, entry.path, known)
            except OriginAbsent:
                draft.absent.append(entry.path)
                if entry.path in known:
                    draft.gaps.append(f"{entry.path} is named by the index and has vanished")
                return None
            except OriginStatus as error:
                # Object stores say 403 for what they do not have: better a mirror without it than none.
                if known or error.status != HTTPStatus.FORBIDDEN:
                    raise
                draft.refused[entry.path] = DocumentRefused(origin.name, entry.path, error)
                return None
            except DocumentRefused as refusal:
                draft.refused[entry.path] = refusal
                return None
        if self._trust is Trust.GPG and not _is_named(vetted.document, entry):
            problem = FormatError(f"it is list {vetted.document.content_id!r}, not {entry.content_id!r}")
            draft.refused[entry.path] = DocumentRefused(origin.name, entry.path, problem)
            return None
        draft.add(vetted)
        stated = vetted.document.updated
        if entry.updated is not None and stated is not None and stated < entry.updated:
            draft.gaps.append(f"{entry.path} is older than the index says")
        return vetted

    async def _add_siblings(
        self, origin: Origin, suffix: str, known: dict[str, Document], draft: Draft
    ) -> None:
        """Add another flavour of each signed document, if it says the same."""
        signed = [found for path, found in draft.documents.items() if path.endswith(SIGNED_SUFFIX)]
        for document in signed:
            path = document.path.removesuffix(SIGNED_SUFFIX) + suffix
            is_known = path in known and known.get(document.path) == document
            if is_known and await self._vetting.holds(known[path]):
                draft.documents[path] = known[path]
                continue
            try:
                fetched = await origin.fetch(path, Validators())
            except OriginAbsent:
                draft.absent.append(path)
                if path in known:
                    draft.gaps.append(f"{path} was there and has vanished")
                continue
            except (OriginStatus, OriginMisbehaved) as error:
                draft.refused_siblings[path] = error
                if path in known:
                    draft.gaps.append(f"{path} cannot be had: {error.problem}")
                continue
            if fetched is None:
                continue
            try:
                await self._check_sibling(document, path, fetched, draft)
            except (FormatError, SignatureError) as error:
                draft.refused_siblings[path] = DocumentRefused(origin.name, path, error)
                if path in known:
                    draft.gaps.append(f"{path} does not fit the signed document yet")
                continue
            draft.documents[path] = await self._vetting.file_sibling(origin, path, fetched)

    async def _check_sibling(self, document: Document, path: str, fetched: Fetched, draft: Draft) -> None:
        if path.endswith(PLAIN_SUFFIX):
            if not await self._vetting.says_the_same(document, fetched.data):
                raise FormatError(f"it does not say what the signed {document.path} says")
            return
        plain = draft.documents.get(path.removesuffix(SIGNATURE_SUFFIX))
        if plain is None:
            raise SignatureError("there is no document that it signs")
        await self._vetting.check_signature(await self._vetting.text(plain), fetched.data)


def _is_named(document: Document, entry: IndexEntry) -> bool:
    """Whether a list is the one that the index means: a good signature alone lets one replace another."""
    return document.format != PRODUCTS_FORMAT or document.content_id in {"", entry.content_id}


def _raise_first(failures: BaseExceptionGroup[BaseException]) -> NoReturn:
    """Raise the first single error of a group, as if there had been only one task."""
    first: BaseException = failures
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    raise first from failures
