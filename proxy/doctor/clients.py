"""What each client of simplestreams does: which files it asks for, how, and for how long it waits. Pure.

Every value here was measured, or read from the client's source. What a client calls a
failure, in its own words, is quoted so that whoever searches for the words finds it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from proxy.doctor.exchange import Patience


class Judge(Enum):
    """Who judges signatures for a client."""

    GPGV = "gpgv"
    OPENPGP = "Go's openpgp"
    NOBODY = "nobody"


class Kind(Enum):
    """Which items a client takes from a list, and which fields it needs there."""

    MAAS = "maas"
    MAAS_MODELS = "maas models"
    """As MAAS, whose 3.8 reads lists into strict models."""
    LXD = "lxd"
    INCUS = "incus"
    JUJU = "juju"
    TOOL = "tool"
    """sstream-mirror: all there is."""
    BUILDER = "builder"
    MULTIPASS = "multipass"


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """One client."""

    name: str
    title: str
    agent: str
    encodings: str
    """Its Accept-Encoding, "" for none."""
    kind: Kind
    entries: tuple[str, ...]
    """Where it begins; it goes on to the next one only after a 404."""
    judge: Judge
    patience: Patience
    """With items."""
    list_s: float
    """For one index or list, until the client gives up."""
    pass_s: float | None = None
    """For the index and all lists together."""
    datatypes: tuple[str, ...] | None = None
    """Which entries of an index it reads; None is all."""
    is_family: bool = False
    """Whether it stands for several versions; what one of them fails by is a fault then."""
    is_glued: bool = False
    """Whether it first pastes the path to a URL without a slash."""
    follows_items: bool = True
    needs_https: bool = False
    tries_http: bool = False
    """Whether items are asked for over plain http first."""
    sends_stray: bool = False
    """Whether a stray chunk follows each request for an item on the same connection."""
    asks_head: bool = False
    resumes: bool = False
    decodes_charset: bool = False
    """Whether the text is read by the charset that Content-Type names."""
    sums: tuple[str, ...] = ("sha256",)
    """The checksums that it reads; an item without any of them cannot be proven."""
    takes_newest: bool = True
    """Whether it takes the newest version of a product only."""
    crowd: int = 8
    """How many items it may ask for at once."""
    words: Mapping[str, str] = field(default_factory=dict)
    """What it says, by what went wrong."""

    @property
    def is_signed(self) -> bool:
        """Whether it checks signatures."""
        return self.judge is not Judge.NOBODY

    @property
    def needs_binary_keyring(self) -> bool:
        """Whether its judge reads no armored keyring."""
        return self.judge is Judge.GPGV and self.kind is not Kind.BUILDER  # virt-builder has gpg import it.

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The fields of its requests."""
        return (("User-Agent", self.agent), ("Accept", "*/*"), ("Accept-Encoding", self.encodings))


_SIGNED, _PLAIN = "streams/v1/index.sjson", "streams/v1/index.json"
_FOR_EVER_S = 60.0
"""How long the doctor waits where the client waits for ever."""
_HEARTBEAT_S = 10.0
"""Without a byte for so long Temporal calls MAAS's activity dead."""

_MAAS_OLD_WORDS = {
    "status": "No signature found! … verify network connectivity",
    "signature": "No signature found! / gpgv returned non-zero exit status",
    "json": "Failed to import images … JSONDecodeError",
    "tls": "CERTIFICATE_VERIFY_FAILED",
    "item": "the file is retried for up to two hours, then the import fails",
}
_MAAS_NEW_WORDS = {
    "status": "Request to '…' failed",
    "signature": "Failed to verify PGP signature",
    "json": "not a valid JSON file",
    "model": "Got invalid data for the products file",
    "index-model": "Got invalid data for the index file",
    "tls": "CERTIFICATE_VERIFY_FAILED",
    "item": "the file is not tried again before the next synchronisation (MAAS 3.8)",
}
_GO_WORDS = {
    "status": "Unable to fetch …",
    "json": "Failed decoding stream JSON: invalid character … looking for beginning of value",
    "model": "json: cannot unmarshal … into Go struct field",
    "hash": "Hash mismatch",
    "cut": "unexpected EOF",
    "tls": "x509: certificate …",
    "silent": "net/http: timeout awaiting response headers",
    "nothing": "The requested image couldn't be found",
}

_MAAS = Client(
    name="maas",
    title="MAAS (3.4 to 3.8)",
    agent="Python/3.12 aiohttp/3.12",
    encodings="gzip, deflate",
    kind=Kind.MAAS_MODELS,
    entries=(_SIGNED,),
    judge=Judge.GPGV,
    patience=Patience(connect_s=10, first_byte_s=_HEARTBEAT_S, gap_s=_HEARTBEAT_S, total_s=60),
    list_s=30,
    pass_s=30,
    is_family=True,
    is_glued=True,
    follows_items=False,
    sends_stray=True,
    decodes_charset=True,
    crowd=100,
    words=_MAAS_NEW_WORDS,
)
_MAAS_OLD = replace(
    _MAAS,
    is_family=False,
    kind=Kind.MAAS,
    agent="maas/3.4/0/0",
    words=_MAAS_OLD_WORDS,
    decodes_charset=False,
    list_s=_FOR_EVER_S,
    pass_s=None,
    sends_stray=False,
    follows_items=True,
)
_LXD = Client(
    name="lxd",
    title="LXD",
    agent="LXD 5.0.2",
    encodings="gzip",
    kind=Kind.LXD,
    entries=(_PLAIN,),
    judge=Judge.NOBODY,
    patience=Patience(connect_s=10, first_byte_s=30, gap_s=60, total_s=60),
    list_s=30,
    datatypes=("image-downloads",),
    needs_https=True,
    tries_http=True,
    words=_GO_WORDS,
)

_ALL = (
    _MAAS,
    replace(
        _MAAS_OLD,
        name="maas-3.4",
        title="MAAS 3.4",
        patience=Patience(connect_s=10, first_byte_s=_FOR_EVER_S, gap_s=_FOR_EVER_S, total_s=_FOR_EVER_S),
        crowd=2,
    ),
    replace(_MAAS_OLD, name="maas-3.5", title="MAAS 3.5", agent="maas/3.5/0/0", sends_stray=True),
    replace(_MAAS_OLD, name="maas-3.6", title="MAAS 3.6", agent="maas/3.6/0/0", sends_stray=True),
    replace(_MAAS_OLD, name="maas-3.7", title="MAAS 3.7", agent="maas/3.7/0/0", follows_items=False),
    replace(_MAAS, name="maas-3.8", title="MAAS 3.8", is_family=False, is_glued=False, sends_stray=False),
    _LXD,
    replace(_LXD, name="incus", title="Incus", agent="Incus 6.0.4", kind=Kind.INCUS),
    Client(
        name="juju",
        title="Juju",
        agent="Go-http-client/1.1",
        encodings="gzip",
        kind=Kind.JUJU,
        entries=("streams/v1/index2.sjson", _SIGNED),
        judge=Judge.OPENPGP,
        patience=Patience(connect_s=10, first_byte_s=30, gap_s=60, total_s=60),
        list_s=30,
        words={
            **_GO_WORDS,
            "status": "cannot load index … not found",
            "signature": "cannot read index data, … openpgp: …",
            "unsigned": "no PGP signature embedded in plain text data",
            "json": "cannot unmarshal JSON index metadata",
            "nothing": "index file has no data for product name(s)",
        },
    ),
    Client(
        name="sstream",
        title="sstream-mirror",
        agent="python-simplestreams/0.1",
        encodings="gzip, deflate",
        kind=Kind.TOOL,
        entries=(_SIGNED,),
        judge=Judge.GPGV,
        patience=Patience(connect_s=9, first_byte_s=_FOR_EVER_S, gap_s=_FOR_EVER_S, total_s=_FOR_EVER_S),
        list_s=_FOR_EVER_S,
        is_glued=True,
        resumes=True,
        sums=("sha512", "sha256", "md5"),
        takes_newest=False,
        words={
            "status": "HTTPError, or the error page is read as content",
            "signature": "SignatureMissingException / gpgv returned non-zero exit status 2",
            "hash": "checksum mismatch",
            "cut": "checksum mismatch",
            "json": "json.decoder.JSONDecodeError",
            "tls": "CERTIFICATE_VERIFY_FAILED",
            "silent": "it waits for ever",
        },
    ),
    Client(
        name="virt-builder",
        title="virt-builder",
        agent="curl/7.88.1",
        encodings="",
        kind=Kind.BUILDER,
        entries=(_SIGNED,),
        judge=Judge.GPGV,
        patience=Patience(connect_s=60, first_byte_s=_FOR_EVER_S, gap_s=_FOR_EVER_S, total_s=_FOR_EVER_S),
        list_s=_FOR_EVER_S,
        datatypes=("image-downloads",),
        asks_head=True,
        sums=("sha512", "sha256"),
        words={
            "status": "failed to download …: HTTP status code …",
            "signature": "could not verify digital signature",
            "hash": "checksum of downloaded file did not match",
            "tls": "curl: (60) SSL certificate problem",
            "cut": "curl: (18) transfer closed with outstanding read data remaining",
        },
    ),
    Client(
        name="multipass",
        title="Multipass",
        agent="Mozilla/5.0",
        encodings="gzip, deflate",
        kind=Kind.MULTIPASS,
        entries=(_PLAIN,),
        judge=Judge.NOBODY,
        patience=Patience(connect_s=10, first_byte_s=10, gap_s=10, total_s=60),
        list_s=10,
        datatypes=("image-downloads",),
        words={
            "status": "failed to download from '…'",
            "hash": "Downloaded image hash does not match",
            "silent": "Network timeout",
            "nothing": "No supported products found.",
        },
    ),
)
CLIENTS: Mapping[str, Client] = {one.name: one for one in _ALL}
"""By the names that `--as` takes."""


def unsigned(client: Client, entry: str) -> Client:
    """Return the client as it behaves with a URL that names an unsigned index itself."""
    return replace(client, entries=(entry,), judge=Judge.NOBODY)
