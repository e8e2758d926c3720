"""What a file of OpenPGP public keys holds, in whatever form it is kept (RFC 4880 section 11.1).

Binary, armored, several of these in a row, or a keybox of gpg: all become the
same ring, in which the order of keys and of their parts means nothing. Keys
that cannot be used are told of, and nothing is passed over in silence. Pure:
knows neither gpg nor disks.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from proxy.errors import ProxyError
from proxy.signatures.packets import IS_PACKET, Packet, PacketError, packet, packets

_NO_KEY = "it holds no OpenPGP public key"
_HOW_TO_EXPORT = "write what `gpg --export KEY` prints"
_CUT_OFF = "it is cut off, damaged, or no keyring"

_SIGNATURE, _PRIMARY, _SUBKEY = 2, 6, 14
_NAMES = frozenset({13, 17})
"""User ids and user attributes."""
_SECRET = frozenset({5, 7})
_WITHOUT_MEANING = frozenset({10, 12, 21, 60, 61, 62, 63})
"""Markers, what some gpg thinks of trust, padding, and what is for private use."""
_VERSION = 4
_SIGNATURE_VERSIONS = frozenset({3, 4})

_BLOCK = re.compile(
    rb"-----BEGIN PGP ([A-Z][A-Z0-9 ,/]*)-----[ \t]*\r?\n(.*?)-----END PGP \1-----", re.DOTALL
)
_BEGIN = re.compile(rb"-----BEGIN PGP ([A-Z][A-Z0-9 ,/]*)-----")
_ARMOR_HEADERS = re.compile(rb"(?:[A-Za-z]+: [^\r\n]*\r?\n)*[ \t]*\r?\n")
_CHECKSUM = re.compile(rb"\n=[A-Za-z0-9+/]{4}[ \t]*\r?\n\Z")
_BLANK = b" \t\r\n"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# gnupg, kbx/keybox-blob.c.
_KEYBOX_MAGIC = slice(8, 12)
_KEYBOX_HEADER_BYTES = 16
_KEYBOX_OPENPGP = 2


class KeyFileError(ProxyError):
    """A file that holds no keys, or something else than keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The keys of a file."""

    ring: bytes
    """A binary ring with all that can be used; the same for the same keys."""
    fingerprints: frozenset[str]
    """Of the primary keys in the ring."""
    oddities: tuple[str, ...] = ()
    """What whoever wrote the file should know, in words."""

    @property
    def identity(self) -> str:
        """What says whether two files hold the same keys, whatever form they have."""
        return hashlib.sha256(self.ring).hexdigest()[:32]


@dataclass(slots=True)
class _Key:
    """A primary key, and the signatures that follow it and each of its parts."""

    primary: Packet
    parts: dict[bytes, set[bytes]] = field(default_factory=dict)
    """Signatures by what they are about: the primary key, a name or a subkey."""

    @property
    def fingerprint(self) -> str:
        body = self.primary.body
        # RFC 4880 section 12.2.
        return hashlib.sha1(b"\x99" + len(body).to_bytes(2) + body).hexdigest().upper()  # noqa: S324

    @property
    def is_signed(self) -> bool:
        """Whether it may bear a signature of its own; that of a subkey is none."""
        return any(signatures for part, signatures in self.parts.items() if not _is_subkey(part))

    def ring(self) -> bytes:
        """Return the key with its parts in an order of their own: names before subkeys, as they must be."""
        first = packet(_PRIMARY, self.primary.body)
        others = sorted(self.parts.keys() - {first}, key=lambda raw: (_is_subkey(raw), raw))
        return b"".join(b"".join([part, *sorted(self.parts.get(part, ()))]) for part in (first, *others))


def read_keys(data: bytes) -> Keys:
    """Return the public keys of a file. Raises KeyFileError."""
    forms = list(_forms(data))
    keys: dict[str, _Key] = {}
    oddities = []
    for form in forms:
        for key in _keys(form.content):
            version = key.primary.body[0]
            if version != _VERSION:
                oddities.append(f"a key of version {version} in it cannot be used: only those of version 4")
                continue
            known = keys.setdefault(key.fingerprint, key)
            for part, signatures in key.parts.items():
                known.parts.setdefault(part, set()).update(signatures)
    for fingerprint in sorted(one for one, key in keys.items() if not key.is_signed):
        oddities.append(f"key {fingerprint} in it cannot be used: it bears no signature of its own")
        del keys[fingerprint]
    if not keys:
        raise KeyFileError("; ".join([_NO_KEY, *dict.fromkeys(oddities)]))
    if len({form.is_armored for form in forms}) > 1:
        oddities.insert(0, "it is made of an armored and a binary part: the keys of both are used")
    ring = b"".join(keys[fingerprint].ring() for fingerprint in sorted(keys))
    return Keys(ring=ring, fingerprints=frozenset(keys), oddities=tuple(dict.fromkeys(oddities)))


@dataclass(frozen=True, slots=True)
class _Form:
    """A part of a file: packets, and how they were dressed."""

    content: bytes
    is_armored: bool


def _forms(data: bytes) -> Iterator[_Form]:
    """Yield the parts of a file that hold packets."""
    if data[_KEYBOX_MAGIC] == b"KBXf":
        yield _Form(b"".join(_keybox(data)), is_armored=False)
        return
    data = data.removeprefix(_BYTE_ORDER_MARK)
    if not _BEGIN.search(data) and not data.lstrip(_BLANK)[:1] >= bytes([IS_PACKET]):
        raise KeyFileError(f"{_NO_KEY}: {_HOW_TO_EXPORT}")
    for begin in _BEGIN.finditer(data):
        _check_kind(begin[1].decode())
    position = 0
    for block in _BLOCK.finditer(data):
        yield from _binary(data[position : block.start()])
        yield _Form(_dearmored(block[2]), is_armored=True)
        position = block.end()
    if _BEGIN.search(data, position):
        raise KeyFileError("its armor does not end: it is cut off, or not whole yet")
    yield from _binary(data[position:])


def _binary(data: bytes) -> Iterator[_Form]:
    """Yield what stands beside armored blocks: packets, or a text for people, which is passed over."""
    content = data.lstrip(_BLANK)
    if not content:
        return
    if content[0] & IS_PACKET:
        yield _Form(content, is_armored=False)
        return
    try:
        is_text = "\0" not in content.decode()
    except UnicodeDecodeError:
        is_text = False
    if not is_text:
        raise KeyFileError("between its armored blocks is what is neither text nor keys")


def _dearmored(armor: bytes) -> bytes:
    """Return what a block holds. Its checksum is not looked at (RFC 9580 section 6.1)."""
    headers = _ARMOR_HEADERS.match(armor)
    text = _CHECKSUM.sub(b"\n", armor[headers.end() if headers else 0 :])
    try:
        return base64.b64decode(text.translate(None, _BLANK), validate=True)
    except binascii.Error:
        raise KeyFileError("its armor is damaged: it is no base64") from None


def _check_kind(kind: str) -> None:
    """Raise KeyFileError for an armor of anything else than public keys."""
    if kind in {"PRIVATE KEY BLOCK", "SECRET KEY BLOCK"}:
        raise _secret()
    if kind != "PUBLIC KEY BLOCK":
        raise KeyFileError(f"{_NO_KEY} but a PGP {kind}: {_HOW_TO_EXPORT}")


def _secret() -> KeyFileError:
    return KeyFileError(f"it holds a secret key, which nobody else should have: {_HOW_TO_EXPORT}")


def _keys(content: bytes) -> Iterator[_Key]:
    """Yield the keys that packets make up. Raises KeyFileError for anything else between them."""
    key: _Key | None = None
    part = b""
    for one in _parts(content):
        if one.tag == _PRIMARY:
            if key is not None:
                yield key
            key = _Key(one)
        if key is None:
            what = "signatures" if one.tag == _SIGNATURE else "parts of a key"
            raise KeyFileError(f"{_NO_KEY} but {what} without one: {_HOW_TO_EXPORT}")
        raw = packet(one.tag, one.body)
        if one.tag != _SIGNATURE:
            part = raw
            key.parts.setdefault(part, set())
        elif one.body[0] in _SIGNATURE_VERSIONS:
            key.parts[part].add(raw)
    if key is not None:
        yield key


def _parts(content: bytes) -> Iterator[Packet]:
    """Yield those packets that say something. Raises KeyFileError for what no file of keys should hold."""
    for one in _packets(content):
        if one.tag in _SECRET:
            raise _secret()
        if one.tag in _WITHOUT_MEANING:
            continue
        if one.tag not in {_PRIMARY, _SUBKEY, _SIGNATURE, *_NAMES}:
            raise KeyFileError(f"{_NO_KEY} but something else (packets with tag {one.tag}): {_HOW_TO_EXPORT}")
        if not one.body:
            raise KeyFileError(f"{_CUT_OFF}: a part of a key is empty")
        yield one


def _packets(content: bytes) -> list[Packet]:
    try:
        return list(packets(content))
    except PacketError as error:
        if content[error.at :].strip(_BLANK):
            raise KeyFileError(f"{_CUT_OFF}: {error}") from None
        return list(packets(content[: error.at]))


def _keybox(data: bytes) -> Iterator[bytes]:
    """Yield the packets of each OpenPGP key of a keybox."""
    position = 0
    while position < len(data):
        size = int.from_bytes(data[position : position + 4])
        blob = data[position : position + size]
        if size < _KEYBOX_HEADER_BYTES or len(blob) < size:
            raise KeyFileError(f"{_CUT_OFF}: gpg's keybox does not end where it says")
        if blob[4] == _KEYBOX_OPENPGP:
            begin, length = int.from_bytes(blob[8:12]), int.from_bytes(blob[12:16])
            yield blob[begin : begin + length]
        position += size


def _is_subkey(raw: bytes) -> bool:
    return (raw[0] >> 2) & 0x0F == _SUBKEY
