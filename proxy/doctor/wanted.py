"""Which files a client would fetch, of all that the lists name. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from proxy.doctor.clients import Client, Kind
from proxy.simplestreams.maas_files import BOOT_FILES, BOOT_LOADER_FILE
from proxy.simplestreams.model import Products
from proxy.simplestreams.walk import Position, versions

_MAAS_KINDS = BOOT_FILES | {BOOT_LOADER_FILE}
_ROOTS = {
    "squashfs": ("combined_squashfs_sha256",),
    "root.tar.xz": ("combined_rootxz_sha256", "combined_sha256"),
    "disk-kvm.img": ("combined_disk-kvm-img_sha256",),
    "disk1.img": ("combined_disk1-img_sha256",),
    "uefi1.img": ("combined_uefi1-img_sha256",),
}
_CONTAINERS = {Kind.LXD: "lxd", Kind.INCUS: "incus"}
_ARCHITECTURES = frozenset(
    [
        "amd64",
        "x86_64",
        "generic_64",
        "i386",
        "i486",
        "i586",
        "i686",
        "arm64",
        "aarch64",
        "arm64_generic",
        "armel",
        "arm",
        "armhf",
        "armhfp",
        "armv7a_hardfp",
        "armv6l",
        "armv7l",
        "armv8l",
        "ppc",
        "powerpc",
        "ppc64",
        "powerpc64",
        "ppc64el",
        "ppc64le",
        "s390x",
        "mips",
        "mipsel",
        "mips64",
        "mips64el",
        "riscv32",
        "riscv64",
        "loongarch64",
    ]
)
"""Those that LXD and Incus know; others are passed over in silence."""
_DATE = "%Y%m%d"
_DATE_LETTERS = 8


class Combined(NamedTuple):
    """What a list says of metadata and a root together."""

    root: str
    """The root's path."""
    field: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A file that a list names."""

    path: str
    kind: str
    """Its file type; one of each is looked at first."""
    size_bytes: int | None
    sums: dict[str, str]
    """As written, by algorithm."""
    product: str
    version: str
    is_taken: bool
    """Whether the client fetches it today; else it belongs to a version that it passes over."""
    combined: tuple["Combined", ...] = ()
    """Of a container's metadata: the roots that it makes images with."""
    oddities: tuple[str, ...] = ()
    """Codes of what the list says oddly about it."""


def wanted(client: Client, lists: Iterable[dict[str, Any]]) -> list[Wanted]:
    """Return the files that the client fetches, then those of older versions; each path once."""
    found: dict[str, Wanted] = {}
    for content in lists:
        for one in _of_list(client, content):
            known = found.get(one.path)
            if known is None or (one.is_taken and not known.is_taken):
                found[one.path] = one
    return sorted(found.values(), key=lambda one: not one.is_taken)


def _of_list(client: Client, content: dict[str, Any]) -> Iterator[Wanted]:
    if not isinstance(content.get("products"), dict):
        return
    # Juju itself fetches agents; images are fetched by who runs its machines.
    is_fetched = client.kind is not Kind.JUJU or content.get("datatype") == "content-download"
    by_product: dict[str, list[tuple[str, list[Position]]]] = {}
    for product, version, items in versions(Products(content_id="", updated=None, document=content)):
        by_product.setdefault(product, []).append((version, items))
    for product, of_versions in by_product.items():
        usable = [(name, list(_taken(client, name, items))) for name, items in of_versions]
        usable = sorted((one for one in usable if one[1]), key=lambda one: one[0], reverse=True)
        for number, (version, chosen) in enumerate(usable):
            is_taken = is_fetched and (not client.takes_newest or not number)
            for position, combined in chosen:
                one = _wanted(client, product, version, position, is_taken=is_taken, combined=combined)
                if one is not None:
                    yield one


def _taken(
    client: Client, version: str, items: list[Position]
) -> Iterator[tuple[Position, tuple[Combined, ...]]]:
    """Yield the items of a version that the client would fetch."""
    types = {_type(one): one for one in items}
    if client.kind in {Kind.MAAS, Kind.MAAS_MODELS}:
        yield from ((one, ()) for one in items if {_type(one), one.item} & _MAAS_KINDS)
    elif client.kind in _CONTAINERS:
        yield from _of_containers(_CONTAINERS[client.kind], version, types)
    elif client.kind is Kind.BUILDER:
        yield from ((one, ()) for one in items if one.item in {"disk.img", "disk1.img"})
    elif client.kind is Kind.MULTIPASS:
        chosen = types.get("uefi1.img") or types.get("img.xz") or types.get("disk1.img")
        if chosen is not None:
            yield chosen, ()
    else:
        yield from ((one, ()) for one in items)


def _of_containers(
    name: str, version: str, types: dict[str, Position]
) -> Iterator[tuple[Position, tuple[Combined, ...]]]:
    if not _is_dated(version) or not any(one.field("arch") in _ARCHITECTURES for one in types.values()):
        return
    combined = types.get(f"{name}_combined.tar.gz")
    if combined is not None:
        yield combined, ()
    meta = types.get(f"{name}.tar.xz")
    if meta is None:
        return
    images = []
    for kind, fields in _ROOTS.items():
        root = types.get(kind)
        said = [(one, str(meta.field(one))) for one in fields if meta.field(one)]
        if root is not None and said:
            images.append((root, Combined(str(root.field("path") or ""), *said[0])))
    if images:
        yield meta, tuple(combined for _, combined in images)
    yield from ((root, ()) for root, _ in images)


def _is_dated(version: str) -> bool:
    try:
        datetime.strptime(version[:_DATE_LETTERS], _DATE)  # noqa: DTZ007 - a name, no moment
    except ValueError:
        return False
    return len(version) >= _DATE_LETTERS


def _type(position: Position) -> str:
    return str(position.field("ftype") or position.item)


def _wanted(
    client: Client,
    product: str,
    version: str,
    position: Position,
    *,
    is_taken: bool,
    combined: tuple[Combined, ...],
) -> Wanted | None:
    path = position.field("path")
    if not isinstance(path, str) or not path:
        return None
    sums = {name: str(value) for name in client.sums if (value := position.field(name))}
    size, oddities = _size(client, position.field("size"))
    if not sums:
        oddities.append("no-sum")
    if any(value != value.lower() for value in sums.values()):
        oddities.append("capitals")
    return Wanted(
        path=path,
        kind=_type(position),
        size_bytes=size,
        sums={name: value.lower() for name, value in sums.items()},
        product=product,
        version=version,
        is_taken=is_taken,
        combined=combined,
        oddities=tuple(oddities),
    )


def _size(client: Client, value: object) -> tuple[int | None, list[str]]:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value, []
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:  # noqa: PLR2004
        return int(value), ["text-size"] if client.kind in {Kind.MAAS, Kind.TOOL} else []
    return None, ["no-size"]
