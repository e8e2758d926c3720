"""One document: fetched from an origin, verified, and put into the store.

A document is verified by its own clear signature (`.sjson`), by a detached one
beside it (`.json` with `.json.gpg`), or, for mirrors that nobody signs, by the
origin's TLS alone. Only the text that is verified is ever parsed.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import NamedTuple

from proxy.digest import Digest, digest_of
from proxy.documents.generation import SIBLING, Document
from proxy.documents.reading import Reading, Summary
from proxy.documents.rollback import check_not_older, dated
from proxy.errors import ProxyError
from proxy.signatures.keyring import Keyring, SignatureError, Signed
from proxy.simplestreams.clearsign import EnvelopeError, looks_clearsigned
from proxy.simplestreams.model import INDEX_FORMAT, Index
from proxy.simplestreams.parse import FormatError, ShapeError
from proxy.simplestreams.shape import TooComplex, check_flavour
from proxy.sources.document import Fetched, Validators
from proxy.sources.errors import OriginAbsent, OriginForbidden, OriginMisbehaved
from proxy.sources.origin import DocumentSource
from proxy.store.protocols import WriteStore
from proxy.store.storage import Storage

SIGNED_SUFFIX = ".sjson"
SIGNATURE_SUFFIX = ".gpg"


_Verify = Callable[[DocumentSource, str, Fetched], Awaitable["Vetted"]]


class DocumentRefused(ProxyError):
    """A document that cannot be believed or read."""

    def __init__(self, origin: str, path: str, cause: ProxyError) -> None:
        super().__init__(f"{origin}{path} is refused: {cause}")
        self.path = path
        self.cause = cause


class Vetted(NamedTuple):
    """A verified document; what it names when it is an index; its signature when that is a file."""

    document: Document
    names: Index | None
    signature: Document | None


class _Proof(NamedTuple):
    """What verifies a document: what its signature states, and the signature when that is a file."""

    signed: Signed | None
    signature: Document | None


class Vetting:
    """Fetches and verifies the documents of one mirror. No keyring means trust in TLS."""

    def __init__(
        self, keyring: Keyring | None, storage: Storage, reading: Reading, clock: Callable[[], float]
    ) -> None:
        self._keyring = keyring
        self._clock = clock
        self._store: WriteStore = storage.store
        self._reading = reading
        self._threads = storage.threads
        self._met = storage.counters.limits.met

    async def fetch(self, origin: DocumentSource, path: str, known: dict[str, Document]) -> Vetted:
        """Return a document from the origin, or the known one when it has not changed.

        Raises OriginError, DocumentRefused, and RollbackError for one that is
        older than the known one.
        """
        return await self._fetch(origin, path, known, self._verify)

    async def fetch_of_any_kind(
        self, origin: DocumentSource, path: str, known: dict[str, Document]
    ) -> Vetted:
        """Do what `fetch` does for a document that need be neither index nor list, but for its proof."""
        return await self._fetch(origin, path, known, self._verify_whole)

    async def _fetch(
        self, origin: DocumentSource, path: str, known: dict[str, Document], verify: _Verify
    ) -> Vetted:
        previous = known.get(path)
        if previous is not None and previous.format == SIBLING:
            previous = None  # It was verified by another document, which is not at hand here.
        held = previous if await self.holds(previous, known.get(path + SIGNATURE_SUFFIX)) else None
        validators = Validators()
        if held is not None and held.origin == origin.name:
            validators = held.validators
        fetched = await origin.fetch(path, validators)
        digest = None if fetched is None else await self._threads.slow(digest_of, fetched.data)
        if held is not None and digest in {None, held.digest}:
            return await self._unchanged(origin, held, fetched, known)
        if fetched is None:
            raise OriginMisbehaved(origin.name, f"it says that {path} has not changed, but was not asked")
        try:
            vetted = await verify(origin, path, fetched)
        except (EnvelopeError, SignatureError, FormatError) as error:
            if isinstance(error, ShapeError):
                self._met("document_shape")
            raise DocumentRefused(origin.name, path, error) from error
        return self.compared(vetted, previous)

    def compared(self, vetted: Vetted, accepted: Document | None) -> Vetted:
        """Return a document that is to replace another one. Raises RollbackError for one that is older."""
        now = self._clock()
        if accepted is not None:
            check_not_older(vetted.document, accepted, now)
        return vetted._replace(document=dated(vetted.document, accepted, now))

    async def holds(self, *documents: Document | None) -> bool:
        """Whether the store still has documents and their texts, undamaged."""
        digests = {digest for one in documents if one is not None for digest in (one.digest, one.text)}
        return await self._threads.slow(self._has_all, digests)

    async def says_the_same(self, document: Document, plain: bytes) -> bool:
        """Whether a plain text states what a verified document does. Raises ShapeError."""
        text = await self.text(document)
        try:
            check_flavour(text, plain)
        except TooComplex as error:
            self._met("document_shape")
            raise ShapeError(str(error)) from None
        return await self._threads.slow(self._reading.says_the_same, text, plain)

    async def check_signature(self, text: bytes, signature: bytes) -> None:
        """Raise SignatureError unless a detached signature verifies `text`."""
        if self._keyring is None:
            raise SignatureError("trust = 'tls' names no key to check it with")
        await self._threads.slow(self._keyring.verify_detached, text, signature)

    async def store_flavour(self, origin: DocumentSource, path: str, fetched: Fetched) -> Document:
        """Store a document that is verified by another one."""
        digest = await self._threads.slow(self._store.put, fetched.data)
        return Document(
            path=path,
            format=SIBLING,
            digest=digest,
            size_bytes=len(fetched.data),
            text=digest,
            origin=origin.name,
            etag=fetched.validators.etag,
            last_modified=fetched.validators.last_modified,
        )

    async def text(self, document: Document) -> bytes:
        """Return the verified text of a stored document."""
        text = await self._threads.slow(self._store.read, document.text)
        if text is None:
            raise DocumentRefused("", document.path, FormatError("the store has lost its text"))
        return text

    async def _unchanged(
        self, origin: DocumentSource, previous: Document, fetched: Fetched | None, known: dict[str, Document]
    ) -> Vetted:
        document = previous
        if fetched is not None:
            document = replace(
                previous,
                origin=origin.name,
                etag=fetched.validators.etag,
                last_modified=fetched.validators.last_modified,
            )
        names = None
        if document.format == INDEX_FORMAT:
            text = await self.text(document)
            names = (await self._threads.slow(self._reading.summarise, text, document.text)).index
        return Vetted(document, names, known.get(document.path + SIGNATURE_SUFFIX))

    def _has_all(self, digests: set[Digest]) -> bool:
        # Documents of which nothing but the dates is known have an empty digest.
        return all(digest and self._store.is_intact(digest) for digest in digests)

    async def _verify(self, origin: DocumentSource, path: str, fetched: Fetched) -> Vetted:
        """Verify an index or a list, whose name says how it is signed."""
        if self._keyring is None and looks_clearsigned(fetched.data):
            raise SignatureError("it is clear-signed, but trust = 'tls' names no key to check it with")
        proof = await self._prove(origin, path, fetched, is_clearsigned=path.endswith(SIGNED_SUFFIX))
        return await self._threads.slow(self._file, origin, path, fetched, proof, self._summarise)

    async def _verify_whole(self, origin: DocumentSource, path: str, fetched: Fetched) -> Vetted:
        """Verify what may be signed in itself, whatever it is called, or by a file beside it."""
        is_clearsigned = looks_clearsigned(fetched.data)
        if self._keyring is not None and path.endswith(SIGNED_SUFFIX) and not is_clearsigned:
            raise SignatureError("it is not clear-signed, though it is called so")
        proof = await self._prove(origin, path, fetched, is_clearsigned=is_clearsigned)
        summarise = self._reading.summarise_whole
        return await self._threads.slow(self._file, origin, path, fetched, proof, summarise)

    async def _prove(
        self, origin: DocumentSource, path: str, fetched: Fetched, *, is_clearsigned: bool
    ) -> _Proof:
        """Verify a document by its own signature, or by a file beside it. Raises SignatureError."""
        if self._keyring is None:
            return _Proof(None, None)
        if is_clearsigned:
            return _Proof(await self._threads.slow(self._keyring.verify, fetched.data), None)
        signature = await self._fetch_signature(origin, path)
        signed = await self._threads.slow(self._keyring.verify_detached, fetched.data, signature.data)
        return _Proof(signed, await self.store_flavour(origin, path + SIGNATURE_SUFFIX, signature))

    async def _fetch_signature(self, origin: DocumentSource, path: str) -> Fetched:
        try:
            fetched = await origin.fetch(path + SIGNATURE_SUFFIX, Validators())
        except OriginForbidden as error:
            raise SignatureError(f"it is not signed: asked for {path}{SIGNATURE_SUFFIX} {error}") from error
        except OriginAbsent:
            fetched = None
        if fetched is None:
            raise SignatureError(f"it is not signed: there is no {path}{SIGNATURE_SUFFIX}")
        return fetched

    def _file(
        self,
        origin: DocumentSource,
        path: str,
        fetched: Fetched,
        proof: _Proof,
        summarise: Callable[[bytes], Summary],
    ) -> Vetted:
        """Read the verified text and put both bytes and text into the store. Blocks."""
        signed = proof.signed
        text = fetched.data if signed is None else signed.text
        summary = summarise(text)
        text_digest = self._store.put(text)
        document = Document(
            path=path,
            format=summary.format,
            digest=self._store.put(fetched.data),
            size_bytes=len(fetched.data),
            text=text_digest,
            content_id=summary.content_id,
            updated=summary.updated,
            signed_at=None if signed is None else signed.signed_at,
            fingerprint="" if signed is None else signed.fingerprint,
            origin=origin.name,
            etag=fetched.validators.etag,
            last_modified=fetched.validators.last_modified,
        )
        return Vetted(document, summary.index, proof.signature)

    def _summarise(self, text: bytes) -> Summary:
        return self._reading.summarise(text, digest_of(text))
