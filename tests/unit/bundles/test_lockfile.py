"""A lockfile is read as it was written, can be compared line by line, and is believed in nothing."""

import base64
import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from proxy.bundles.contents import Contents, File
from proxy.bundles.lockfile import Locked, Lockfile, LockfileUnreadable, read_lockfile, write_lockfile
from proxy.digest import Digest, digest_of

INDEX_BYTES, LIST_BYTES = b"the index\n", b"a list \xff\n" * 100


def document(path: str, data: bytes) -> File:
    return File(path=path, sha256=digest_of(data), size=len(data))


INDEX = document("streams/v1/index.sjson", INDEX_BYTES)
LIST = document("streams/v1/list.sjson", LIST_BYTES)
KERNEL = File(path="noble/kernel", sha256=Digest("b" * 64), size=9)
INITRD = File(path="noble/initrd", sha256=Digest("c" * 64), size=8)
CONTENTS = Contents(
    mirror="maas",
    generation=3,
    index_path=INDEX.path,
    accepted_at=1.5,
    written_at=2.0,
    origins=("https://images.maas.io/",),
    documents=(LIST, INDEX),
    items=(KERNEL, INITRD),
)
LOCK = Lockfile(
    recording="lab",
    locked=(Locked(contents=CONTENTS, unasked=(LIST.path,)),),
    data={INDEX.sha256: INDEX_BYTES, LIST.sha256: LIST_BYTES},
)
TEXT = write_lockfile(LOCK)


def test_it_is_read_as_it_was_written_but_for_its_order() -> None:
    read = read_lockfile(TEXT)
    ordered = replace(CONTENTS, documents=(INDEX, LIST), items=(INITRD, KERNEL))
    assert read == replace(LOCK, locked=(Locked(contents=ordered, unasked=(LIST.path,)),))
    assert write_lockfile(read) == TEXT
    assert read.mirrors == ("maas",)
    assert read.of_mirror("maas")[0].served_documents == (INDEX,)
    assert read.of_mirror("other") == ()


def test_another_item_is_another_line() -> None:
    other = replace(CONTENTS, items=(KERNEL, replace(INITRD, size=80)))
    lines = write_lockfile(replace(LOCK, locked=(Locked(contents=other, unasked=(LIST.path,)),))).splitlines()
    assert len([one for one, two in zip(TEXT.splitlines(), lines, strict=True) if one != two]) == 1


def doctored(change: Callable[[dict[str, Any]], object]) -> bytes:
    value = json.loads(TEXT)
    change(value)
    return json.dumps(value).encode()


def packed(data: bytes) -> list[str]:
    return [base64.b64encode(zlib.compress(data, 1)).decode()]


BOMB = packed(bytes(50_000_000))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "it is empty"),
        (TEXT.replace(b'  "mirrors"', b'<<<<<<< HEAD\n  "mirrors"'), "conflict in it, in line 4"),
        (b"[" * 100_000, "JSON"),
        (b"{}", "mirrors"),
        (TEXT[:-100], "not JSON"),
        (doctored(lambda value: value.update(version=2)), "newer release"),
        (doctored(lambda value: value.update(mirrors=[])), "names no mirror"),
        (doctored(lambda value: value["mirrors"].__imul__(1001)), "1000 generations"),
        (doctored(lambda value: value["documents"].pop(LIST.sha256)), "not in it"),
        (doctored(lambda value: value["documents"].update({LIST.sha256: ["!"]})), "cannot be unpacked"),
        (doctored(lambda value: value["documents"].update({LIST.sha256: packed(b"other")})), "damaged"),
        (doctored(lambda value: value["documents"].update({LIST.sha256: BOMB})), "damaged"),
        (doctored(lambda value: value["mirrors"][0].update(unasked=["x"])), "not among its documents"),
        (TEXT.replace(b"noble/kernel", b"../kernel"), "segment"),
        (TEXT.replace(f'"size": {len(LIST_BYTES)}'.encode(), b'"size": 999999999999'), "more than"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_none_is_refused_with_the_reason(text: bytes, told: str) -> None:
    with pytest.raises(LockfileUnreadable, match=told):
        read_lockfile(text)


def test_what_a_later_release_adds_is_passed_over() -> None:
    def add(value: dict[str, Any]) -> None:
        value["hint"] = value["mirrors"][0]["hint"] = value["mirrors"][0]["contents"]["hint"] = "later"

    assert read_lockfile(doctored(add)) == read_lockfile(TEXT)
