"""Files of counters that the first releases wrote: they do not name what they count.

    1                   identifies the counters' names
    n                   totals
    288 x (1 + n)       number of the five minutes since 1970, counts in them

They lie beside those of this release and are only read, and what they say is added to
what is counted now. So nothing is lost when a process of such a release still runs,
nor when one is installed again: it goes on with its own files.
"""

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from sys import byteorder

from proxy.counting.tally import Counts, unpack, words_bytes

_WORD = 8
_OUTCOMES = ("hit", "stale", "miss", "join", "bypass", "absent", "offline", "denied", "refused", "error")
_EDGES = ("0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0")
_NAMES = {
    "mirror": (
        *(f"requests {outcome}" for outcome in _OUTCOMES),
        *(f"sent {outcome}" for outcome in _OUTCOMES),
        *(f"first byte {edge}" for edge in (*_EDGES, "10.0", "30.0", "inf")),
        "first byte us",
        "aborted",
        "fetched",
    ),
    "origin": ("ok", "error", "bytes", "latency us", "latency count", "wrong"),
    "store": ("evicted blobs", "evicted bytes", "checked blobs", "checked bytes", "damaged", "repaired"),
    "limits": (
        "malformed_requests",
        "connections",
        "client_connections",
        "idle_connections",
        "unfinished_requests",
        "request_bodies",
        "document_bytes",
        "document_shape",
        "filter_time",
    ),
    "transfers": ("let go", "turned away"),
    "cuts": ("unreachable", "wrong_bytes", "store", "other"),
}
"""By kind, in their order in the file. They never change again."""


def read_earlier(path: Path, kind: str, names: Sequence[str]) -> Counts | None:
    """Return what a file of this kind says of the counters `names`; None for one that is no such file."""
    in_file = _NAMES.get(kind, ())
    data = path.read_bytes()
    if len(data) != _WORD + words_bytes(in_file) or data[:_WORD] != _identity(in_file):
        return None
    return unpack(data[_WORD:], in_file, names)


def _identity(names: Sequence[str]) -> bytes:
    number = int.from_bytes(blake2b("\n".join(names).encode(), digest_size=_WORD).digest())
    return number.to_bytes(_WORD, byteorder)
