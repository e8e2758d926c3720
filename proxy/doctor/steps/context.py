"""What all steps of an examination share: the client, where it looks, and what was found."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urljoin, urlsplit

from proxy.doctor.bounds import Bounds
from proxy.doctor.clients import Client, Kind
from proxy.doctor.exchange import Ask, Exchange, Patience, without_credentials
from proxy.doctor.findings import Finding, Severity
from proxy.doctor.gpgv import Gpgv
from proxy.doctor.wire.asking import Asker
from proxy.doctor.wording import Voice

_MOST_REDIRECTS = 10
_JOINING = frozenset({Kind.MAAS, Kind.MAAS_MODELS})


@dataclass(slots=True)
class Context:
    """One examination."""

    client: Client
    url: str
    """As given."""
    base: str
    """The mirror's root, without a slash at its end."""
    asker: Asker
    judge: Gpgv | None
    bounds: Bounds
    now: Callable[[], float]
    """Unix seconds."""
    findings: list[Finding] = field(default_factory=list)
    named_items: int = 0
    """How many files the lists name for the client."""
    documents_s: float = 0.0
    """How long the index and the lists took together."""

    @property
    def voice(self) -> Voice:
        """Who words findings."""
        return Voice(self.client)

    @property
    def host(self) -> str:
        """The mirror's host, with its port where one is given."""
        return urlsplit(self.url).netloc.rpartition("@")[2]

    def found(self, findings: Iterable[Finding], *, lessened: bool = False) -> None:
        """Add findings; `lessened` makes faults warnings, for what the client does not come across today."""
        for one in findings:
            is_less = lessened and one.severity is Severity.FAULT
            self.findings.append(replace(one, severity=Severity.WARNING) if is_less else one)

    def address(self, path: str) -> str:
        """Return the URL that the client makes of an item's path."""
        if self.client.kind in _JOINING:
            return urljoin(f"{self.base}/", path)
        return f"{self.base}/{path}"

    def reaches(self, path: str) -> bool:
        """Whether the client comes to a file of this mirror by the path of an item."""
        if self.client.kind is Kind.TOOL and path.startswith("/"):
            return False  # python-simplestreams refuses it.
        try:
            return self.is_within(self.address(path))
        except ValueError:
            return False

    def is_within(self, url: str) -> bool:
        """Whether a URL names a file of this mirror, and nothing behind a `?` or `#`."""
        try:
            parts = urlsplit(url)
        except ValueError:
            return False
        is_plain = not parts.query and not parts.fragment and ".." not in parts.path.split("/")
        return url.startswith(f"{self.base}/") and is_plain

    async def fetch(self, url: str) -> list[Exchange]:
        """Get an index or a list as the client does, redirects included."""
        limit_s = self.client.list_s
        connect_s = self.client.patience.connect_s
        patience = Patience(connect_s=connect_s, first_byte_s=limit_s, gap_s=limit_s, total_s=limit_s)
        ask = Ask(
            url=url, headers=self.client.headers, most_bytes=self.bounds.document_bytes, patience=patience
        )
        made = await self.asker.follow(ask, _MOST_REDIRECTS)
        self.documents_s += sum(one.took_s for one in made)
        return made

    async def follow(self, url: str, **changes: object) -> Exchange:
        """Make a request for an item, and those that it is redirected to."""
        made = await self.asker.follow(self._ask(url, changes), _MOST_REDIRECTS)
        return replace(made[-1], url=made[0].url)

    async def part(self, path: str, start: int) -> Exchange:
        """Ask for an item from one byte on, as the client does with redirects."""
        headers = (*self.client.headers, ("Range", f"bytes={start}-"))
        ask = self.follow if self.client.follows_items else self.look
        return await ask(self.address(path), headers=headers)

    async def look(self, url: str, **changes: object) -> Exchange:
        """Make one request as the client makes those for items; no redirect is followed."""
        return await self.asker.ask(self._ask(url, changes))

    def _ask(self, url: str, changes: Mapping[str, object]) -> Ask:
        ask = Ask(
            url=url,
            headers=self.client.headers,
            most_bytes=self.bounds.piece_bytes,
            patience=self.client.patience,
        )
        return replace(ask, **changes)  # type: ignore[arg-type]

    @property
    def shown_url(self) -> str:
        """The URL as it may be shown."""
        return without_credentials(self.url)
