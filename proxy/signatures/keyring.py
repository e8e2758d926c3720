"""Whether a document is signed by a key that its mirror names.

The only user of gnupg. Each keyring has a GnuPG home of its own that holds its
keys and nothing else, so a key that the machine's user trusts counts for
nothing here. Each signature of a document is judged by itself. All methods
block (a gpg process runs); call them from a thread.
"""

import contextlib
import copy
import logging
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Self

import gnupg

from proxy.errors import ProxyError
from proxy.signatures.keyfile import KeyFileError, Keys, read_keys
from proxy.signatures.keyhome import KeyHome
from proxy.signatures.signature_shape import SignatureShapeError, check_signature
from proxy.simplestreams.clearsign import check_covered, check_envelope, signature_of, with_signature
from proxy.system.durable import make_folder

BUNDLED_KEYRINGS = Path(__file__).parent.parent / "data"

# gpg(1): keys only from this home, nothing from the user's configuration, no
# network, no agent; no seed file either, for which parallel runs wait up to a second.
# A clock that is behind, as of a machine without a battery, must not void a key for being newer
# than now: whose keys count says the file, and what has expired by the clock is refused all the same.
_ISOLATION = [
    "--no-options",
    "--no-random-seed-file",
    "--no-auto-key-locate",
    "--no-auto-key-retrieve",
    "--disable-dirmngr",
    "--no-autostart",
    "--trust-model=always",
    "--ignore-time-conflict",
]
_STATUS_PREFIX = "[GNUPG:] "
_REFUSALS = {
    "EXPKEYSIG": "the signing key {key} has expired",
    "REVKEYSIG": "the signing key {key} has been revoked",
    "EXPSIG": "the signature by key {key} has expired",
}
# Positions in a VALIDSIG line (gnupg, doc/DETAILS).
_SIGNED_AT = 2
_HASH_ALGORITHM = 7
_PRIMARY_FINGERPRINT = 9

_MOST_SIGNATURES = 8
"""Each costs a run of gpg over the whole document."""
_LARGEST_FILE_BYTES = 64 * 1024 * 1024

# RFC 4880 section 9.4. Not gpg's --weak-digest: that also voids the SHA-1
# self-signatures of keys as old as Ubuntu's.
_BROKEN_HASHES = {"1": "MD5", "2": "SHA-1", "3": "RIPEMD-160"}

_INVALID = "i"
_LISTED_AS = {
    _INVALID: "in it cannot be used: gpg finds no valid signature of its own on it",
    "e": "has expired: what it signs is refused",
    "r": "has been revoked: what it signs is refused",
}
"""What gpg's letters for the validity of a key mean here (gnupg, doc/DETAILS)."""

# python-gnupg logs a traceback for conditions that are told as errors here.
logging.getLogger("gnupg").setLevel(logging.CRITICAL)


class GpgMissing(ProxyError):
    """The gpg program is not installed."""

    def __init__(self) -> None:
        super().__init__("gpg is not installed; install it with: sudo apt-get install gnupg")


class GpgFailed(ProxyError):
    """The gpg program does not run, whatever it is given."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"gpg cannot be run on this machine: {problem}")


class KeyringError(ProxyError):
    """A keyring file that cannot be read or holds no key."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"keyring {path}: {problem}")
        self.path = path
        self.problem = problem


class SignatureError(ProxyError):
    """A document whose signature is missing, wrong, or by a key that does not count."""


class _TextChanged(SignatureError):
    """A signature by a known key that does not match: worse than none, whatever others say."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the signature does not match: the text was changed after key {key} signed it")


class _UnknownKey(SignatureError):
    """A signature that says nothing, because nobody here knows who made it."""

    def __init__(self, key: str) -> None:
        super().__init__(f"it is signed by key {key}, which is not in the mirror's keyring")


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

    def __init__(self, home: KeyHome, keys: Keys) -> None:
        """Have gpg use these keys. Raises HomeFault or GpgFailed."""
        home.put_right()
        self._home = home
        self._gpg = _gpg(home)
        self._states = _states_of_keys(self._gpg)
        self._oddities = keys.oddities
        self.identity = keys.identity
        """The same for the same keys, whatever form and order their file has."""
        self.fingerprints = keys.fingerprints

    @classmethod
    def open(cls, path: Path, homes: Path) -> Self:
        """Load the keys of a file, in any form, into a home of their own below `homes`.

        Raises GpgMissing, GpgFailed, HomeFault, and KeyringError when the file
        cannot be read or holds no key that can be used.
        """
        if shutil.which("gpg") is None:
            raise GpgMissing
        try:
            keys = read_keys(_content(path))
        except KeyFileError as error:
            raise KeyringError(path, str(error)) from None
        finally:
            with contextlib.suppress(OSError):
                make_folder(homes, 0o700)
        ring = cls(KeyHome(homes, keys.identity, keys.ring), keys)
        if not ring.usable:
            problem = "it holds no OpenPGP public key that can be used"
            raise KeyringError(path, "; ".join([problem, *ring.oddities]))
        return ring

    @property
    def usable(self) -> frozenset[str]:
        """The keys that gpg takes as such; they may have expired or been revoked."""
        return frozenset(key for key in self.fingerprints if self._states.get(key, _INVALID) != _INVALID)

    @property
    def oddities(self) -> tuple[str, ...]:
        """What whoever wrote the file should know, in words."""
        return (
            *self._oddities,
            *(
                f"key {key} {_LISTED_AS[state]}"
                for key in sorted(self.fingerprints)
                if (state := self._states.get(key, _INVALID)) in _LISTED_AS
            ),
        )

    def verify(self, document: bytes) -> Signed:
        """Return what a clear-signed document says.

        Raises EnvelopeError or SignatureError; HomeFault or GpgFailed when nobody can say.
        """
        check_envelope(document)
        signatures = _signatures(signature_of(document))

        def judge(signature: bytes) -> Signed:
            # With several signatures of different kinds gpg looks at the first only.
            alone = document if len(signatures) == 1 else with_signature(document, signature)
            with _ran():
                stderr, text = _decrypted(self._gpg, alone)
            return self._judge(stderr, text)

        signed = self._first_good(signatures, judge)
        check_covered(document, signed.text)
        return signed

    def verify_detached(self, document: bytes, signature: bytes) -> Signed:
        """Check a document against its detached signature. Raises as `verify` does."""

        def judge(one: bytes) -> Signed:
            with self._home.holding(one) as file, _ran():
                result = self._gpg.verify_data(file, document)
            return self._judge(result.stderr, document)

        return self._first_good(_signatures(signature), judge)

    def _first_good(self, signatures: list[bytes], judge: Callable[[bytes], Signed]) -> Signed:
        """Judge each signature by itself; return the first good one.

        Raises SignatureError without one, and whenever a known key signed another text.
        """
        self._home.put_right()
        good: list[Signed] = []
        refusals: list[SignatureError] = []
        for signature in signatures:
            try:
                good.append(judge(signature))
            except _TextChanged:
                raise
            except SignatureError as error:
                refusals.append(error)
        if good:
            return good[0]
        raise min(refusals, key=lambda refusal: isinstance(refusal, _UnknownKey))

    def _judge(self, stderr: str, text: bytes) -> Signed:
        """Return what gpg's words on a single signature mean. Raises SignatureError unless it is good."""
        found = {keyword: words for keyword, words in _statuses(stderr) if words}
        if "BADSIG" in found:
            raise _TextChanged(found["BADSIG"][0])
        for keyword, refusal in _REFUSALS.items():
            if keyword in found:
                raise SignatureError(refusal.format(key=found[keyword][0]))
        if "GOODSIG" in found and _primary(found) in self.fingerprints:
            return _signed(bytes(text), found["VALIDSIG"])
        if "NO_PUBKEY" in found:
            raise _UnknownKey(found["NO_PUBKEY"][0])
        if "ERRSIG" in found:
            raise SignatureError(f"gpg cannot check a signature such as that by key {found['ERRSIG'][0]}")
        raise SignatureError("gpg found no good signature in it")


def _content(path: Path) -> bytes:
    """Return what is in a keyring file. Raises KeyringError."""
    try:
        # A pipe would be waited for.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise KeyringError(path, "it is no regular file")
            if status.st_size > _LARGEST_FILE_BYTES:
                raise KeyringError(path, f"it is no keyring: it has {status.st_size} bytes")
            return file.read(status.st_size)
    except OSError as error:
        raise KeyringError(path, error.strerror or str(error)) from error


def _decrypted(gpg: Any, document: bytes) -> tuple[str, bytes]:
    """Return what gpg says, and the text.

    python-gnupg would collect a large text in many pieces, and copy it while all else stands still.
    """
    written = BytesIO()
    collecting = copy.copy(gpg)

    def collect(data: bytes) -> bool:
        written.write(data)
        return False  # It need not keep it as well.

    collecting.on_data = collect
    stderr: str = collecting.decrypt(document).stderr
    return stderr, written.getvalue()


@contextlib.contextmanager
def _ran() -> Iterator[None]:
    """Raise SignatureError when gpg gives up before it has read all, GpgFailed when it does not run."""
    try:
        yield
    except BrokenPipeError as error:
        raise SignatureError("gpg cannot make sense of it") from error
    except FileNotFoundError as error:
        raise GpgMissing from error
    except OSError as error:
        raise GpgFailed(error.strerror or str(error)) from error


def _signatures(signature: bytes) -> list[bytes]:
    """Return the packets of a signature.

    Raises SignatureError for what gpg would take for one, or unpack for hours to find one.
    """
    try:
        found = check_signature(signature)
    except SignatureShapeError as error:
        raise SignatureError(str(error)) from None
    if len(found) > _MOST_SIGNATURES:
        raise SignatureError(
            f"it bears {len(found)} signatures; more than {_MOST_SIGNATURES} are not looked at"
        )
    return found


def _primary(found: Mapping[str, list[str]]) -> str:
    """Return the fingerprint of the primary key of a VALIDSIG line, "" without one."""
    words = found.get("VALIDSIG", [])
    return words[_PRIMARY_FINGERPRINT] if len(words) > _PRIMARY_FINGERPRINT else ""


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


def _states_of_keys(gpg: Any) -> dict[str, str]:
    """Return gpg's letter for each primary key that it finds in a ring. Raises GpgFailed."""
    with _ran():
        return {key["fingerprint"]: key["trust"] for key in gpg.list_keys()}


def _gpg(home: KeyHome) -> Any:
    with _ran():
        return gnupg.GPG(
            gnupghome=str(home.path),
            keyring=str(home.ring_file),
            options=_ISOLATION,
            env={**os.environ, "LC_ALL": "C"},
        )
