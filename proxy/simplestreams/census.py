"""How many files of each kind a list names, packed so that a million of them can be counted in small memory.

A kind is a release and an architecture. What the list names is written down once,
sorted by digest; what of it is here is then counted a share of all digests at a time.

    head      magic, bytes of the kinds
    kinds     as JSON: release, arch, newest version, files, bytes in all, newest versions
    rows      SHA-256, size in bytes, numbers of kind and version, marks; sorted, each content
              of a version of a kind once

Numbers are in this machine's own order. Knows bytes, not files.
"""

import json
import struct
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

from proxy.digest import Digest
from proxy.errors import ProxyError
from proxy.simplestreams.catalog import listed_file
from proxy.simplestreams.maas_files import MAAS_ALONE, is_for_maas
from proxy.simplestreams.model import Products
from proxy.simplestreams.walk import Position, versions

_MAGIC = f"sstream-census:2:{sys.byteorder}".encode().ljust(32, b"\0")
HEAD = struct.Struct("=32sQ")
ROW = struct.Struct("=32sQIHH")
_MOST_KINDS = 500
_MOST_VERSIONS = 50
"""Of a kind, that are told apart."""
_OLDER = 0xFFFF
"""The number of all older versions."""
_THE_REST = "all others"
BOOT_LOADER = "boot loader "
"""What the releases of boot loaders begin with."""

_FIRST, _BOOTS, _NEWEST = 1, 2, 4
"""Marks: the first row of its content in its kind; a file as MAAS downloads it; one of the newest
version of its product, or with _BOOTS of the newest that has any such file."""


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
    key: str = ""
    """The field by whose value the release goes: release, os or product_name; "" for what has several."""
    is_for_maas: bool = False
    """Whether it has files that only lists for MAAS have."""
    versions: list[str] = field(default_factory=list)
    """Names of the newest versions, newest first."""


class CensusRow(NamedTuple):
    """A file of a version of a kind."""

    digest: Digest
    size_bytes: int
    kind: int
    version: int | None
    """Its number among the kind's; None for an older one."""
    is_first: bool
    """Whether no row of the same content and kind was before this one."""
    is_boot_file: bool
    """Whether MAAS downloads such files."""
    is_wanted: bool
    """Whether it is of the newest version of its product: if `is_boot_file`, MAAS downloads it now."""


class _Found:
    """What was found of one kind so far."""

    def __init__(self) -> None:
        self.files: dict[tuple[Digest, str], tuple[int, int]] = {}
        """Size and marks, by content and version."""
        self.keys: set[str] = set()
        self.is_for_maas = False

    def add(self, digest: Digest, version: str, size_bytes: int, marks: int) -> None:
        _, known = self.files.get((digest, version), (0, 0))
        self.files[digest, version] = size_bytes, known | marks

    def take(self, other: "_Found") -> None:
        self.files |= other.files
        self.keys |= {"", *other.keys}


def take_census(products: Products) -> bytes:
    """Count what a list names, and pack it. Where kinds are without number, the small ones are one."""
    found: dict[tuple[str, str], _Found] = defaultdict(_Found)
    newest: dict[str, str] = {}
    newest_booting: dict[str, str] = {}
    for product, version, positions in versions(products):
        newest[product] = max(newest.get(product, ""), version)
        if any(map(_is_boot_file, positions)):
            newest_booting[product] = max(newest_booting.get(product, ""), version)
    for product, version, positions in versions(products):
        for position in positions:
            file = listed_file(position)
            if file is None:
                continue
            key, release, arch = _kind(position)
            one = found[release, arch]
            boots = _is_boot_file(position)
            is_newest = version == (newest_booting if boots else newest)[product]
            one.add(file.digest, version, file.size_bytes, boots * _BOOTS | is_newest * _NEWEST)
            one.keys.add(key)
            one.is_for_maas |= position.field("ftype") in MAAS_ALONE
    large = sorted(found, key=lambda kind: len(found[kind].files), reverse=True)
    for kind in large[_MOST_KINDS:]:
        found[_THE_REST, "-"].take(found.pop(kind))
    kinds, rows = [], list[bytes]()
    for number, (release, arch) in enumerate(sorted(found)):
        kinds.append(_pack_kind(Kind(release, arch), number, found[release, arch], rows))
    told = json.dumps([asdict(kind) for kind in kinds]).encode()
    return b"".join([HEAD.pack(_MAGIC, len(told)), told, *sorted(rows)])


def _pack_kind(kind: Kind, number: int, found: _Found, rows: list[bytes]) -> Kind:
    """Add the rows of a kind; return it with what they come to."""
    names = sorted({version for _, version in found.files}, reverse=True)
    kind.newest, kind.versions = names[0], names[:_MOST_VERSIONS]
    kind.key = found.keys.pop() if len(found.keys) == 1 else ""
    kind.is_for_maas = found.is_for_maas
    places = {name: place for place, name in enumerate(kind.versions)}
    seen: set[Digest] = set()
    for (digest, version), (size_bytes, marks) in found.files.items():
        is_first = digest not in seen
        if is_first:
            seen.add(digest)
            kind.files += 1
            kind.total_bytes += size_bytes
        place = places.get(version, _OLDER)
        row = (bytes.fromhex(digest), size_bytes, number, place, marks | is_first * _FIRST)
        rows.append(ROW.pack(*row))
    return kind


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


def read_rows(packed: bytes) -> Iterator[CensusRow]:
    """Yield some whole rows."""
    for raw, size_bytes, kind, version, marks in ROW.iter_unpack(packed):
        yield CensusRow(
            Digest(raw.hex()),
            size_bytes,
            kind,
            None if version == _OLDER else version,
            bool(marks & _FIRST),
            bool(marks & _BOOTS),
            bool(marks & _NEWEST),
        )


def _is_boot_file(position: Position) -> bool:
    loader = position.field("bootloader-type")
    return is_for_maas(
        _text(position, "ftype"), None if loader is None else str(loader), _text(position, "arch")
    )


def _kind(position: Position) -> tuple[str, str, str]:
    """Return which field tells the release, the release, and the architecture."""
    arch = position.field("arch")
    if position.field("bootloader-type") is not None:
        key, release = "", f"{BOOT_LOADER}{_text(position, 'os')}"
    elif release := _text(position, "release"):
        key = "release"
    elif release := _text(position, "os"):
        key = "os"
    else:
        key, release = "product_name", position.product
    return key, release, "-" if arch is None else str(arch)


def _text(position: Position, name: str) -> str:
    value = position.field(name)
    return "" if value is None else str(value)
