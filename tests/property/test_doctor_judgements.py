"""Whatever an index or a list says, the doctor judges it, in words that can be printed."""

import contextlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from proxy.doctor.checks.documents import Document
from proxy.doctor.checks.lists import entries_of, of_index, of_list
from proxy.doctor.checks.replies import BadEncoding, unpacked
from proxy.doctor.clients import CLIENTS, Client
from proxy.doctor.wanted import wanted
from proxy.doctor.wording import Voice

NAMES = [
    "index",
    "products",
    "versions",
    "items",
    "path",
    "format",
    "datatype",
    "updated",
    "content_id",
    "arch",
    "arches",
    "label",
    "os",
    "release",
    "size",
    "sha256",
    "ftype",
    "squashfs",
    "manifest",
    "root-tgz",
    "boot-kernel",
    "boot-initrd",
    "bootloader-type",
    "lxd.tar.xz",
    "combined_squashfs_sha256",
    "20260401",
    "_aliases",
    "products:1.0",
    "index:1.0",
    "image-downloads",
    "pubname",
    "disk1.img",
    "support_eol",
]
TEXTS = st.one_of(st.sampled_from(NAMES), st.text(max_size=8), st.just("http://[::1"), st.just("../x"))
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    TEXTS,
    st.just("Thu, 24 Jul 2025 08:01:48 +0000"),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=5)),
    max_leaves=30,
)
ITEMS = st.dictionaries(TEXTS, st.one_of(VALUES, st.dictionaries(TEXTS, LEAVES, max_size=6)), max_size=4)
VERSIONS = st.dictionaries(TEXTS, st.one_of(VALUES, st.fixed_dictionaries({"items": ITEMS})), max_size=3)
PRODUCTS = st.dictionaries(
    TEXTS, st.one_of(VALUES, st.fixed_dictionaries({"versions": VERSIONS})), max_size=3
)
LISTS = st.one_of(
    st.dictionaries(TEXTS, VALUES),
    st.fixed_dictionaries({"products": st.one_of(VALUES, PRODUCTS)}, optional={"updated": VALUES}),
)
INDEXES = st.one_of(
    st.dictionaries(TEXTS, VALUES),
    st.fixed_dictionaries(
        {"index": st.dictionaries(TEXTS, st.dictionaries(TEXTS, VALUES))}, optional={"updated": VALUES}
    ),
)


@given(st.sampled_from(list(CLIENTS.values())), INDEXES, LISTS, st.dictionaries(TEXTS, VALUES))
def test_whatever_documents_say_is_judged(
    client: Client, index: dict[str, Any], listed: dict[str, Any], entry: dict[str, Any]
) -> None:
    voice = Voice(client)
    found = [
        *of_index(client, voice, Document("the index", "http://h/i", content=index), 1e9),
        *of_list(client, voice, Document("a list", "http://h/l", content=listed), ("x", entry), 1e9),
    ]

    entries_of(client, index)
    assert all(file.path for file in wanted(client, [listed, index]))
    for one in found:
        assert one.says.isprintable()
        assert one.mend.isprintable()
        json.dumps(one.as_json())


@given(st.binary(max_size=300), st.sampled_from(["gzip", "x-gzip", "deflate", "br", "", "\x1b"]))
def test_whatever_is_said_to_be_packed_is_unpacked_or_refused(data: bytes, encoding: str) -> None:
    with contextlib.suppress(BadEncoding):
        assert len(unpacked(data, encoding, 1000)) <= 1001
