"""What a MAAS does with a source on import: index, lists, gpgv, and the files that are selected."""

import asyncio
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import ClientError, ClientSession

_BOOT_FILES = {"boot-kernel", "boot-initrd", "squashfs", "root-image.gz", "root-tgz"}
_BOOT_LOADERS = {("pxe", "i386"), ("uefi", "amd64"), ("uefi", "arm64"), ("open-firmware", "ppc64el")}
_SIGNED = "-----BEGIN PGP SIGNED MESSAGE-----"

Wanted = set[tuple[str, str, str]]


class SourceFault(Exception):
    """A source from which nothing is imported."""


@dataclass
class Fetched:
    """An image, as far as it is here."""

    name: str
    architecture: str
    version: str
    size: int = 0
    done: int = 0
    is_complete: bool = False

    @property
    def percent(self) -> float:
        return 100.0 * self.done / self.size if self.size else 0.0

    def is_of(self, os: str, release: str, arch: str) -> bool:
        """Whether it belongs to what is selected."""
        return self.name == f"{os}/{release}" and self.architecture.split("/")[0] == arch


async def fetch_source(
    session: ClientSession,
    url: str,
    keyring: bytes,
    wanted: Wanted,
    images: dict[str, Fetched],
    gate: asyncio.Event,
    learn: Callable[[Wanted], None],
) -> None:
    """Import what is wanted of a source. Raises SourceFault."""
    base = url.rstrip("/")
    try:
        index = await _signed(session, f"{base}/streams/v1/index.sjson", keyring)
        lists = [
            await _signed(session, f"{base}/{entry['path']}", keyring) for entry in index["index"].values()
        ]
    except (ClientError, OSError, TimeoutError, ValueError) as error:
        raise SourceFault(f"{url}: {error}") from error
    products = {name: one for of_list in lists for name, one in of_list["products"].items()}
    learn({(one["os"], one["release"], one["arch"]) for one in products.values() if "release" in one})
    await gate.wait()
    await asyncio.gather(
        *(
            _fetch(session, base, name, one, images)
            for name, one in products.items()
            if _is_wanted(one, wanted)
        )
    )


def _is_wanted(product: dict[str, Any], wanted: Wanted) -> bool:
    if "bootloader-type" in product:
        return bool(wanted) and (product["bootloader-type"], product["arch"]) in _BOOT_LOADERS
    return (product["os"], product["release"], product["arch"]) in wanted


async def _fetch(
    session: ClientSession, base: str, name: str, product: dict[str, Any], images: dict[str, Fetched]
) -> None:
    version = max(product["versions"])
    items = list(_items(product["versions"][version]["items"]))
    release = product.get("release", product.get("bootloader-type", ""))
    arch = f"{product['arch']}/{product.get('subarch', 'generic')}"
    image = Fetched(f"{product['os']}/{release}", arch, version, sum(item["size"] for item in items))
    images[name] = image
    for item in items:
        try:
            async with session.get(f"{base}/{item['path']}", allow_redirects=False) as response:
                body = await response.read()
        except (ClientError, TimeoutError):
            return
        if len(body) != item["size"] or hashlib.sha256(body).hexdigest() != item["sha256"]:
            return
        image.done += len(body)
    image.is_complete = True


def _items(items: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for item in items.values():
        if item["ftype"] in _BOOT_FILES or item["ftype"] == "archive.tar.xz":
            yield item


async def _signed(session: ClientSession, url: str, keyring: bytes) -> Any:
    """Fetch a signed document and verify it as MAAS does: by gpgv, whose exit status decides."""
    async with session.get(url) as response:
        text = await response.text()
        if response.status != 200:
            raise SourceFault(f"{url}: No signature found! (HTTP {response.status})")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "keyring.gpg")
        await asyncio.to_thread(file.write_bytes, keyring)
        process = await asyncio.create_subprocess_exec(
            *("gpgv", f"--keyring={file}", "-"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        _, told = await process.communicate(text.encode())
    if process.returncode:
        raise SourceFault(f"{url}: {told.decode()[:200]}")
    _, _, body = text.partition("\n\n")
    body, _, _ = body.partition("-----BEGIN PGP SIGNATURE-----")
    return json.loads(body)
