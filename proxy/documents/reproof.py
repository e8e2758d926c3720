"""Proving again what lies in the store, when the keys of its mirror have changed.

The bytes that a publisher signed are kept, signatures included, so no origin is
needed. What the new keys do not prove is not served, however well the old ones
did; of that only the dates stay, below which nothing is accepted.
"""

import logging
from dataclasses import replace

from proxy.digest import Digest, digest_of
from proxy.documents.flavours import PLAIN_SUFFIX
from proxy.documents.generation import SIBLING, Document, Generation, GenerationLost
from proxy.documents.vetting import SIGNATURE_SUFFIX, SIGNED_SUFFIX
from proxy.errors import ProxyError
from proxy.signatures.keyring import Keyring, SignatureError
from proxy.simplestreams.clearsign import EnvelopeError
from proxy.store.local import LocalStore

log = logging.getLogger(__name__)


class Unproved(ProxyError):
    """A generation that was accepted once, and that the keys of its mirror do not prove now."""


class Reproof:
    """What proves the stored documents of one mirror. No keyring means trust in TLS: it leaves no proof."""

    def __init__(self, mirror: str, trust: str, keyring: Keyring | None, store: LocalStore) -> None:
        self.identity = trust if keyring is None else keyring.identity
        """Of the keys: a generation that bears it needs no other proof."""
        self._mirror = mirror
        self._keyring = keyring
        self._store = store
        self._signers: dict[tuple[Digest, Digest], str] = {}
        """Who signed a document that was proved here, by digest and that of its signature."""

    def prove(self, generation: Generation) -> Generation:
        """Return what of a generation may be served. Blocks; raises Unproved or GenerationLost."""
        if generation.keyring == self.identity:
            return generation
        if self._keyring is None:
            raise Unproved(
                "it was accepted by its signature, and trust = 'tls' needs it from the origin itself"
            )
        proved: dict[str, Document] = {}
        refused: dict[str, str] = {}
        for path, document in sorted(generation.documents.items(), key=_signed_first):
            try:
                proved[path] = self._proved(self._keyring, document, generation.documents, proved)
            except (EnvelopeError, SignatureError) as refusal:
                refused[path] = f"{path} is refused: {refusal}"
        if generation.index_path not in proved:
            raise Unproved(refused[generation.index_path])
        for problem in refused.values():
            log.warning("document.unproved mirror=%s problem=%s", self._mirror, problem)
        return replace(
            generation,
            keyring=self.identity,
            documents={path: proved[path] for path in generation.documents if path in proved},
            refused=generation.refused | refused,
            left=generation.left_by(proved),
        )

    def _proved(
        self, keyring: Keyring, document: Document, known: dict[str, Document], proved: dict[str, Document]
    ) -> Document:
        """Return a document with who signed it. Raises EnvelopeError or SignatureError."""
        path = document.path
        if document.format != SIBLING:
            signature = document if path.endswith(SIGNED_SUFFIX) else known.get(path + SIGNATURE_SUFFIX)
            return replace(document, fingerprint=self._signer(keyring, document, signature))
        base = path.removesuffix(SIGNATURE_SUFFIX).removesuffix(PLAIN_SUFFIX)
        if path.endswith(PLAIN_SUFFIX):
            # It says what the signed one says, which no key changes.
            if base + SIGNED_SUFFIX not in proved:
                raise SignatureError(f"{base}{SIGNED_SUFFIX} is refused, which proves it")
            return document
        signed = proved.get(base + PLAIN_SUFFIX)
        if signed is None:
            raise SignatureError(f"{base}{PLAIN_SUFFIX} is refused, which it signs")
        self._signer(keyring, signed, document)
        return document

    def _signer(self, keyring: Keyring, document: Document, signature: Document | None) -> str:
        """Return the fingerprint of the key whose signature proves a document's text."""
        if signature is None:
            raise SignatureError("it is not signed")
        pair = (document.digest, signature.digest)
        if pair not in self._signers:
            if signature is document:
                signed = keyring.verify(self._bytes(document))
                if digest_of(signed.text) != document.text:
                    raise SignatureError("its signature covers another text than the one that was read")
            else:
                signed = keyring.verify_detached(self._bytes(document), self._bytes(signature))
            self._signers[pair] = signed.fingerprint
        return self._signers[pair]

    def _bytes(self, document: Document) -> bytes:
        data = self._store.read(document.digest)
        if data is None:
            raise GenerationLost(f"the store has lost {document.path}")
        return data


def _signed_first(entry: tuple[str, Document]) -> tuple[bool, int]:
    """Sort documents so that what proves another comes before it."""
    path, document = entry
    return document.format == SIBLING, len(path)
