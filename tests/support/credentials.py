"""Users and passwords, and how clients send them."""

import hashlib
from base64 import b64encode

from proxy.web.access.gate import User


def cheap_hash(password: str, salt: bytes = b"0123456789abcdef") -> str:
    """Return a password's hash as a configuration has it, at a cost that a test can bear."""
    key = hashlib.scrypt(password.encode(), salt=salt, n=16, r=8, p=1, dklen=32)
    return "$scrypt$ln=4,r=8,p=1$" + "$".join(b64encode(part).decode().rstrip("=") for part in (salt, key))


def user(name: str, password: str) -> User:
    """Return a user with a password."""
    return User(name=name, password_hash=cheap_hash(password))


def basic(name: str, password: str, encoding: str = "utf-8") -> str:
    """Return what Authorization has for a URL with a user and password (RFC 7617)."""
    return f"Basic {b64encode(f'{name}:{password}'.encode(encoding)).decode()}"
