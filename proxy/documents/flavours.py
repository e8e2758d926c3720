"""The flavours of signed documents: plain ones (`.json`) and their signatures (`.json.gpg`).

A flavour is accepted when it says the same as the signed document beside it. One that does
not holds the signed document back for a while, never for long.

Where TLS is trusted it is the other way round: the plain document is the one that counts, and signed ones
(`.sjson`, `.json.gpg`) are passed on beside it for whoever has the key, if they say the same.
"""

import asyncio

from proxy.documents.draft import Draft
from proxy.documents.generation import SIBLING, Document, Generation
from proxy.documents.vetting import SIGNATURE_SUFFIX, SIGNED_SUFFIX, DocumentRefused, Vetting
from proxy.signatures.keyring import SignatureError
from proxy.simplestreams.clearsign import EnvelopeError, stated_text
from proxy.simplestreams.parse import FormatError
from proxy.sources.document import Fetched, Validators
from proxy.sources.errors import OriginAbsent, OriginError, OriginForbidden
from proxy.sources.origin import DocumentSource
from proxy.system.task_groups import all_or_first_failure

SIGNED_INDEX = "streams/v1/index.sjson"
PLAIN_INDEX = "streams/v1/index.json"
PLAIN_SUFFIX = ".json"
ENTRY_STEMS = ("streams/v1/index2", "streams/v1/mirrors")
"""Where Juju begins, besides the index."""
INDEX_PATHS = (
    SIGNED_INDEX,
    PLAIN_INDEX,
    *(stem + suffix for stem in ENTRY_STEMS for suffix in (SIGNED_SUFFIX, PLAIN_SUFFIX)),
)
"""Where clients begin: what they then ask for has to be of the same generation."""
FLAVOURS = (PLAIN_SUFFIX + SIGNATURE_SUFFIX, PLAIN_SUFFIX)
SIGNED_FLAVOURS = (PLAIN_SUFFIX + SIGNATURE_SUFFIX, SIGNED_SUFFIX)
"""Of plain documents that TLS proves."""

_AT_ONCE = 4


def flavour_of(path: str, generation: Generation) -> str | None:
    """Return which flavour of a document of the generation `path` is, None if of none."""
    is_signed = generation.index_path == SIGNED_INDEX
    if not is_signed and generation.documents[generation.index_path].fingerprint:
        return None  # Its plain documents have signatures beside them, and count by these.
    suffixes, base = (FLAVOURS, SIGNED_SUFFIX) if is_signed else (SIGNED_FLAVOURS, PLAIN_SUFFIX)
    suffix = next((one for one in suffixes if path.endswith(one)), None)
    if suffix is None:
        return None
    return suffix if path.removesuffix(suffix) + base in generation.documents else None


class Ahead:
    """Flavours that are fetched while the documents are that prove them: somebody waits for all of it."""

    def __init__(self, origin: DocumentSource) -> None:
        self._origin = origin
        self._fetching: dict[str, asyncio.Task[Fetched | None]] = {}

    def begin(self, signed_path: str) -> None:
        """Begin to fetch the plain flavour of a signed document."""
        if signed_path.endswith(SIGNED_SUFFIX):
            path = signed_path.removesuffix(SIGNED_SUFFIX) + PLAIN_SUFFIX
            self._fetching[path] = asyncio.create_task(self._origin.fetch(path, Validators()))

    async def fetch(self, path: str) -> Fetched | None:
        """Return a document that may be on its way. Raises OriginError."""
        task = self._fetching.pop(path, None)
        return await self._origin.fetch(path, Validators()) if task is None else await task

    async def close(self) -> None:
        """Stop fetching what nobody wants after all."""
        for task in self._fetching.values():
            task.cancel()
        await asyncio.gather(*self._fetching.values(), return_exceptions=True)
        self._fetching.clear()


class Flavours:
    """Adds the flavours that clients ask for to drafts of one mirror."""

    def __init__(self, vetting: Vetting) -> None:
        self._vetting = vetting

    async def add(
        self, origin: DocumentSource, suffix: str, known: dict[str, Document], draft: Draft, ahead: Ahead
    ) -> None:
        """Add another flavour of each document, if it says the same."""
        slots = asyncio.Semaphore(_AT_ONCE)

        async def add(document: Document) -> None:
            async with slots:
                await self._add(origin, document, suffix, known, draft, ahead)

        base = _base_of(draft)
        proved = [
            found
            for path, found in draft.documents.items()
            if path.endswith(base) and found.format != SIBLING
        ]
        await all_or_first_failure(add(document) for document in proved)

    async def _add(
        self,
        origin: DocumentSource,
        document: Document,
        suffix: str,
        known: dict[str, Document],
        draft: Draft,
        ahead: Ahead,
    ) -> None:
        path = document.path.removesuffix(_base_of(draft)) + suffix
        is_known = path in known and known.get(document.path) == document
        if is_known and await self._vetting.holds(known[path]):
            draft.documents[path] = known[path]
            return
        try:
            fetched = await ahead.fetch(path)
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
        except (FormatError, SignatureError, EnvelopeError) as error:
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
        if draft.index_path != SIGNED_INDEX:
            # No key is known here. Those who have one find out for themselves.
            text = stated_text(fetched.data) if path.endswith(SIGNED_SUFFIX) else None
            if text is not None and not await self._vetting.says_the_same(document, text):
                raise FormatError(f"it does not say what {document.path} says")
            return
        plain = draft.documents.get(path.removesuffix(SIGNATURE_SUFFIX))
        if plain is None:
            raise SignatureError("there is no document that it signs")
        await self._vetting.check_signature(await self._vetting.text(plain), fetched.data)


def _base_of(draft: Draft) -> str:
    """Return how the documents are called that count."""
    return SIGNED_SUFFIX if draft.index_path == SIGNED_INDEX else PLAIN_SUFFIX
