"""Which blobs were hashed when, and whether their files were touched since.

A blob is hashed as it arrives. That counts for as long as the kernel says that
its file has not changed; a bit that rots on the disk shows only when the file is
hashed again. All methods block.
"""

import logging
from collections.abc import Mapping

from proxy.digest import Digest
from proxy.store.blob_records import BlobRecords, Proof
from proxy.store.protocols import DAMAGED, PruneStore

log = logging.getLogger(__name__)

RECENT_S = 30 * 86400.0


class Proofs:
    """The proofs of the blobs of one store."""

    def __init__(self, store: PruneStore, blobs: BlobRecords) -> None:
        self._store = store
        self._blobs = blobs
        self._clock = blobs.clock

    def record(self, digest: Digest) -> None:
        """Record that a blob was hashed just now and found good."""
        proof = self.of_now(digest)
        if proof is not None:
            self._blobs.record_proof(digest, proof)

    def of_now(self, digest: Digest) -> Proof | None:
        """Return what there is to record of a blob that was hashed just now; None when its file is gone."""
        changed_ns = self._store.changed_ns(digest)
        return None if changed_ns is None else Proof(self._clock(), changed_ns)

    def carry_over(self, changed_before: Mapping[Digest, int]) -> None:
        """Let the proofs of blobs count on, whose files only got or lost a name since they looked like that.

        The kernel calls that a change as any other. `changed_before` is what `changed_ns` said before it.
        """
        with self._blobs.transaction():
            for digest, before_ns in changed_before.items():
                proof, changed_ns = self._blobs.proof(digest), self._store.changed_ns(digest)
                if proof is not None and proof.changed_ns == before_ns and changed_ns is not None:
                    self._blobs.record_proof(digest, Proof(proof.hashed_at, changed_ns))

    def is_recent(self, digest: Digest, within_s: float = RECENT_S) -> bool:
        """Whether a blob was hashed in the last `within_s` seconds, and its file not touched since."""
        proof = self._blobs.proof(digest)
        if proof is None or not 0 <= self._clock() - proof.hashed_at <= within_s:
            return False
        return proof.changed_ns == self._store.changed_ns(digest)

    def problem(self, digest: Digest, size_bytes: int, *, deep: bool) -> str | None:
        """Return what is wrong with a blob, None when nothing is.

        Hashes it if it was not lately, or if `deep` demands it. A damaged blob
        is set aside, so that nobody is served from it.
        """
        problem = self._store.problem(digest, size_bytes, deep=False)
        if problem is not None or (not deep and self.is_recent(digest)):
            return problem
        problem = self._store.problem(digest, size_bytes, deep=True)
        if problem is None:
            self.record(digest)
        elif problem == DAMAGED:
            log.error("blob.damaged digest=%s problem=%s", digest, problem)
            self._store.set_aside(digest)
        return problem
