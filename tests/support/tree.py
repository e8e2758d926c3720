"""Simplestreams mirrors on disk: items with cheap deterministic bytes, lists and indexes, signed or not."""

import hashlib
import json
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Any

from proxy.digest import Digest
from support.keys import SigningKey

MAAS_CONTENT_ID = "com.ubuntu.maas:stable:v3:download"

_BLOCK_BYTES = 1024 * 1024
_ITEM_BYTES = 4096


@dataclass(frozen=True, slots=True)
class TreeItem:
    """An item as listed, and where its bytes are."""

    path: str
    digest: Digest
    size: int
    """In bytes."""
    data_path: Path

    def read(self) -> bytes:
        """Read the bytes as they are on disk now."""
        return self.data_path.read_bytes()


class SignedTree:
    """A mirror root; nothing is visible in `streams/v1` before `publish`."""

    def __init__(self, root: Path, key: SigningKey | None) -> None:
        self.root = root
        self.key = key
        self.updated_s = int(time.time()) - 60
        """The `updated` of the last publication; starts in the past so that it need never be ahead."""
        self.index_entries: dict[str, dict[str, Any]] = {}
        """Raw entries for the next index: over the computed one of the same name, or extra ones."""
        self._documents: dict[str, dict[str, Any]] = {}
        self._items: dict[str, TreeItem] = {}
        self._written_ns = 0

    def document(self, content_id: str = MAAS_CONTENT_ID) -> dict[str, Any]:
        """Return the products list to be published, to read or to doctor; made when first asked for."""
        return self._documents.setdefault(
            content_id,
            {"content_id": content_id, "datatype": "image-ids", "format": "products:1.0", "products": {}},
        )

    def product(
        self, product: str, content_id: str = MAAS_CONTENT_ID, **attributes: object
    ) -> dict[str, Any]:
        """Return a product, made if need be, with these attributes set."""
        products = self.document(content_id)["products"]
        found: dict[str, Any] = products.setdefault(product, {"versions": {}})
        found.update(attributes)
        return found

    def version(
        self, product: str, version: str, content_id: str = MAAS_CONTENT_ID, **attributes: object
    ) -> dict[str, Any]:
        """Return a version, made if need be, with these attributes set."""
        versions = self.product(product, content_id)["versions"]
        found: dict[str, Any] = versions.setdefault(version, {"items": {}})
        found.update(attributes)
        return found

    def add_item(
        self,
        product: str,
        version: str,
        name: str,
        *,
        path: str | None = None,
        size: int | None = None,
        data: bytes | None = None,
        seed: str | int | None = None,
        content_id: str = MAAS_CONTENT_ID,
        **fields: object,
    ) -> TreeItem:
        """List an item and write its bytes: `data`, or `size` bytes that only `seed` decides.

        The seed is the path unless given. A path already in the tree keeps its bytes unless `data`,
        `seed` or another `size` is given, so that products can share it.
        """
        path = path or f"{product.replace(':', '/')}/{version}/{name}"
        item = self._items.get(path)
        shared = item is not None and data is None and seed is None and size in {None, item.size}
        if item is None or not shared:
            blocks = [data] if data is not None else random_blocks(path if seed is None else seed, size)
            item = self._store(path, blocks)
        entry = {"ftype": name, "path": path, "sha256": item.digest, "size": item.size, **fields}
        self.version(product, version, content_id)["items"][name] = entry
        return item

    def item(self, path: str) -> TreeItem:
        """Return the item added under a path."""
        return self._items[path]

    @property
    def items(self) -> list[TreeItem]:
        """All items, one for each path."""
        return list(self._items.values())

    def write(self, path: str, data: bytes) -> Path:
        """Put raw bytes at a path, whatever the lists say."""
        return self._replace(path, [data])

    def remove(self, path: str) -> None:
        """Delete an item's file and all its listings; versions and products left empty go, too."""
        self._drop(lambda _product, _version, item: item.get("path") == path)

    def remove_version(self, version: str, product: str | None = None) -> None:
        """Delete a version, of one product or of all, with the files that nothing else lists."""
        self._drop(lambda named, found, _item: found == version and product in {None, named})

    def publish(self, *, updated: float | None = None, detached: bool = False) -> None:
        """Write lists, then indexes, each atomically: .json, with a key also .sjson, if `detached` .json.gpg.

        `updated` is in seconds since 1970; unless given it is one second after the last one.
        """
        self.updated_s = self.updated_s + 1 if updated is None else int(updated)
        for content_id, document in self._documents.items():
            document["updated"] = self._updated_text()
            self._publish_json(f"streams/v1/{content_id}.json", document, detached=detached)
            self._publish_signed(f"streams/v1/{content_id}.sjson", document)
        self._publish_json("streams/v1/index.json", self._index("json"), detached=detached)
        self._publish_signed("streams/v1/index.sjson", self._index("sjson"))

    def _updated_text(self) -> str:
        return formatdate(self.updated_s).replace("-0000", "+0000")

    def _index(self, suffix: str) -> dict[str, Any]:
        entries = {
            content_id: {
                "datatype": document.get("datatype"),
                "format": document.get("format"),
                "path": f"streams/v1/{content_id}.{suffix}",
                "products": sorted(document["products"]),
                "updated": document["updated"],
            }
            for content_id, document in self._documents.items()
        }
        return {
            "format": "index:1.0",
            "index": entries | self.index_entries,
            "updated": self._updated_text(),
        }

    def _publish_json(self, path: str, document: dict[str, Any], *, detached: bool) -> None:
        text = _json(document)
        self._replace(path, [text], modified_s=self.updated_s)
        if detached and self.key is not None:
            self._replace(f"{path}.gpg", [self.key.detach(text)], modified_s=self.updated_s)

    def _publish_signed(self, path: str, document: dict[str, Any]) -> None:
        if self.key is not None:
            self._replace(path, [self.key.clearsign(_json(document))], modified_s=self.updated_s)

    def _store(self, path: str, blocks: Iterable[bytes]) -> TreeItem:
        sha256 = hashlib.sha256()
        data_path = self._replace(path, _hashed(blocks, sha256.update))
        item = TreeItem(path, Digest(sha256.hexdigest()), data_path.stat().st_size, data_path)
        self._items[path] = item
        return item

    def _replace(self, path: str, blocks: Iterable[bytes], modified_s: int | None = None) -> Path:
        """Write a file beside its place and move it there."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.new")
        with draft.open("wb") as file:
            file.writelines(blocks)
        # Kernel time is too coarse to tell quick successive versions apart, and an ETag is made of it.
        self._written_ns = max(time.time_ns(), self._written_ns + 1_000_000)
        modified_ns = self._written_ns if modified_s is None else modified_s * 1_000_000_000
        os.utime(draft, ns=(modified_ns, modified_ns))
        draft.replace(target)
        return target

    def _drop(self, unwanted: Callable[[str, str, dict[str, Any]], bool]) -> None:
        """Drop listings by product, version and item, what that leaves empty, and files no longer listed."""
        dropped: set[str] = set()
        for products in [document["products"] for document in self._documents.values()]:
            for product, version, items in list(_versions(products)):
                names = [name for name, item in items.items() if unwanted(product, version, item)]
                dropped.update(items.pop(name).get("path", "") for name in names)
                if names and not items:
                    del products[product]["versions"][version]
                if names and not products[product]["versions"]:
                    del products[product]
        for path in dropped - self._listed_paths():
            if (item := self._items.pop(path, None)) is not None:
                item.data_path.unlink(missing_ok=True)

    def _listed_paths(self) -> set[str]:
        return {
            item["path"]
            for document in self._documents.values()
            for _product, _version, items in _versions(document["products"])
            for item in items.values()
            if "path" in item
        }


def random_blocks(seed: str | int, size: int | None = None) -> Iterator[bytes]:
    """Make `size` bytes, 4096 unless given, that look random and depend on nothing but `seed`."""
    source = random.Random(seed)
    left = _ITEM_BYTES if size is None else size
    while left > 0:
        block = source.randbytes(min(left, _BLOCK_BYTES))
        left -= len(block)
        yield block


def _versions(products: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for product, body in products.items():
        for version, held in body.get("versions", {}).items():
            yield product, version, held.get("items", {})


def _hashed(blocks: Iterable[bytes], update: Callable[[bytes], None]) -> Iterator[bytes]:
    for block in blocks:
        update(block)
        yield block


def _json(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()
