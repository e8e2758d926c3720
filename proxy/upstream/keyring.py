"""Whether a document is signed by a key that its mirror names.

The only user of gnupg. Each keyring has a GnuPG home of its own that holds its
keys and nothing else, so a key that the machine's user trusts counts for
nothing here. All methods block (a gpg process runs); call them from a thread.
"""

import contextlib
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import gnupg

from proxy.errors import ProxyError
from proxy.simplestreams.clearsign import check_covered, check_envelope, signature_of
from proxy.simplestreams.signature import SignatureShapeError, check_signature

BUNDLED_KEYRINGS = Path(__file__).parent.parent / "data"

# gpg(1): keys only from this home, nothing from the user's configuration, no
# network, no agent; no seed file either, for which parallel runs wait up to a second.
_ISOLATION = [
    "--no-options",
    "--no-random-seed-file",
    "--no-auto-key-locate",
    "--no-auto-key-retrieve",
    "--disable-dirmngr",
    "--no-autostart",
    "--trust-model=always",
]
_STATUS_PREFIX = "[GNUPG:] "
_REFUSALS = {
    "BADSIG": "the signature does not match: the text was changed after key {key} signed it",
    "EXPKEYSIG": "the signing key {key} has expired",
    "REVKEYSIG": "the signing key {key} has been revoked",
    "EXPSIG": "the signature by key {key} has expired",
}
# Positions in a VALIDSIG line (gnupg, doc/DETAILS).
_SIGNED_AT = 2
_HASH_ALGORITHM = 7
_PRIMARY_FINGERPRINT = 9

_KEYBOX_MAGIC = slice(8, 12)
"""Where "KBXf" stands in the files that `gpg --keyring FILE --import` makes (gnupg, kbx/keybox-blob.c)."""

# RFC 4880 section 9.4. Not gpg's --weak-digest: that also voids the SHA-1
# self-signatures of keys as old as Ubuntu's.
_BROKEN_HASHES = {"1": "MD5", "2": "SHA-1", "3": "RIPEMD-160"}

# python-gnupg logs a traceback for conditions that are told as errors here.
logging.getLogger("gnupg").setLevel(logging.CRITICAL)


class GpgMissing(ProxyError):
    """The gpg program is not installed."""

    def __init__(self) -> None:
        super().__init__("gpg is not installed; install it with: sudo apt-get install gnupg")


class KeyringError(ProxyError):
    """A keyring file that cannot be read or holds no key."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"keyring {path}: {problem}")
        self.path = path


class SignatureError(ProxyError):
    """A document whose signature is missing, wrong, or by a key that does not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What a good signature covers."""

    text: bytes
    """The signed text and nothing else."""
    fingerprint: str
    """Of the primary key that signed."""
    signed_at: float
    """Unix seconds, from the signature itself."""


def keyring_file(name: str) -> Path:
    """Return the file of a bundled keyring, or `name` itself as a path."""
    bundled = BUNDLED_KEYRINGS / f"{name}-keyring.gpg"
    return bundled if bundled.is_file() else Path(name)


class Keyring:
    """The keys that one mirror accepts."""

    def __init__(self, gpg: Any, identity: str, fingerprints: frozenset[str]) -> None:
        self._gpg = gpg
        self.identity = identity
        """Changes when the keyring file changes."""
        self.fingerprints = fingerprints

    @classmethod
    def open(cls, path: Path, homes: Path) -> Self:
        """Load the keys of a binary or armored file, or of a keybox, into a home of their own below `homes`.

        Raises GpgMissing, and KeyringError when the file is unreadable or holds no key.
        """
        if shutil.which("gpg") is None:
            raise GpgMissing
        try:
            keys = path.read_bytes()
        except OSError as error:
            raise KeyringError(path, error.strerror or str(error)) from error
        identity = hashlib.sha256(keys).hexdigest()[:32]
        home = homes / identity
        if not home.is_dir():
            _make_home(home, keys, path)
        gpg = _gpg(home)
        fingerprints = frozenset(key["fingerprint"] for key in gpg.list_keys())
        if not fingerprints:
            raise KeyringError(path, "it holds no OpenPGP public key")
        return cls(gpg, identity, fingerprints)

    def verify(self, document: bytes) -> Signed:
        """Return what a clear-signed document says.

        Raises EnvelopeError or SignatureError.
        """
        check_envelope(document)
        _check_signature(signature_of(document))
        with _all_read():
            result = self._gpg.decrypt(document)
        signed = self._judge(result.stderr, result.data)
        check_covered(document, signed.text)
        return signed

    def verify_detached(self, document: bytes, signature: bytes) -> Signed:
        """Check a document against its detached signature. Raises SignatureError."""
        _check_signature(signature)
        with tempfile.NamedTemporaryFile(prefix="sstream-proxy-", suffix=".gpg") as file:
            file.write(signature)
            file.flush()
            with _all_read():
                result = self._gpg.verify_data(file.name, document)
        return self._judge(result.stderr, document)

    def _judge(self, stderr: str, text: bytes) -> Signed:
        statuses = list(_statuses(stderr))
        for keyword, words in statuses:
            if keyword in _REFUSALS:
                raise SignatureError(_REFUSALS[keyword].format(key=words[0] if words else "?"))
        for keyword, words in statuses:
            if keyword == "VALIDSIG" and words[_PRIMARY_FINGERPRINT] in self.fingerprints:
                return _signed(bytes(text), words)
        for keyword, words in statuses:
            if keyword == "NO_PUBKEY":
                raise SignatureError(f"it is signed by key {words[0]}, which is not in the mirror's keyring")
        raise SignatureError("gpg found no good signature in it")


@contextlib.contextmanager
def _all_read() -> Iterator[None]:
    """Raise SignatureError when gpg gives up before it has read what it is to judge."""
    try:
        yield
    except BrokenPipeError as error:
        raise SignatureError("gpg cannot make sense of it") from error


def _check_signature(signature: bytes) -> None:
    """Raise SignatureError for what gpg would take for a signature, or unpack for hours to find one."""
    try:
        check_signature(signature)
    except SignatureShapeError as error:
        raise SignatureError(str(error)) from None


def _signed(text: bytes, words: list[str]) -> Signed:
    """Return what the words of a VALIDSIG line say. Raises SignatureError for a broken hash."""
    broken = _BROKEN_HASHES.get(words[_HASH_ALGORITHM])
    if broken is not None:
        raise SignatureError(f"its signature rests on {broken}, which can be forged")
    return Signed(text=text, fingerprint=words[_PRIMARY_FINGERPRINT], signed_at=float(words[_SIGNED_AT]))


def _statuses(stderr: str) -> Iterable[tuple[str, list[str]]]:
    # Only a newline ends a line: gpg's messages quote the document, and escape nothing else in it
    # at which splitlines() would split.
    for line in stderr.split("\n"):
        if line.startswith(_STATUS_PREFIX):
            keyword, *words = line.removeprefix(_STATUS_PREFIX).split()
            yield keyword, words


def _make_home(home: Path, keys: bytes, source: Path) -> None:
    """Import `keys` into a new home; renamed into place, so that it is whole or absent."""
    home.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = Path(tempfile.mkdtemp(prefix="new-", dir=home.parent))
    try:
        if keys[_KEYBOX_MAGIC] == b"KBXf":
            (draft / "pubring.kbx").write_bytes(keys)
        elif not _gpg(draft).import_keys(keys).count:
            raise KeyringError(source, "it holds no OpenPGP public key")
        # Another worker may have been faster; its home is as good.
        with contextlib.suppress(OSError):
            os.rename(draft, home)  # noqa: PTH104 - Path.rename has no other error to offer
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _gpg(home: Path) -> Any:
    return gnupg.GPG(gnupghome=str(home), options=_ISOLATION, env={**os.environ, "LC_ALL": "C"})
