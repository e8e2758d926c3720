"""What a bundle says that it holds, and the same in the terms of OCI."""

from dataclasses import replace

import pytest

from proxy.bundles.contents import Contents, ContentsUnreadable, File, read_contents, write_contents
from proxy.bundles.oci import (
    Descriptor,
    LayoutUnreadable,
    check_layers,
    read_index,
    read_layout,
    read_manifest,
    too_large_for_registries,
    write_index,
    write_manifest,
)
from proxy.digest import Digest

INDEX = File(path="streams/v1/index.sjson", sha256=Digest("a" * 64), size=3)
KERNEL = File(path="noble/a:b+c%41", sha256=Digest("b" * 64), size=9)
KNOWN = File(path="jammy/kernel", sha256=Digest("b" * 64), size=9, is_carried=False)
CONTENTS = Contents(
    mirror="maas-v3",
    generation=3,
    index_path=INDEX.path,
    accepted_at=1.5,
    written_at=2.0,
    documents=(INDEX,),
    items=(KERNEL, KNOWN),
)
TEXT = write_contents(CONTENTS)
CONFIGURATION = Descriptor(digest=Digest("c" * 64), size_bytes=len(TEXT))


def test_contents_are_read_as_they_were_written() -> None:
    assert read_contents(TEXT) == CONTENTS
    assert CONTENTS.carried_bytes == 12
    assert len(TEXT.splitlines()) > 15


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"jammy/kernel", b"../kernel"),
        (b"jammy/kernel", b"/kernel"),
        (b"jammy/kernel", b"jammy//kernel"),
        (b"jammy/kernel", b"jammy\\\\kernel"),
        (b"jammy/kernel", KERNEL.path.encode()),
        (b"b" * 64, b"B" * 64),
        (b"b" * 64, b"b" * 63),
        (b'"size": 9', b'"size": -9'),
        (b'"size": 9', b'"size": "9"'),
        (b'"version": 1', b'"version": 2'),
        (b'"index_path": "s', b'"index_path": "t'),
        (b"}\n", b""),
    ],
)
def test_contents_that_say_something_else_are_refused(before: bytes, after: bytes) -> None:
    assert before in TEXT
    with pytest.raises(ContentsUnreadable):
        read_contents(TEXT.replace(before, after, 1))


def test_a_manifest_has_a_layer_for_each_file_that_is_carried() -> None:
    extra = Descriptor(digest=Digest("d" * 64), size_bytes=1, name=".sstream-proxy/x")
    manifest = read_manifest(write_manifest(CONTENTS, CONFIGURATION, [extra]))
    assert [one.name for one in manifest.layers] == [extra.name, INDEX.path, KERNEL.path]
    assert manifest.contents == CONFIGURATION
    check_layers(CONTENTS, manifest)
    without = replace(manifest, layers=manifest.layers[:-1])
    double = replace(manifest, layers=(*manifest.layers, manifest.layers[-1]))
    for other in (without, double):
        with pytest.raises(LayoutUnreadable):
            check_layers(CONTENTS, other)


def test_some_13000_files_are_too_many_for_a_registry() -> None:
    items = [replace(KERNEL, path=f"com.ubuntu.maas/stable/v3/boot/{number:060}") for number in range(14_000)]

    def index(count: int) -> bytes:
        manifest = write_manifest(replace(CONTENTS, items=tuple(items[:count])), CONFIGURATION, [])
        return write_index([Descriptor(digest=Digest("e" * 64), size_bytes=len(manifest), name="maas-v3")])

    assert [one.name for one in too_large_for_registries(index(14_000))] == ["maas-v3"]
    assert too_large_for_registries(index(10_000)) == ()


def test_an_index_names_manifests_by_mirror() -> None:
    one = Descriptor(digest=Digest("e" * 64), size_bytes=1, name="maas-v3")
    assert read_index(write_index([one])) == (one,)


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b'{"manifests": 1}', b'{"manifests": []}', b'{"manifests": [{"digest": 1}]}']
)
def test_an_index_that_names_nothing_is_refused(text: bytes) -> None:
    with pytest.raises(LayoutUnreadable):
        read_index(text)


@pytest.mark.parametrize("text", [b"", b"[", b"[]", b"{}", b'{"imageLayoutVersion": 1}', b"[" * 100_000])
def test_a_layout_of_no_known_version_is_refused(text: bytes) -> None:
    with pytest.raises(LayoutUnreadable):
        read_layout(text)


def test_a_container_image_is_no_bundle() -> None:
    manifest = b'{"config": {"mediaType": "application/vnd.oci.image.config.v1+json"}, "layers": []}'
    with pytest.raises(LayoutUnreadable, match="container image"):
        read_manifest(manifest)
