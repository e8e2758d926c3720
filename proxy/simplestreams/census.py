"""How many files of each kind a list names, packed so that a million of them can be counted in small memory.

A kind is a release and an architecture. What the list names is written down once,
sorted by digest; what of it is here is then counted a share of all digests at a time.

    head      magic, bytes of the kinds
    kinds     as JSON: release, arch, newest version, files, bytes in all
    rows      SHA-256, size in bytes, number of the kind; sorted, each content of a kind once

Numbers are in this machine's own order. Knows bytes, not files.
"""

import json
import struct
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from proxy.digest import Digest
from proxy.errors import ProxyError
from proxy.simplestreams.catalog import listed_file
from proxy.simplestreams.model import Products
from proxy.simplestreams.walk import Position, positions

_MAGIC = f"sstream-census:1:{sys.byteorder}".encode().ljust(32, b"\0")
HEAD = struct.Struct("=32sQ")
ROW = struct.Struct("=32sQI")
_MOST_KINDS = 500
_THE_REST = "all others"


class CensusDamaged(ProxyError):
    """Bytes that this program's `take_census` did not write."""


@dataclass(slots=True)
class Kind:
    """What a list names of one release and architecture, each content once."""

    release: str
    arch: str
    newest: str = ""
    """Name of the newest version."""
    files: int = 0
    total_bytes: int = 0


def take_census(products: Products) -> bytes:
    """Count what a list names, and pack it. Where kinds are without number, the small ones are one."""
    found: dict[tuple[str, str], dict[Digest, int]] = defaultdict(dict)
    newest: dict[tuple[str, str], str] = defaultdict(str)
    for position in positions(products):
        file = listed_file(position)
        if file is not None:
            kind = _kind(position)
            found[kind][file.digest] = file.size_bytes
            newest[kind] = max(newest[kind], position.version)
    large = sorted(found, key=lambda kind: len(found[kind]), reverse=True)
    for kind in large[_MOST_KINDS:]:
        found[_THE_REST, "-"] |= found.pop(kind)
    kinds, rows = [], []
    for number, (release, arch) in enumerate(sorted(found)):
        sizes = found[release, arch]
        total_bytes = sum(sizes.values())
        kinds.append(Kind(release, arch, newest[release, arch], len(sizes), total_bytes))
        rows += [ROW.pack(bytes.fromhex(digest), size, number) for digest, size in sizes.items()]
    told = json.dumps([asdict(kind) for kind in kinds]).encode()
    return b"".join([HEAD.pack(_MAGIC, len(told)), told, *sorted(rows)])


def kinds_bytes(head: bytes) -> int:
    """Return how long the kinds are. Raises CensusDamaged."""
    if len(head) != HEAD.size:
        raise CensusDamaged("a census is cut short")
    magic, length = HEAD.unpack(head)
    if magic != _MAGIC:
        raise CensusDamaged("a census is of another version of this program")
    return int(length)


def read_kinds(told: bytes) -> list[Kind]:
    """Return the kinds as they are packed."""
    return [Kind(**kind) for kind in json.loads(told)]


def read_rows(packed: bytes) -> Iterator[tuple[Digest, int, int]]:
    """Yield digest, size, and number of the kind of some whole rows."""
    for raw, size_bytes, number in ROW.iter_unpack(packed):
        yield Digest(raw.hex()), size_bytes, number


def _kind(position: Position) -> tuple[str, str]:
    arch = position.field("arch")
    if position.field("bootloader-type") is not None:
        release = f"boot loader {_text(position, 'os')}"
    else:
        release = _text(position, "release") or _text(position, "os") or position.product
    return release, "-" if arch is None else str(arch)


def _text(position: Position, name: str) -> str:
    value = position.field(name)
    return "" if value is None else str(value)
