"""The doctor's verdict beside what the reference client really does with the same mirror."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.examining import Doctor
from support.keys import SigningKey
from support.origin import Origin
from support.tree import SignedTree

INDEX, LIST = "streams/v1/index.sjson", "streams/v1/c:d.sjson"
MIRROR_TOOL = Path(sys.executable).with_name("sstream-mirror")

Spoil = Callable[[SignedTree, SigningKey], None]


def in_index(change: Callable[[bytes], bytes]) -> Spoil:
    def spoil(tree: SignedTree, _: SigningKey) -> None:
        tree.write(INDEX, change((tree.root / INDEX).read_bytes()))

    return spoil


def in_item(change: Callable[[dict[str, Any]], object]) -> Spoil:
    def spoil(tree: SignedTree, key: SigningKey) -> None:
        content = json.loads((tree.root / LIST.replace(".sjson", ".json")).read_bytes())
        change(content["products"]["p"]["versions"]["20260101"]["items"]["squashfs"])
        tree.write(LIST, key.clearsign(json.dumps(content).encode()))

    return spoil


def by_two_keys(tree: SignedTree, key: SigningKey) -> None:
    content = json.loads((tree.root / INDEX.replace(".sjson", ".json")).read_bytes())
    content["index"]["c:d"]["path"] = LIST
    with SigningKey("Other <other@example.test>") as other:
        tree.write(INDEX, key.clearsign_with(other, json.dumps(content).encode()))


SEEDS: dict[str, tuple[Spoil, bool]] = {
    "nothing": (lambda _tree, _key: None, True),
    "text before": (in_index(lambda raw: b"Mirrored by us\n" + raw), False),
    "a byte order mark": (in_index(lambda raw: b"\xef\xbb\xbf" + raw), False),
    "text behind": (in_index(lambda raw: raw + b"Mirrored by us\n"), True),
    "ends of lines": (in_index(lambda raw: raw.replace(b"\n", b"\r\n")), True),
    "cut off": (in_index(lambda raw: raw[:-40]), False),
    "two keys": (by_two_keys, False),
    "a hash in capitals": (in_item(lambda item: item.update(sha256=item["sha256"].upper())), False),
    "a size as a text": (in_item(lambda item: item.update(size="500")), False),
    "an absolute path": (in_item(lambda item: item.update(path=f"/{item['path']}")), False),
    "no checksum": (in_item(lambda item: item.pop("sha256")), False),
    "a wrong hash": (in_item(lambda item: item.update(sha256="ab" * 32)), False),
}


@pytest.fixture(params=SEEDS)
def seed(request: pytest.FixtureRequest, tree: SignedTree, key: SigningKey) -> bool:
    """Publish a small mirror with something wrong; return whether the client is content."""
    tree.add_item("p", "20260101", "squashfs", size=500, content_id="c:d")
    tree.publish()
    spoil, is_content = SEEDS[request.param]
    spoil(tree, key)
    return is_content


async def test_the_doctor_says_what_sstream_mirror_does(
    *, seed: bool, origin: Origin, doctor: Doctor, keyring: Path, tmp_path: Path
) -> None:
    report = await doctor.examine(origin.url, "sstream")
    command = (MIRROR_TOOL, f"--keyring={keyring}", origin.url, tmp_path / "out")
    client = await asyncio.create_subprocess_exec(*map(str, command), stderr=subprocess.PIPE)
    _, said = await client.communicate()

    assert (client.returncode == 0) == seed, said.decode()
    assert report.is_content == seed, report.findings
