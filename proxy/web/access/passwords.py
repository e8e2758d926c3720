"""Passwords as they are kept: only what scrypt makes of them (RFC 7914).

Written as a PHC string, which other programs understand, too:
$scrypt$ln=14,r=8,p=5$SALT$KEY, both in base64 without padding.
"""

import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass, field, replace

_COST_LOG2, _BLOCK, _LANES = 14, 8, 5
"""16 MiB and a quarter of a second, as OWASP's password storage sheet has it."""
SALT_BYTES = 16
"""So many random bytes a new hash needs."""
_KEY_BYTES = 32
_KEY_SIZES_BYTES = (_KEY_BYTES, 64)
_LARGEST_BYTES = 256 * 1024**2
_MOST_LANES = 16
_OVERHEAD_BYTES = 1024**2

_PHC = re.compile(
    r"\$scrypt\$ln=([0-9]{1,2}),r=([0-9]{1,2}),p=([0-9]{1,2})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})"
)


@dataclass(frozen=True, slots=True)
class PasswordHash:
    """What is kept of a password, and how it was made."""

    cost_log2: int
    block: int
    lanes: int
    salt: bytes = field(repr=False)
    key: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "PasswordHash":
        """Read a PHC string. Raises ValueError, which never holds the text."""
        match = _PHC.fullmatch(text)
        if match is None:
            raise ValueError("is no scrypt hash: write what `sstream-proxy hash-password` prints")
        cost_log2, block, lanes = (int(number) for number in match.groups()[:3])
        largest = 128 * block << cost_log2
        if not (cost_log2 and block and 1 <= lanes <= _MOST_LANES and largest <= _LARGEST_BYTES):
            raise ValueError("costs too much or nothing: write what `sstream-proxy hash-password` prints")
        try:
            salt, key = (_decode(part) for part in match.groups()[3:])
        except ValueError:
            salt, key = b"", b""
        if len(key) not in _KEY_SIZES_BYTES:
            raise ValueError("is cut off: copy the whole line of `sstream-proxy hash-password`")
        return cls(cost_log2, block, lanes, salt, key)

    @classmethod
    def of(cls, password: bytes, salt: bytes) -> "PasswordHash":
        """Hash a new password with a salt that nobody has used before. Takes long."""
        pattern = cls(_COST_LOG2, _BLOCK, _LANES, salt, b"")
        return replace(pattern, key=pattern._key_of(password, _KEY_BYTES))

    def matches(self, password: bytes) -> bool:
        """Whether this is that password's hash. Takes long, and as long for any."""
        return hmac.compare_digest(self._key_of(password, len(self.key)), self.key)

    def __str__(self) -> str:
        return (
            f"$scrypt$ln={self.cost_log2},r={self.block},p={self.lanes}"
            f"${_encode(self.salt)}${_encode(self.key)}"
        )

    def _key_of(self, password: bytes, size_bytes: int) -> bytes:
        cost = 1 << self.cost_log2
        return hashlib.scrypt(
            password,
            salt=self.salt,
            n=cost,
            r=self.block,
            p=self.lanes,
            maxmem=128 * self.block * (cost + self.lanes) + _OVERHEAD_BYTES,
            dklen=size_bytes,
        )


def _encode(data: bytes) -> str:
    return b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return b64decode(text + "=" * (-len(text) % 4), validate=True)
