"""One request and what came of it, as facts. Pure: who made it, and what it means, is unknown here."""

from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import quote, urlsplit, urlunsplit

from yarl import URL

_LEGAL_IN_PATH = "/:@!$&'()*,;=~+%-._[]"


class Trouble(StrEnum):
    """Why an exchange did not come to its end."""

    NAME = "name"
    """The host's name has no address."""
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    CONNECT_TIMEOUT = "connect-timeout"
    TLS = "tls"
    CERTIFICATE = "certificate"
    CLOSED = "closed"
    """The connection was closed before there was a whole head."""
    NOT_HTTP = "not-http"
    SILENT = "silent"
    """No whole head in time."""
    STALLED = "stalled"
    """The body paused for too long."""
    SLOW = "slow"
    """All of it took too long."""
    CUT = "cut"
    """The body ended before its end."""
    PROXY = "proxy"
    """A proxy on the way did not let the connection through."""
    BOUND = "bound"
    """The doctor's own bounds ended it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a client waits; None is for ever, which here means as long as the doctor does."""

    connect_s: float = 10.0
    first_byte_s: float = 30.0
    gap_s: float = 30.0
    total_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request to be made."""

    url: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    most_bytes: int
    """Of the body; the connection is dropped behind them."""
    patience: Patience = field(default_factory=Patience)
    is_kept: bool = True
    """Whether the body is wanted, and not only its hash."""
    stray: bytes = b""
    """Bytes that are sent on the same connection after the reply, before the same request again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A request that was made."""

    method: str
    url: str
    """Without credentials."""
    status: int = 0
    """0 without a reply."""
    reason: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    version: str = ""
    """Of HTTP, as the status line says it, such as HTTP/1.1."""
    body: bytes = b""
    """As it came, what was kept of it."""
    body_bytes: int = 0
    sha256: str = ""
    """Of all that came of the body."""
    sha512: str = ""
    is_whole: bool = False
    """Whether the body came to the end that its head announced."""
    first_byte_s: float = 0.0
    longest_gap_s: float = 0.0
    took_s: float = 0.0
    trouble: Trouble | None = None
    detail: str = ""
    """In the words of the system or library that noticed."""
    proxy: str = ""
    """The proxy that it went through."""
    again: "Exchange | None" = None
    """What the second request on the connection got, where one was made."""

    def header(self, name: str) -> str:
        """Return a field of the reply's head, "" without it."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), "")

    @property
    def declared_bytes(self) -> int | None:
        """What Content-Length says, if it says a number."""
        value = self.header("Content-Length").strip()
        return int(value) if value.isascii() and value.isdigit() and len(value) < 19 else None  # noqa: PLR2004

    @property
    def media_type(self) -> str:
        """The Content-Type without parameters."""
        return self.header("Content-Type").partition(";")[0].strip().lower()

    @property
    def rate_bytes_s(self) -> float:
        """How fast the body came."""
        return self.body_bytes / max(self.took_s - self.first_byte_s, 1e-6)


def without_credentials(url: str) -> str:
    """Return a URL as it may be shown."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def legal_url(url: str) -> str:
    """Return a URL in which what no request may hold is escaped, as clients do."""
    parts = urlsplit(url)
    return urlunsplit(
        parts._replace(
            netloc=_legal_place(parts.netloc),
            path=quote(parts.path, safe=_LEGAL_IN_PATH),
            query=quote(parts.query, safe=_LEGAL_IN_PATH + "?"),
            fragment="",
        )
    )


def _legal_place(netloc: str) -> str:
    """Return host and port, with any credentials before them, as a Host header may name them."""
    credentials, at, place = netloc.rpartition("@")
    host, colon, port = place.partition(":")
    if place.isascii():
        return netloc
    try:
        host = URL.build(scheme="http", host=host).raw_host or host
    except ValueError:
        return netloc
    return f"{credentials}{at}{host}{colon}{port}"
