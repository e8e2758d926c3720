"""Who asks a MAAS: an API key for version 2.0, a bearer token for version 3. Pure.

A key is "CONSUMER:TOKEN:SECRET", as MAAS shows it below the user's name. Requests are
signed by OAuth 1.0 with PLAINTEXT (RFC 5849, section 3.4.4): the consumer's secret is
empty with MAAS, and the token's secret goes with each request, so that https is better.
"""

import re
from dataclasses import dataclass, field
from urllib.parse import quote

from proxy.connect.errors import KeyFault

_PART = re.compile(r"[A-Za-z0-9._~-]+")
_SHAPE = "three parts joined by colons, as MAAS shows it below your name: API keys"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A MAAS API key."""

    consumer: str
    token: str = field(repr=False)
    secret: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "ApiKey":
        """Read a key, beside lines of comment. Raises KeyFault, which does not repeat it."""
        lines = [line.strip() for line in text.removeprefix("\ufeff").splitlines()]
        lines = [line for line in lines if line and not line.startswith("#")]
        if not lines:
            raise KeyFault(f"the API key is empty: it has {_SHAPE}")
        if len(lines) > 1:
            raise KeyFault(f"the API key has {len(lines)} lines: write it on one, {_SHAPE}")
        parts = lines[0].split(":")
        if len(parts) != 3 or not all(map(_PART.fullmatch, parts)):  # noqa: PLR2004 - the parts of a key
            raise KeyFault(f"the API key is not in the form that MAAS gives: it has {_SHAPE}")
        return cls(*parts)

    def authorization(self, nonce: str, unix_seconds: int) -> str:
        """Return the header of a request."""
        values = {
            "oauth_version": "1.0",
            "oauth_signature_method": "PLAINTEXT",
            "oauth_consumer_key": self.consumer,
            "oauth_token": self.token,
            "oauth_signature": f"&{self.secret}",
            "oauth_nonce": nonce,
            "oauth_timestamp": str(unix_seconds),
        }
        return "OAuth " + ", ".join(f'{name}="{quote(value, safe="~")}"' for name, value in values.items())
