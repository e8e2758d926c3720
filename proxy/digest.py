"""SHA-256 digests: their one textual form, and checking bytes as they pass.

Owns what a digest looks like. Pure: knows nothing of files, names or networks.
"""

import hashlib
import re
from typing import NewType

from proxy.errors import ProxyError

Digest = NewType("Digest", str)
"""A SHA-256 as 64 lower-case hexadecimal characters."""

_HEX = re.compile(r"[0-9a-f]{64}")


class InvalidDigest(ProxyError):
    """A text that should be a SHA-256 is none."""

    def __init__(self, text: object) -> None:
        super().__init__(f"not a SHA-256 in hexadecimal: {text!r:.80}")
        self.text = text


class DigestMismatch(ProxyError):
    """Bytes of the right length whose SHA-256 is not the promised one."""

    def __init__(self, expected: Digest, actual: Digest) -> None:
        super().__init__(f"sha256 is {actual}, expected {expected}")
        self.expected = expected
        self.actual = actual


class SizeMismatch(ProxyError):
    """More or fewer bytes than promised."""

    def __init__(self, expected_bytes: int, actual_bytes: int) -> None:
        super().__init__(f"size is {actual_bytes} bytes, expected {expected_bytes}")
        self.expected_bytes = expected_bytes
        self.actual_bytes = actual_bytes


def parse_digest(text: object) -> Digest:
    """Return `text` as a Digest; upper case is accepted and lowered.

    Raises InvalidDigest for anything that is not 64 hexadecimal characters.
    """
    if isinstance(text, str) and _HEX.fullmatch(lowered := text.lower()):
        return Digest(lowered)
    raise InvalidDigest(text)


def is_digest(text: str) -> bool:
    """Whether `text` is a digest in its one form."""
    return _HEX.fullmatch(text) is not None


def digest_of(data: bytes) -> Digest:
    """Return the digest of `data`."""
    return Digest(hashlib.sha256(data).hexdigest())


class Verifier:
    """Checks a stream of bytes against a promised digest and size.

    `update` takes the bytes in order; `finish` says whether they were right.
    Hashing releases the GIL for buffers over 2 KiB (CPython's hashlib), so both
    may run in a thread beside the event loop.
    """

    def __init__(self, digest: Digest, size_bytes: int) -> None:
        self._expected = digest
        self._size_bytes = size_bytes
        self._seen_bytes = 0
        self._hash = hashlib.sha256()

    @property
    def seen_bytes(self) -> int:
        """How many bytes have passed."""
        return self._seen_bytes

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes. Raises SizeMismatch as soon as they are too many."""
        self._seen_bytes += len(data)
        if self._seen_bytes > self._size_bytes:
            raise SizeMismatch(self._size_bytes, self._seen_bytes)
        self._hash.update(data)

    def finish(self) -> None:
        """Raise SizeMismatch or DigestMismatch unless all bytes were right."""
        if self._seen_bytes != self._size_bytes:
            raise SizeMismatch(self._size_bytes, self._seen_bytes)
        actual = Digest(self._hash.hexdigest())
        if actual != self._expected:
            raise DigestMismatch(self._expected, actual)
