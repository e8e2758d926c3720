"""Verifying stored documents again when the keys of their mirror have changed.

The store keeps the bytes that a publisher signed, signatures included, so no origin is
needed. A document that the new keys do not verify is not served, although the old keys
verified it; only its dates stay, and nothing older than they say is accepted.
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
from proxy.store.protocols import ReadStore

log = logging.getLogger(__name__)


class NoLongerVerified(ProxyError):
    """A generation that was accepted once, and that the present keys of its mirror do not verify."""


class Reverifier:
    """Verifies the stored documents of one mirror.

    Without a keyring the mirror trusts TLS, which leaves nothing that could be verified later.
    """

    def __init__(self, mirror: str, trust: str, keyring: Keyring | None, store: ReadStore) -> None:
        self.identity = trust if keyring is None else keyring.identity
        """Identity of the keys; a generation that was verified by the same keys is not verified again."""
        self._mirror = mirror
        self._keyring = keyring
        self._store = store
        self._signers: dict[tuple[Digest, Digest], str] = {}
        """Who signed each document that was verified here, by its digest and that of its signature."""

    def reverify(self, generation: Generation) -> Generation:
        """Return a generation with only those documents that may be served.

        Blocks; raises NoLongerVerified or GenerationLost.
        """
        if generation.keyring == self.identity:
            return generation
        if self._keyring is None:
            raise NoLongerVerified(
                "it was accepted by its signature, and trust = 'tls' needs it from the origin itself"
            )
        verified: dict[str, Document] = {}
        refused: dict[str, str] = {}
        for path, document in sorted(generation.documents.items(), key=_signed_first):
            try:
                verified[path] = self._verified(self._keyring, document, generation.documents, verified)
            except (EnvelopeError, SignatureError) as refusal:
                refused[path] = f"{path} is refused: {refusal}"
        if generation.index_path not in verified:
            raise NoLongerVerified(refused[generation.index_path])
        for problem in refused.values():
            log.warning("document.unproved mirror=%s problem=%s", self._mirror, problem)
        return replace(
            generation,
            keyring=self.identity,
            documents={path: verified[path] for path in generation.documents if path in verified},
            refused=generation.refused | refused,
            left=generation.left_by(verified),
            content_ids=tuple(sorted(generation.stream)),
        )

    def _verified(
        self, keyring: Keyring, document: Document, known: dict[str, Document], verified: dict[str, Document]
    ) -> Document:
        """Return a document with who signed it. Raises EnvelopeError or SignatureError."""
        path = document.path
        if document.format != SIBLING:
            signature = document if path.endswith(SIGNED_SUFFIX) else known.get(path + SIGNATURE_SUFFIX)
            return replace(document, fingerprint=self._signer(keyring, document, signature))
        base = path.removesuffix(SIGNATURE_SUFFIX).removesuffix(PLAIN_SUFFIX)
        if path.endswith(PLAIN_SUFFIX):
            # It was found to say what the signed one says, which no key changes.
            if base + SIGNED_SUFFIX not in verified:
                raise SignatureError(f"{base}{SIGNED_SUFFIX} is refused, which proves it")
            return document
        signed = verified.get(base + PLAIN_SUFFIX)
        if signed is None:
            raise SignatureError(f"{base}{PLAIN_SUFFIX} is refused, which it signs")
        self._signer(keyring, signed, document)
        return document

    def _signer(self, keyring: Keyring, document: Document, signature: Document | None) -> str:
        """Return the fingerprint of the key that signed a document's text."""
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
    """Sort documents so that each comes after the one by which it is verified."""
    path, document = entry
    return document.format == SIBLING, len(path)
