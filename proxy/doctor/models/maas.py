"""The models of MAAS 3.8: every list has to fit one of three, or the whole source fails. Pure.

MAAS reads no inheritance: what a list says once for all of its products, it does not see.
"""

import contextlib
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

_DATATYPES = ("image-ids", "image-downloads")
_UPDATED = "%a, %d %b %Y %H:%M:%S %z"
_BOOTLOADERS = ("grub2-signed", "shim-signed", "grub2", "syslinux")
_SOURCES = ("src_package", "src_release", "src_version")
_OF_PRODUCT = ("arch", "label", "os")
_OF_IMAGE = ("release", "release_title", "subarch", "subarches", "version")
_OF_MULTI = ("kflavor", "krel", "release_codename")


def index_misfits(document: dict[str, Any]) -> Iterator[str]:
    """Yield why MAAS calls an index invalid."""
    yield from _bad_date(document, "")
    entries = document.get("index")
    if not isinstance(entries, dict) or not entries:
        yield "it names no lists"
        return
    for name, entry in entries.items():
        if not isinstance(entry, dict):
            yield f"entry {name} is no object"
            continue
        yield from (f"entry {name} {problem}" for problem in _bad_date(entry, ""))
        yield from (f"entry {name} {problem}" for problem in _bad_text(entry, "path"))
        products = entry.get("products")
        if not isinstance(products, list) or not all(isinstance(one, str) for one in products):
            yield f"entry {name} has no list 'products' of names"
        if entry.get("datatype") is not None and entry["datatype"] not in _DATATYPES:
            yield f"entry {name} has the datatype {entry['datatype']}, which MAAS does not know"
        if "format" in entry and not isinstance(entry["format"], str):
            yield f"entry {name} has a format that is no text"


def list_misfits(document: dict[str, Any]) -> Iterator[str]:
    """Yield why a list fits none of the models, by the one that it is likest."""
    yield from head_misfits(document)
    yield from _products_misfits(document)


def is_written_for_models(document: dict[str, Any]) -> bool:
    """Whether a product of a list has all fields of its own: lists made for older versions have none such."""
    products = document.get("products")
    return isinstance(products, dict) and any(not any(_own_misfits(one)) for one in products.values())


def head_misfits(document: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with a list before its products are looked at."""
    yield from _bad_text(document, "content_id")
    if document.get("datatype") not in _DATATYPES:
        yield f"its datatype is {document.get('datatype')!s:.40}, not image-ids or image-downloads"
    yield from _bad_date(document, "")
    products = document.get("products")
    if not isinstance(products, dict) or not products:
        yield "it has no products"


def _products_misfits(document: dict[str, Any]) -> Iterator[str]:
    products = document.get("products")
    if not isinstance(products, dict):
        return
    kinds = {_kind(one) for one in products.values()}
    if len(kinds) > 1:
        yield f"it mixes products of different kinds: {' and '.join(sorted(kinds))}"
    for name, product in products.items():
        yield from (f"product {name} {problem}" for problem in _product_misfits(product))


def _kind(product: Any) -> str:
    if not isinstance(product, dict):
        return "images"
    if "bootloader-type" in product or "arches" in product:
        return "boot loaders"
    items = [name for _, items in _versions(product) for name in items]
    return "images of one file" if "root-tgz" in items and "squashfs" not in items else "images"


def _product_misfits(product: Any) -> Iterator[str]:
    yield from _own_misfits(product)
    if not isinstance(product, dict):
        return
    versions = product.get("versions")
    if not isinstance(versions, dict) or not versions:
        yield "has no versions"
        return
    for version, items in _versions(product):
        yield from (f"version {version} {problem}" for problem in _version_misfits(_kind(product), items))


def _own_misfits(product: Any) -> Iterator[str]:
    """Yield what a product lacks beside its versions."""
    if not isinstance(product, dict):
        yield "is no object"
        return
    kind = _kind(product)
    for name in _OF_PRODUCT:
        yield from _bad_text(product, name)
    if kind == "boot loaders":
        for name in ("arches", "bootloader-type"):
            yield from _bad_text(product, name)
    else:
        for name in _OF_IMAGE if kind == "images of one file" else (*_OF_IMAGE, *_OF_MULTI):
            yield from _bad_text(product, name)
        if "support_eol" not in product or not _is_day(product["support_eol"]):
            yield "has no 'support_eol' that is a day such as 2029-05-31"


def _versions(product: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    versions = product.get("versions")
    for name, version in versions.items() if isinstance(versions, dict) else ():
        items = version.get("items") if isinstance(version, dict) else None
        yield name, items if isinstance(items, dict) else {}


def _version_misfits(kind: str, items: dict[str, Any]) -> Iterator[str]:
    if kind == "boot loaders":
        wanted = [name for name in _BOOTLOADERS if name in items]
        if not wanted:
            yield f"has none of the items {', '.join(_BOOTLOADERS)}"
    elif kind == "images of one file":
        wanted = ["manifest", "root-tgz"]
    else:
        roots = [name for name in ("squashfs", "root-image.gz") if items.get(name) is not None]
        wanted = ["boot-initrd", "boot-kernel", "manifest", *roots]
        if not roots:
            yield "has neither squashfs nor root-image.gz"
    for name in wanted:
        yield from (f"item {name} {problem}" for problem in _item_misfits(kind, items.get(name)))


def _item_misfits(kind: str, item: Any) -> Iterator[str]:
    if item is None:
        yield "is missing"
        return
    if not isinstance(item, dict):
        yield "is no object"
        return
    for name in ("ftype", "path", "sha256", *(_SOURCES if kind == "boot loaders" else ())):
        yield from _bad_text(item, name)
    if not _is_whole_number(item.get("size")):
        yield "has no 'size' that is a whole number"


def _is_whole_number(value: Any) -> bool:
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            int(value[:40])
            return True
        return False
    return isinstance(value, int) or (isinstance(value, float) and value.is_integer())


def _bad_text(values: dict[str, Any], name: str) -> Iterator[str]:
    if not isinstance(values.get(name), str):
        yield f"has no '{name}' that is a text"


def _bad_date(values: dict[str, Any], where: str) -> Iterator[str]:
    value = values.get("updated")
    if not isinstance(value, str) or not _is_moment(value):
        yield f"{where}has no 'updated' that is a date such as 'Thu, 24 Jul 2025 08:01:48 +0000'"


def _is_moment(text: str) -> bool:
    with contextlib.suppress(ValueError):
        datetime.strptime(text, _UPDATED)  # noqa: DTZ007 - %z is in it
        return True
    with contextlib.suppress(ValueError):
        datetime.fromisoformat(text)
        return True
    return False


def _is_day(value: Any) -> bool:
    if value is None:
        return True
    with contextlib.suppress(ValueError, AttributeError):
        year, month, day = (int(part) for part in value.split("-"))
        date(year, month, day)
        return True
    return False
