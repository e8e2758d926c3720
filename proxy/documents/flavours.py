"""The flavours of signed documents: plain ones (`.json`) and their signatures (`.json.gpg`).

A flavour is accepted when it says the same as the signed document beside it. One that does
not holds the signed document back for a while, never for long.
"""

import asyncio

from proxy.documents.draft import Draft
from proxy.documents.generation import Document, Generation
from proxy.documents.vetting import SIGNATURE_SUFFIX, SIGNED_SUFFIX, DocumentRefused, Vetting
from proxy.signatures.keyring import SignatureError
from proxy.simplestreams.parse import FormatError
from proxy.sources.document import Fetched, Validators
from proxy.sources.errors import OriginAbsent, OriginError, OriginForbidden
from proxy.sources.origin import DocumentSource
from proxy.system.task_groups import all_or_first_failure

SIGNED_INDEX = "streams/v1/index.sjson"
PLAIN_INDEX = "streams/v1/index.json"
INDEX_PATHS = (SIGNED_INDEX, PLAIN_INDEX)
PLAIN_SUFFIX = ".json"
FLAVOURS = (PLAIN_SUFFIX + SIGNATURE_SUFFIX, PLAIN_SUFFIX)

_AT_ONCE = 4


def flavour_of(path: str, generation: Generation) -> str | None:
    """Return which flavour of a signed document of the generation `path` is, None if of none."""
    suffix = next((one for one in FLAVOURS if path.endswith(one)), None)
    if suffix is None or generation.index_path != SIGNED_INDEX:
        return None
    return suffix if path.removesuffix(suffix) + SIGNED_SUFFIX in generation.documents else None


class Flavours:
    """Adds the flavours that clients ask for to drafts of one mirror."""

    def __init__(self, vetting: Vetting) -> None:
        self._vetting = vetting

    async def add(
        self, origin: DocumentSource, suffix: str, known: dict[str, Document], draft: Draft
    ) -> None:
        """Add another flavour of each signed document, if it says the same."""
        slots = asyncio.Semaphore(_AT_ONCE)

        async def add(document: Document) -> None:
            async with slots:
                await self._add(origin, document, suffix, known, draft)

        signed = [found for path, found in draft.documents.items() if path.endswith(SIGNED_SUFFIX)]
        await all_or_first_failure(add(document) for document in signed)

    async def _add(
        self,
        origin: DocumentSource,
        document: Document,
        suffix: str,
        known: dict[str, Document],
        draft: Draft,
    ) -> None:
        path = document.path.removesuffix(SIGNED_SUFFIX) + suffix
        is_known = path in known and known.get(document.path) == document
        if is_known and await self._vetting.holds(known[path]):
            draft.documents[path] = known[path]
            return
        try:
            fetched = await origin.fetch(path, Validators())
        except OriginError as error:
            draft.leave_out_flavour(path, error)
            if path in known:
                is_gone = isinstance(error, (OriginAbsent, OriginForbidden))
                what = "was there and has vanished" if is_gone else f"cannot be had: {error.problem}"
                draft.gaps.append(f"{path} {what}")
            return
        if fetched is None:
            return
        try:
            await self._check(document, path, fetched, draft)
        except (FormatError, SignatureError) as error:
            draft.leave_out_flavour(path, DocumentRefused(origin.name, path, error))
            if path in known:
                draft.gaps.append(f"{path} does not fit the signed document yet")
            return
        draft.documents[path] = await self._vetting.store_flavour(origin, path, fetched)

    async def _check(self, document: Document, path: str, fetched: Fetched, draft: Draft) -> None:
        if path.endswith(PLAIN_SUFFIX):
            if not await self._vetting.says_the_same(document, fetched.data):
                raise FormatError(f"it does not say what the signed {document.path} says")
            return
        plain = draft.documents.get(path.removesuffix(SIGNATURE_SUFFIX))
        if plain is None:
            raise SignatureError("there is no document that it signs")
        await self._vetting.check_signature(await self._vetting.text(plain), fetched.data)
