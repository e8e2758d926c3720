"""Who may read the operator's pages, and who may change something.

A browser must never be made to change anything by a page that its user merely
visits: every change needs a header that no other site's page can send without
being asked for permission first, which is never given (CORS), and whoever is
trusted for being on this machine must also have named this machine, so that a
foreign name that resolves to it (DNS rebinding) is not enough. Nor is it enough to
read: a page of that name could read what its visitor may.
"""

import hashlib
import hmac
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from proxy.system.ip_addresses import parse_address
from proxy.web.authorities import of_header

CHANGE_HEADER = "X-Sstream-Proxy"
"""Every change must carry it, with any value."""

_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via")
_LOCAL_NAMES = {"localhost", "127.0.0.1", "::1"}
_PRIVATE_DOMAINS = (
    ".corp", ".home", ".home.arpa", ".internal", ".intranet", ".lan", ".local", ".localdomain", ".localhost",
    ".private", ".test",
)  # fmt: skip
"""No stranger can have a name there: they are reserved, or kept out of the public zone for their use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminOptions:
    """Where `/-/` is, and who may do what there."""

    listen: tuple[str, ...] = ()
    """HOST:PORT or [IPV6]:PORT each, for `/-/` alone; empty is where the mirrors are."""
    read: Literal["everyone", "admins"] = "everyone"
    token_sha256: str = field(default="", repr=False)
    """Hexadecimal SHA-256 of the token that makes an admin; empty is none."""
    trust_loopback: bool = True
    """Whether whoever connects from this machine is an admin."""
    names: tuple[str, ...] = ()
    """Further names by which these pages may be asked for; this machine's own are known."""


LOCAL_SOCKET = "local socket"
NOBODY = "somebody who has left"
"""In place of an address that cannot be told any more. Whoever it was, nobody is trusted for that."""


@dataclass(frozen=True, slots=True)
class Asker:
    """What is known of who sends a request."""

    address: str
    """The peer's address, or one of these."""
    headers: Mapping[str, str]
    """Case-insensitive."""
    is_encrypted: bool = False
    """Whether by TLS: a browser has made sure then that the certificate is for the name that it asked."""


class AdminPermission:
    """Decides by the options, and by what this machine is called."""

    def __init__(self, options: AdminOptions, own_names: Collection[str] = ()) -> None:
        self._options = options
        self._names = {*own_names, *(name.lower().rstrip(".") for name in options.names)}

    def why_not_read(self, asker: Asker) -> str | None:
        """Return why somebody may not see the figures, None when they may."""
        if self.is_admin(asker):
            return None
        if self._options.read != "everyone":
            return "reading this needs an admin: give the token, or come from the proxy's own machine"
        if self._is_named(asker):
            return None
        return (
            f"these pages are not shown under the name {asker.headers.get('Host', '')!r:.80}, which might be "
            "another site's (DNS rebinding): write it into [admin] names if it is this proxy's, "
            "or ask by this machine's address"
        )

    def may_read_by_address(self, asker: Asker) -> bool:
        """Whether somebody who may not see the figures need only ask by an address instead of a name."""
        return self._options.read == "everyone" and not self._is_named(asker)

    def _is_named(self, asker: Asker) -> bool:
        """Whether nobody else can have made up the name by which somebody asks.

        An address is nobody's page. Names of one word are in no public zone.
        """
        given = asker.headers.get("Host", "")
        if asker.is_encrypted or asker.address == LOCAL_SOCKET or not given:
            return True
        host = of_header(given).host
        if not host or not host.isascii():
            return False
        is_local = host.endswith(_PRIVATE_DOMAINS) or "." not in host
        return is_local or parse_address(host) is not None or host in self._names

    def why_not_change(self, asker: Asker) -> str | None:
        """Return why somebody may not change anything, None when they may."""
        if CHANGE_HEADER not in asker.headers:
            return f"a change needs the header {CHANGE_HEADER}: 1, so that no web page can cause it"
        origin = asker.headers.get("Origin")
        if origin is not None and origin.partition("://")[2] != asker.headers.get("Host", ""):
            return "this comes from another site's page"
        if not self.is_admin(asker):
            return (
                "this needs an admin: ask from the proxy's own machine, or with Authorization: Bearer TOKEN"
            )
        return None

    def is_admin(self, asker: Asker) -> bool:
        """Whether somebody may change something, and may know which client asked for what."""
        return self._has_token(asker) or (self._options.trust_loopback and _is_local(asker))

    def _has_token(self, asker: Asker) -> bool:
        scheme, _, token = asker.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not self._options.token_sha256:
            return False
        found = hashlib.sha256(token.strip().encode(errors="surrogateescape")).hexdigest()
        return hmac.compare_digest(found, self._options.token_sha256.lower())


def _is_local(asker: Asker) -> bool:
    """Whether somebody sits at this machine, and meant it."""
    if any(name in asker.headers for name in _FORWARDED):
        return False  # A reverse proxy on this machine speaks for others.
    if asker.address == LOCAL_SOCKET:
        return True
    address = parse_address(asker.address)
    is_loopback = address is not None and address.is_loopback
    return is_loopback and of_header(asker.headers.get("Host", "")).host in _LOCAL_NAMES
