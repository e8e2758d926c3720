"""What a MAAS region reads, in its order, and what its lists say."""

import asyncio
import json
from typing import Any
from urllib.parse import urljoin

from support.maas import BOOTLOADER_CONTENT_ID, CENTOS_CONTENT_ID
from support.running import RunningProxy
from support.tree import MAAS_CONTENT_ID

SIGNED_INDEX = "streams/v1/index.sjson"
PLAIN_INDEX = "streams/v1/index.json"
LISTS = [f"streams/v1/{name}" for name in (MAAS_CONTENT_ID, BOOTLOADER_CONTENT_ID, CENTOS_CONTENT_ID)]
"""Without the end of their names."""
MAAS_38_HEADERS = {"Accept": "*/*", "Accept-Encoding": "gzip, deflate"}
MAAS_37_HEADERS = {**MAAS_38_HEADERS, "User-Agent": "maas/3.7.0/1234-g.abc/0b9fd3f2-5c1e-4b5e-uuid"}


async def read_as_maas(proxy: RunningProxy, base: str, index: str = SIGNED_INDEX) -> dict[str, bytes]:
    """Read what a region reads, in its order: the index, its lists one by one, then all items at once."""
    bodies: dict[str, bytes] = {}

    async def read(path: str) -> bytes:
        async with proxy.session.get(urljoin(base, path), headers=MAAS_38_HEADERS) as response:
            assert (response.status, response.history) == (200, ()), path
            bodies[path] = await response.read()
            return bodies[path]

    lists = [entry["path"] for entry in parsed(await read(index))["index"].values()]
    texts = [parsed(await read(path)) for path in lists]
    async with asyncio.TaskGroup() as group:
        for path in sorted({path for text in texts for path in item_paths(text)}):
            group.create_task(read(path))
    return bodies


def parsed(raw: bytes) -> dict[str, Any]:
    """Read the JSON of a list, clear-signed or not."""
    text = raw.partition(b"\n\n")[2].partition(b"-----BEGIN PGP SIGNATURE")[0] if raw[:1] == b"-" else raw
    return dict(json.loads(text))


def item_paths(products: dict[str, Any]) -> list[str]:
    """List the paths of all items of a products list."""
    versions = [
        version for product in products["products"].values() for version in product["versions"].values()
    ]
    return [item["path"] for version in versions for item in version["items"].values()]
