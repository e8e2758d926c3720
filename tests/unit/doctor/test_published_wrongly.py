"""A tree with something wrong in it, behind a good server: each fault is found, by name."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from support.examining import Doctor, codes
from support.keys import SigningKey
from support.origin import Origin
from support.tree import SignedTree

from proxy.doctor.findings import Severity
from proxy.doctor.gpgv import Gpgv

INDEX = "streams/v1/index.sjson"
ID = "com.ubuntu.maas:stable:v3:download"
LIST = f"streams/v1/{ID}.sjson"
GA = "com.ubuntu.maas.stable:v3:boot:24.04:amd64:ga-24.04"
NEWEST = "20250709"

Document = dict[str, Any]
WARNING, NOTE = Severity.WARNING, Severity.NOTE


class Signer:
    """Rewrites the documents of a tree that is made once; what was changed is put back."""

    def __init__(self, tree: SignedTree, key: SigningKey, others: dict[str, SigningKey]) -> None:
        self.root = tree.root
        self.key = key
        self.others = others
        self._before: dict[Path, bytes | None] = {}

    def write(self, path: str, data: bytes) -> None:
        """Put bytes at a path."""
        place = self.root / path
        self._before.setdefault(place, place.read_bytes() if place.exists() else None)
        place.write_bytes(data)

    def content(self, path: str) -> Document:
        """Return what a document says."""
        found: Document = json.loads((self.root / path.replace(".sjson", ".json")).read_bytes())
        for entry in found.get("index", {}).values():
            entry["path"] = entry["path"].replace(".json", ".sjson")
        return found

    def write_signed(self, path: str, text: bytes) -> None:
        """Publish any text, signed."""
        self.write(path, self.key.clearsign(text))

    def sign(self, path: str, content: Document, key: SigningKey | None = None) -> None:
        """Publish a document, signed."""
        text = json.dumps(content).encode()
        self.write(path, (key or self.key).clearsign(text))

    def restore(self) -> None:
        """Have the tree as it was."""
        for place, data in self._before.items():
            if data is None:
                place.unlink(missing_ok=True)
            else:
                place.write_bytes(data)


Spoil = Callable[[Signer], None]


@dataclass(frozen=True)
class Seed:
    """What is done to the tree, and what the doctor is to call it."""

    spoil: Spoil
    code: str
    client: str = "maas"
    severity: Severity = Severity.FAULT
    says: str = field(default="")


def in_index(change: Callable[[Document], None]) -> Spoil:
    """Change the index and sign it again."""

    def spoil(signer: Signer) -> None:
        content = signer.content(INDEX)
        change(content)
        signer.sign(INDEX, content)

    return spoil


def in_list(change: Callable[[Document], None]) -> Spoil:
    """Change the list of Ubuntu's images and sign it again."""

    def spoil(signer: Signer) -> None:
        content = signer.content(LIST)
        change(content)
        signer.sign(LIST, content)

    return spoil


def in_item(name: str, **changes: object) -> Spoil:
    """Change the fields of an item of the newest version, in each product; None takes one away."""

    def change(content: Document) -> None:
        for product in content["products"].values():
            item = product["versions"][NEWEST]["items"][name]
            item.update(changes)
            for gone in [key for key, value in changes.items() if value is None]:
                del item[gone]

    return in_list(change)


def in_product(**changes: object) -> Spoil:
    return in_list(lambda content: content["products"][GA].update(changes))


def without(name: str) -> Spoil:
    return in_list(lambda content: content["products"][GA].pop(name))


def without_item(name: str) -> Spoil:
    return in_list(lambda content: content["products"][GA]["versions"][NEWEST]["items"].pop(name))


def in_text(path: str, change: Callable[[bytes], bytes]) -> Spoil:
    return lambda signer: signer.write(path, change((signer.root / path).read_bytes()))


def saying(text: bytes) -> Spoil:
    return lambda signer: signer.write_signed(INDEX, text)


def signed_by(name: str) -> Spoil:
    return lambda signer: signer.sign(INDEX, signer.content(INDEX), signer.others[name])


def signed_twice(signer: Signer) -> None:
    """Sign a list by two keys, as publishers do who change keys."""
    text = json.dumps(signer.content(LIST)).encode()
    signer.write(LIST, signer.key.clearsign_with(signer.others["stranger"], text))


def signed_for_a_day(signer: Signer) -> None:
    """Sign the index by a signature that expired long ago, of a key that has not."""
    text = json.dumps(signer.content(INDEX)).encode()
    signer.write(INDEX, signer.others["early"].clearsign_for("1d", text))


def in_every_product(change: Callable[[Document], object]) -> Spoil:
    def change_all(content: Document) -> None:
        for product in content["products"].values():
            change(product)

    return in_list(change_all)


def without_title(product: Document) -> None:
    """Leave out what MAAS up to 3.7 does not read."""
    del product["release_title"]


def without_manifest(product: Document) -> None:
    for version in product["versions"].values():
        del version["items"]["manifest"]


def empty_lists(signer: Signer) -> None:
    """Publish an index of one list, which names nothing."""
    in_index(lambda c: c.update(index={ID: c["index"][ID]}))(signer)
    in_list(lambda c: c["products"].clear())(signer)


def promise_more(index: Document) -> None:
    index["index"][ID]["products"].append("other")


def date(days: float) -> str:
    return formatdate(time.time() + days * 86400).replace("-0000", "+0000")


SEEDS = {
    "index not signed": Seed(in_text(INDEX, lambda _: b'{"format": "index:1.0", "index": {}}'), "unsigned"),
    "index by a stranger": Seed(signed_by("stranger"), "signature-unknown"),
    "index by an expired key": Seed(signed_by("expired"), "signature-expired", severity=WARNING),
    "index by an expired key, Juju": Seed(signed_by("expired"), "signature-expired", "juju"),
    "index with a signature that has expired": Seed(signed_for_a_day, "signature-outdated"),
    "index by a revoked key": Seed(signed_by("revoked"), "signature-revoked"),
    "list by two keys": Seed(signed_twice, "signature-second"),
    "list for older MAAS": Seed(
        in_every_product(without_title), "list-unmodelled", severity=WARNING, says="up to 3.7 reads it"
    ),
    "list for older MAAS, 3.8": Seed(in_every_product(without_title), "list-misfit", "maas-3.8"),
    "list of images without manifests": Seed(in_every_product(without_manifest), "list-misfit"),
    "list of nothing, for a mirror": Seed(empty_lists, "nothing", "sstream"),
    "list re-formatted": Seed(in_text(LIST, lambda raw: raw.replace(b'": "', b'":  "')), "signature-bad"),
    "text before": Seed(in_text(INDEX, lambda raw: b"Mirrored by us\n" + raw), "envelope"),
    "text behind": Seed(
        in_text(INDEX, lambda raw: raw + b"Mirrored by us\n"), "envelope-after", severity=WARNING
    ),
    "two blocks": Seed(in_text(INDEX, lambda raw: raw + raw), "envelope", "maas-3.8"),
    "index cut off": Seed(in_text(INDEX, lambda raw: raw[:-40]), "cut-off", "sstream"),
    "no JSON": Seed(saying(b"{'a': 1}\n"), "not-json"),
    "not UTF-8": Seed(saying(b'{"a": "\xff"}\n'), "not-json", "maas-3.8"),
    "JSON that is no object": Seed(saying(b"[]\n"), "not-json"),
    "nested without end": Seed(saying(b'{"a":' * 90_000), "not-json"),
    "index of another format": Seed(in_index(lambda c: c.update(format="index:2.0")), "format"),
    "list in place of the index": Seed(
        lambda signer: signer.sign(INDEX, signer.content(LIST)), "format", "sstream"
    ),
    "index without lists": Seed(in_index(lambda c: c["index"].clear()), "index-misfit"),
    "index without lists, for a mirror": Seed(in_index(lambda c: c["index"].clear()), "no-lists", "sstream"),
    "entry without products": Seed(in_index(lambda c: c["index"][ID].pop("products")), "index-misfit"),
    "entry of an unknown type": Seed(in_index(lambda c: c["index"][ID].update(datatype="x")), "index-misfit"),
    "index without a date": Seed(in_index(lambda c: c.pop("updated")), "index-misfit"),
    "index with a date of its own": Seed(in_index(lambda c: c.update(updated="yesterday")), "index-misfit"),
    "entry whose path leads out": Seed(
        in_index(lambda c: c["index"][ID].update(path="../x.sjson")), "item-path"
    ),
    "entry with a type that Go refuses": Seed(
        in_index(lambda c: c["index"][ID].update(products={})), "index-misfit", "juju"
    ),
    "list without products": Seed(in_list(lambda c: c["products"].clear()), "list-misfit"),
    "list without a datatype": Seed(in_list(lambda c: c.pop("datatype")), "list-misfit"),
    "list of a type of its own": Seed(
        in_list(lambda c: c.update(datatype="text")), "list-misfit", "maas-3.8"
    ),
    "list without a content id": Seed(in_list(lambda c: c.pop("content_id")), "list-misfit", "sstream"),
    "product without an architecture": Seed(without("arch"), "list-misfit", says="arch"),
    "product without a title": Seed(without("release_title"), "list-misfit", says="release_title"),
    "product without an end of support": Seed(without("support_eol"), "list-misfit", says="support_eol"),
    "product with an odd end of support": Seed(in_product(support_eol="soon"), "list-misfit"),
    "product whose version is a number": Seed(in_product(version=24.04), "list-misfit"),
    "product without versions": Seed(in_product(versions={}), "list-misfit"),
    "version without a manifest": Seed(
        without_item("manifest"),
        "list-misfit",
        says="manifest",
    ),
    "version without a root": Seed(without_item("squashfs"), "list-misfit"),
    "item without a type": Seed(in_item("squashfs", ftype=None), "list-misfit"),
    "item without a hash": Seed(in_item("boot-kernel", sha256=None), "item-unproven"),
    "item without a size": Seed(in_item("boot-kernel", size=None), "item-unproven"),
    "item whose size is a text": Seed(in_item("boot-kernel", size="1501"), "item-unproven", "sstream"),
    "item with a hash in capitals": Seed(in_item("boot-kernel", sha256="AB" * 32), "item-case"),
    "item with another hash": Seed(in_item("boot-kernel", sha256="ab" * 32), "item-hash"),
    "item with another size": Seed(in_item("boot-kernel", size=77), "item-size"),
    "item whose path leads out": Seed(in_item("boot-kernel", path="/etc/passwd"), "item-path", "sstream"),
    "item with a question mark": Seed(in_item("boot-kernel", path="a?b"), "item-path"),
    "item at another host": Seed(in_item("boot-kernel", path="http://192.0.2.1/x"), "item-path"),
    "item under another path": Seed(in_item("squashfs", path="noble/nowhere/squashfs"), "item-absent"),
    "no files that MAAS knows": Seed(
        in_list(lambda c: c["products"].update({GA: {"versions": {}}})), "list-misfit"
    ),
    "list older than the index says": Seed(in_list(lambda c: c.update(updated=date(-9))), "list-older"),
    "list newer": Seed(
        in_index(lambda c: c["index"][ID].update(updated=date(-2))), "list-newer", severity=NOTE
    ),
    "old index": Seed(in_index(lambda c: c.update(updated=date(-200))), "old", severity=WARNING),
    "index of tomorrow": Seed(in_index(lambda c: c.update(updated=date(1))), "future", severity=WARNING),
    "product that is not in its list": Seed(
        in_index(promise_more),
        "product-missing",
        severity=WARNING,
    ),
    "product that is not in its list, Juju": Seed(in_index(promise_more), "product-missing", "juju"),
    "list of another name": Seed(in_list(lambda c: c.update(content_id="x")), "wrong-list", severity=WARNING),
}


@pytest.fixture(scope="module")
def others() -> Iterator[dict[str, SigningKey]]:
    """Return keys that are not as they should be."""
    with (
        SigningKey.expired() as expired,
        SigningKey.revoked() as revoked,
        SigningKey("Stranger <s@x.test>") as stranger,
        SigningKey("Early <e@x.test>", created_s=int(time.time()) - 9 * 86400) as early,
    ):
        yield {"expired": expired, "revoked": revoked, "stranger": stranger, "early": early}


@pytest.fixture
def signer(good: SignedTree, key: SigningKey, others: dict[str, SigningKey]) -> Iterator[Signer]:
    signer = Signer(good, key, others)
    yield signer
    signer.restore()


@pytest.fixture
def judge(tmp_path: Path, key: SigningKey, others: dict[str, SigningKey], doctor: Doctor) -> Gpgv:
    """Return who knows the good key, and those that have expired or been revoked."""
    path = tmp_path / "wide.gpg"
    known = (key, *(others[name] for name in ("expired", "revoked", "early")))
    path.write_bytes(b"".join(one.public_binary() for one in known))
    return doctor.judge(path)


@pytest.mark.parametrize("seed", SEEDS.values(), ids=SEEDS.keys())
async def test_each_fault_of_a_tree_is_found(
    seed: Seed, signer: Signer, mirror_server: Origin, doctor: Doctor, judge: Gpgv
) -> None:
    seed.spoil(signer)

    report = await doctor.examine(mirror_server.url, seed.client, judge=judge)

    assert seed.code in codes(report, seed.severity), report.findings
    assert any(seed.says in one.says for one in report.findings)
    if seed.severity is not Severity.FAULT:
        assert report.is_content, report.findings
