"""The gate in front of the mirrors: a client's network first, then who they say they are."""

import binascii
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass, field

from proxy.errors import ProxyError
from proxy.mirror import EVERYBODY, Mirror
from proxy.web.access.networks import Networks
from proxy.web.access.password_checks import PasswordChecks
from proxy.web.access.passwords import PasswordHash


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessOptions:
    """Who may read mirrors."""

    allow: tuple[str, ...] = EVERYBODY
    """Networks that may read any mirror at all; a mirror may have narrower ones."""
    users: tuple[str, ...] = ()
    """Names of the users who may read a mirror that names none; empty is everybody, without a password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody with a password."""

    name: str
    password_hash: str = field(repr=False)
    """As `sstream-proxy hash-password` prints it."""


class NetworkNotAllowed(ProxyError):
    """A client whose network may not read a mirror."""

    def __init__(self, address: str, mirror: str) -> None:
        super().__init__(
            f"{address or 'this client'} may not read the mirror {mirror}: "
            "its network is not among those that the proxy's configuration allows"
        )


class PasswordNeeded(ProxyError):
    """A request without credentials for a mirror that has users."""

    def __init__(self, mirror: str) -> None:
        super().__init__(f"the mirror {mirror} needs a user and password: http://USER:PASSWORD@...")


class PasswordRefused(PasswordNeeded):
    """Credentials that are wrong, or of somebody who may not read this mirror."""

    def __init__(self, mirror: str) -> None:
        ProxyError.__init__(self, f"this user and password may not read the mirror {mirror}")


class Gate:
    """Lets clients in, or not."""

    def __init__(self, options: AccessOptions, users: Sequence[User], mirrors: Sequence[Mirror]) -> None:
        self._everywhere = Networks(options.allow)
        self._networks = {mirror.name: Networks(mirror.allow) for mirror in mirrors}
        self._users = {mirror.name: frozenset(mirror.users or options.users) for mirror in mirrors}
        self._passwords = PasswordChecks(
            {user.name: PasswordHash.parse(user.password_hash) for user in users}
        )

    def is_open(self, mirror: Mirror) -> bool:
        """Whether everybody may read a mirror."""
        return not self._users[mirror.name] and not self.asks_networks(mirror)

    def asks_networks(self, mirror: Mirror) -> bool:
        """Whether it matters to a mirror where clients are."""
        return not all(one.is_everybody for one in (self._everywhere, self._networks[mirror.name]))

    def admits(self, mirror: Mirror, address: str) -> bool:
        """Whether somebody at an address may read a mirror, as far as that is enough to know."""
        return self._everywhere.hold(address) and self._networks[mirror.name].hold(address)

    async def pass_through(self, mirror: Mirror, address: str, authorization: str | None) -> None:
        """Return if a client may read a mirror; `authorization` is the header with their credentials.

        Raises NetworkNotAllowed, PasswordNeeded, PasswordRefused or TooManyPasswords.
        """
        if not self.admits(mirror, address):
            raise NetworkNotAllowed(address, mirror.name)
        users = self._users[mirror.name]
        if not users:
            return
        given = _credentials(authorization or "")
        if given is None:
            raise PasswordNeeded(mirror.name)
        user, password = given
        # The password first: who may read what is not for strangers to find out.
        if not await self._passwords.is_right(user, password, address) or user not in users:
            raise PasswordRefused(mirror.name)

    def close(self) -> None:
        """Let nobody in any more."""
        self._passwords.close()


def _credentials(authorization: str) -> tuple[str, bytes] | None:
    """Return user and password of Basic credentials (RFC 7617); what is no UTF-8 was meant as Latin-1."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        data = b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    user, colon, password = text.partition(":")
    return (user, password.encode()) if colon else None
