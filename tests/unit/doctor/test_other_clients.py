"""LXD, Incus, Juju, virt-builder and Multipass: what each needs besides what MAAS needs."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.certificates import Certificate, make_certificate
from support.examining import Doctor, codes, hasty
from support.faults import Fault
from support.images import IMAGES, PRODUCT, VERSION, image_tree
from support.keys import SigningKey
from support.origin import Origin
from support.tree import SignedTree

from proxy.doctor.findings import Severity

WARNING, NOTE = Severity.WARNING, Severity.NOTE
CLIENTS = ("lxd", "incus", "juju", "virt-builder", "multipass", "sstream")
INDEX = "streams/v1/index.json"
BOTH = ("lxd", "incus")
LIST = f"streams/v1/{IMAGES}.json"
ITEM = f"releases/noble/{VERSION}"

Document = dict[str, Any]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, key: SigningKey) -> SignedTree:
    return image_tree(tmp_path_factory.mktemp("images") / "tree", key)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
async def server(images: SignedTree, certificate: Certificate) -> AsyncIterator[Origin]:
    async with Origin(images.root, tls=certificate.server) as origin:
        yield origin


@pytest.fixture
def change(images: SignedTree) -> Iterator[Callable[[str, Callable[[Document], object]], None]]:
    """Return what changes an unsigned document, until the test ends."""
    before: dict[Path, bytes] = {}

    def change(path: str, how: Callable[[Document], object]) -> None:
        place = images.root / path
        before.setdefault(place, place.read_bytes())
        content = json.loads(place.read_bytes())
        how(content)
        place.write_text(json.dumps(content))

    yield change
    for place, data in before.items():
        place.write_bytes(data)


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_good_mirror_has_neither_faults_nor_warnings(
    client: str, server: Origin, doctor: Doctor, certificate: Certificate
) -> None:
    report = await doctor.examine(server.url, client, authority=certificate.authority)

    assert not codes(report), report.findings
    assert not codes(report, WARNING), report.findings
    assert report.tried["whole_items"] > 0


def versions(content: Document) -> Document:
    found: Document = content["products"][PRODUCT]["versions"]
    return found


def item(content: Document, name: str) -> Document:
    found: Document = versions(content)[VERSION]["items"][name]
    return found


@dataclass(frozen=True)
class Seed:
    """What is changed in the list, or in the index, and what each client makes of it."""

    change: Callable[[Document], object]
    code: str
    clients: tuple[str, ...]
    severity: Severity = Severity.FAULT
    path: str = LIST


def changing(**changes: object) -> Callable[[Document], object]:
    return lambda content: content["products"][PRODUCT].update(changes)


def in_entry(**changes: object) -> Callable[[Document], object]:
    return lambda content: content["index"][IMAGES].update(changes)


def spoil_fingerprint(content: Document) -> None:
    item(content, "lxd.tar.xz")["combined_disk1-img_sha256"] = "ab" * 32


def rename_versions(content: Document) -> None:
    content["products"][PRODUCT]["versions"] = dict(zip("ab", versions(content).values(), strict=True))


IN_DOCUMENTS = {
    "size as a text": Seed(lambda c: item(c, "squashfs").update(size="9000"), "list-misfit", BOTH),
    "a number as an alias": Seed(changing(aliases=24), "list-misfit", BOTH),
    "supported as a text": Seed(changing(supported="yes"), "list-misfit", ("lxd",)),
    "an unknown architecture": Seed(changing(arch="pdp11"), "nothing", BOTH),
    "versions that are no dates": Seed(rename_versions, "nothing", BOTH),
    "no metadata for containers": Seed(
        lambda c: [v["items"].pop("lxd.tar.xz") for v in versions(c).values()], "nothing", ("lxd",)
    ),
    "no common hash": Seed(
        lambda c: [
            v["items"]["lxd.tar.xz"].pop(name)
            for v in versions(c).values()
            for name in ("combined_squashfs_sha256", "combined_disk1-img_sha256")
        ],
        "nothing",
        ("lxd",),
    ),
    "wrong common hash": Seed(
        lambda c: item(c, "lxd.tar.xz").update({"combined_disk1-img_sha256": "ab" * 32}),
        "combined",
        ("lxd",),
        WARNING,
    ),
    "no hash": Seed(lambda c: item(c, "squashfs").pop("sha256"), "item-unproven", BOTH),
    "no hash but sha512": Seed(
        lambda c: item(c, "squashfs").update(sha512=item(c, "squashfs").pop("sha256") * 2),
        "item-unproven",
        BOTH,
    ),
    "products as an object": Seed(
        in_entry(products={}),
        "index-misfit",
        BOTH,
        path=INDEX,
    ),
    "no products in the index": Seed(
        in_entry(products=[]),
        "nothing",
        BOTH,
        path=INDEX,
    ),
    "another type": Seed(
        in_entry(datatype="image-ids"),
        "nothing",
        ("lxd", "incus", "multipass"),
        path=INDEX,
    ),
    "no products": Seed(lambda c: c["products"].clear(), "list-misfit", ("multipass",)),
    "wrong hash": Seed(lambda c: item(c, "disk1.img").update(sha256="ab" * 32), "item-hash", ("lxd",)),
}


@pytest.mark.parametrize(
    ("seed", "client"),
    [
        pytest.param(seed, client, id=f"{name}, {client}")
        for name, seed in IN_DOCUMENTS.items()
        for client in seed.clients
    ],
)
async def test_what_a_client_cannot_read_is_found(
    seed: Seed,
    client: str,
    server: Origin,
    doctor: Doctor,
    certificate: Certificate,
    change: Callable[[str, Callable[[Document], object]], None],
) -> None:
    change(seed.path, seed.change)

    report = await doctor.examine(server.url, client, authority=certificate.authority)

    assert seed.code in codes(report, seed.severity), report.findings


async def test_who_does_not_read_the_format_of_an_index_needs_none(
    server: Origin,
    doctor: Doctor,
    certificate: Certificate,
    change: Callable[[str, Callable[[Document], object]], None],
) -> None:
    change(INDEX, lambda content: content.pop("format"))

    for client in ("lxd", "incus", "multipass"):
        report = await doctor.examine(server.url, client, authority=certificate.authority)
        assert report.is_content, report.findings


IN_SERVER = {
    "index absent": ("streams/v1/index.json", Fault(status=404), "absent", ("lxd", "incus", "multipass")),
    "page": ("streams/v1/*", Fault(body=b"<html>"), "login-page", ("lxd", "multipass")),
    "index of zeros": ("streams/v1/*", Fault(body=bytes(99)), "zeros", ("incus",)),
    "no JSON": ("streams/v1/index.json", Fault(body=b"{'a'"), "not-json", ("lxd", "incus", "multipass")),
    "item absent": (f"{ITEM}/*", Fault(status=404), "item-absent", ("lxd", "virt-builder", "multipass")),
    "item changed": (f"{ITEM}/*", Fault(corrupt_at=9), "item-hash", ("lxd", "incus", "virt-builder")),
    "item cut": (f"{ITEM}/*", Fault(cut_after=9), "cut", ("incus", "virt-builder")),
    "item packed": (f"{ITEM}/*", Fault(gzip=True), "encoding-unasked", ("virt-builder",)),
    "index packed": ("streams/v1/index.sjson", Fault(gzip=True), "encoding-unasked", ("virt-builder",)),
    "index not in time": ("streams/v1/index.json", Fault(latency_s=600), "silent", ("multipass", "lxd")),
    "item not in time": (f"{ITEM}/*", Fault(latency_s=600), "silent", ("lxd",)),
    "signature": ("streams/v1/index.sjson", Fault(corrupt_at=200), "signature-bad", ("juju", "virt-builder")),
}


@pytest.mark.parametrize(
    ("pattern", "fault", "code", "client"),
    [
        pytest.param(pattern, fault, code, client, id=f"{name}, {client}")
        for name, (pattern, fault, code, clients) in IN_SERVER.items()
        for client in clients
    ],
)
async def test_what_a_server_does_wrong_is_found(
    pattern: str,
    fault: Fault,
    code: str,
    client: str,
    server: Origin,
    doctor: Doctor,
    certificate: Certificate,
) -> None:
    server.fault(pattern, fault)
    chosen = hasty(client) if fault.latency_s else client

    report = await doctor.examine(server.url, chosen, authority=certificate.authority)

    assert code in codes(report), report.findings


async def test_lxd_is_told_that_it_refuses_plain_http(images: SignedTree, doctor: Doctor) -> None:
    async with Origin(images.root) as origin:
        report = await doctor.examine(origin.url, "lxd")

    assert codes(report) == {"https-needed"}


async def test_juju_takes_the_second_index_where_there_is_one_and_no_signed_one_where_there_is_none(
    images: SignedTree, doctor: Doctor
) -> None:
    async with Origin(images.root) as origin:
        await doctor.examine(origin.url, "juju")
        asked = [request.path for request in origin.requests][:2]
        origin.fault("streams/v1/*.sjson", Fault(status=404))

        report = await doctor.examine(origin.url, "juju")

    assert asked == ["streams/v1/index2.sjson", "streams/v1/index.sjson"]
    assert codes(report, WARNING) == {"fell-back"}
    assert report.is_content


async def test_virt_builder_is_told_that_head_fails(images: SignedTree, doctor: Doctor) -> None:
    async with Origin(images.root) as origin:
        assert (await doctor.examine(origin.url, "virt-builder")).is_content
        heads = [request.path for request in origin.requests if request.method == "HEAD"]

    assert len(heads) == 2


async def test_juju_fetches_agents_and_leaves_images_to_others(images: SignedTree, doctor: Doctor) -> None:
    async with Origin(images.root) as origin:
        origin.fault(f"{ITEM}/*", Fault(status=404))

        report = await doctor.examine(origin.url, "juju")

    assert report.is_content
    assert codes(report, WARNING) == {"item-absent"}
