"""What somebody who carries a bundle could do to it, without anybody's key."""

import gzip
import json
import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from proxy.bundles.contents import File
from proxy.bundles.oci import INDEX_PATH, blob_path
from proxy.digest import Digest, digest_of
from support.drafted_bundles import Draft, add_file, draft_of
from support.keys import SigningKey
from support.tree import SignedTree

INCOMPLETE, REFUSED = 3, 4
INDEX = "streams/v1/index.sjson"
LIST = "streams/v1/com.ubuntu.maas:stable:v3:download.sjson"
OTHER_LIST = "streams/v1/com.ubuntu.maas:1:bootloader-download.sjson"
PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"


@dataclass(frozen=True, kw_only=True)
class Booty:
    """What a courier has in his hands."""

    good: Draft
    """A bundle of the newest generation."""
    served: Draft
    """One of the generation before, which a site has."""
    old: Draft
    """One of a generation before that."""
    other: Draft
    """One of another stream of the same publisher."""
    stranger: SigningKey

    @property
    def item(self) -> File:
        """Return an item that is new."""
        known = set(self.served.contents.items)
        return next(one for one in self.good.contents.items if one not in known)

    @property
    def blob(self) -> str:
        """Return where it lies."""
        return blob_path(self.item.sha256)

    def bytes_at(self, path: str) -> bytes:
        """Return a file of the newest generation."""
        return self.good.files[next(one.sha256 for one in self.good.contents.files() if one.path == path)]

    def with_files(self, changed: dict[str, bytes]) -> Draft:
        """Return the bundle with other bytes at some paths, and all digests to match."""

        def renewed(files: tuple[File, ...]) -> tuple[File, ...]:
            return tuple(
                replace(one, sha256=digest_of(changed[one.path]), size=len(changed[one.path]))
                if one.path in changed
                else one
                for one in files
            )

        contents = self.good.contents
        contents = replace(contents, documents=renewed(contents.documents), items=renewed(contents.items))
        files = {**self.good.files, **{digest_of(data): data for data in changed.values()}}
        return replace(self.good, contents=contents, files=files)


Tamper = Callable[[Booty, Path], Path]
"""Writes what was tampered with at a path, and returns it."""


@dataclass(frozen=True)
class Way:
    """A way to tamper with a bundle."""

    name: str
    tamper: Tamper
    code: int
    """With which exit code an import has to end."""
    plainly: str
    """What the plain importer says, among other things."""
    ours: str
    """What `import` says."""
    is_alone: bool
    """Whether what is right in it would be of use to another bundle of the same import."""


WAYS: list[Way] = []


def way(
    plainly: str, ours: str, code: int = REFUSED, *, is_alone: bool = False
) -> Callable[[Tamper], Tamper]:
    """Add a way, named as its function is."""

    def add(tamper: Tamper) -> Tamper:
        name = tamper.__name__.replace("_", " ")
        WAYS.append(Way(name, tamper, code, plainly, ours, is_alone))
        return tamper

    return add


def draft_booty(folder: Path, key: SigningKey, stranger: SigningKey) -> Booty:
    """Publish three generations of a stream and one of another, and make bundles of them."""
    tree, other = SignedTree(folder / "stable", key), SignedTree(folder / "daily", key)
    for name in ("squashfs", "boot-kernel"):
        tree.add_item(PRODUCT, "20260101", name, size=3000)
        other.add_item(PRODUCT, "20260101", name, content_id="com.ubuntu.maas:daily:v3:download")
    tree.add_item("grub", "1", "grub", content_id="com.ubuntu.maas:1:bootloader-download")
    tree.publish()
    old = draft_of(tree, mirror="maas")
    tree.publish()
    served = draft_of(tree, mirror="maas")
    tree.add_item(PRODUCT, "20260201", "squashfs", size=4000)
    tree.publish()
    other.publish(updated=tree.updated_s + 5)
    good, another = draft_of(tree, mirror="maas"), draft_of(other, mirror="maas")
    return Booty(good=good, served=served, old=old, other=another, stranger=stranger)


def _plain(path: str) -> str:
    return path.replace(".sjson", ".json")


def _text_of(signed: bytes) -> bytes:
    return signed.split(b"\n\n", 1)[1].split(b"\n-----BEGIN", 1)[0] + b"\n"


# What is inside a file.


@way("Wrong bytes: ", "its bytes are not those that the signed list names", is_alone=True)
def an_item_has_other_bytes(booty: Booty, path: Path) -> Path:
    draft = replace(booty.good, also={booty.blob: bytes(booty.item.size)})
    return draft.write_folder(path)


@way("Wrong bytes: ", "longer there than its signed list says", is_alone=True)
def an_item_is_longer(booty: Booty, path: Path) -> Path:
    data = booty.good.files[booty.item.sha256] + b"more"
    return replace(booty.good, also={booty.blob: data}).write_tar(path)


@way("Missing: ", "it is cut off there", INCOMPLETE, is_alone=True)
def an_item_is_cut_short(booty: Booty, path: Path) -> Path:
    data = booty.good.files[booty.item.sha256][:-1]
    return replace(booty.good, also={booty.blob: data}).write_folder(path)


@way("has no good signature", "changed after")
def a_list_says_something_else(booty: Booty, path: Path) -> Path:
    data = booty.bytes_at(LIST).replace(b"squashfs", b"squashfz", 1)
    return booty.with_files({LIST: data}).write_folder(path)


@way("has no good signature", "not in the mirror's keyring")
def a_list_is_signed_by_a_stranger(booty: Booty, path: Path) -> Path:
    data = booty.stranger.clearsign(_text_of(booty.bytes_at(LIST)))
    return booty.with_files({LIST: data}).write_tar(path)


@way("has no good signature", "not in the mirror's keyring")
def all_documents_are_signed_by_a_stranger(booty: Booty, path: Path) -> Path:
    documents = [one.path for one in booty.good.contents.documents if one.path.endswith(".sjson")]
    signed = {one: booty.stranger.clearsign(_text_of(booty.bytes_at(one))) for one in documents}
    return booty.with_files(signed).write_folder(path)


@way("is not one signed text", "unsigned text stands before")
def text_stands_before_what_is_signed(booty: Booty, path: Path) -> Path:
    return booty.with_files({INDEX: booty.bytes_at(INDEX).replace(b"-----", b"{}\n-----", 1)}).write_folder(
        path
    )


@way("is not one signed text", "unsigned text stands after")
def text_stands_behind_what_is_signed(booty: Booty, path: Path) -> Path:
    return booty.with_files({INDEX: booty.bytes_at(INDEX) + b"{}\n"}).write_tar(path)


@way("is not one signed text", "not clear-signed")
def an_index_has_lost_its_signature(booty: Booty, path: Path) -> Path:
    return booty.with_files({INDEX: _text_of(booty.bytes_at(INDEX))}).write_folder(path)


@way("does not say what the signed document beside it says", "does not say what")
def a_plain_flavour_says_something_else(booty: Booty, path: Path) -> Path:
    plain = "streams/v1/index.json"
    data = booty.bytes_at(plain).replace(b"image-ids", b"image-odd", 1)
    return booty.with_files({plain: data}).write_folder(path)


# What is whose: all signatures are good.


@way("where com.ubuntu.maas:stable:v3:download should be", "not 'com.ubuntu.maas:stable:v3:download'")
def a_list_lies_in_the_place_of_another(booty: Booty, path: Path) -> Path:
    places = {LIST: OTHER_LIST, _plain(LIST): _plain(OTHER_LIST)}
    return booty.with_files({one: booty.bytes_at(other) for one, other in places.items()}).write_tar(path)


@way("is older than the one in", "older")
def the_generation_is_older_than_the_one_served(booty: Booty, path: Path) -> Path:
    return booty.old.write_folder(path)


@way("is of another stream", "is of another stream")
def it_is_another_stream_of_the_same_publisher(booty: Booty, path: Path) -> Path:
    return booty.other.write_folder(path)


@way("no signed list names", "says of it what its signed list does not", is_alone=True)
def an_item_is_added_that_no_list_names(booty: Booty, path: Path) -> Path:
    data = b"#!/bin/sh"
    added = File(path="noble/rc.local", sha256=digest_of(data), size=len(data))
    contents = replace(booty.good.contents, items=(*booty.good.contents.items, added))
    return replace(
        booty.good, contents=contents, files={**booty.good.files, added.sha256: data}
    ).write_folder(path)


@way("no signed list names", "says of it what its signed list does not", is_alone=True)
def two_items_have_changed_their_names(booty: Booty, path: Path) -> Path:
    first = booty.item
    second, *others = [one for one in booty.good.contents.items if one != first]
    swapped = (replace(first, path=second.path), replace(second, path=first.path), *others)
    return replace(booty.good, contents=replace(booty.good.contents, items=swapped)).write_tar(path)


@way("no signed list names", "says of it what its signed list does not", is_alone=True)
def two_items_that_are_held_have_changed_their_names(booty: Booty, path: Path) -> Path:
    held = set(booty.served.contents.items)
    first, second, *_ = [one for one in booty.good.contents.items if one in held]
    others = [one for one in booty.good.contents.items if one not in {first, second}]
    swapped = (replace(first, path=second.path), replace(second, path=first.path), *others)
    return replace(booty.good, contents=replace(booty.good.contents, items=swapped)).write_folder(path)


@way("an operator has signed the bundle", "signature", is_alone=True)
def a_stranger_has_signed_the_bundle(booty: Booty, path: Path) -> Path:
    return replace(booty.good, signer=booty.stranger).write_folder(path)


# What the bundle says of itself.


@way("has other bytes than its name promises", "damaged")
def the_contents_have_been_edited(booty: Booty, path: Path) -> Path:
    place, data = _contents(booty.good)
    return replace(booty.good, also={place: data.replace(b'"maas"', b'"mass"')}).write_folder(path)


@way("the list of contents is missing", "it lacks what says what it holds", INCOMPLETE)
def the_contents_are_lost(booty: Booty, path: Path) -> Path:
    return booty.good.write_folder(path, lacking=[_contents(booty.good)[0]])


@way("disagree on what is carried", "disagree on")
def the_manifest_has_another_title(booty: Booty, path: Path) -> Path:
    name = booty.item.path.encode()
    edit = _replacing(name, name.replace(b"2026", b"2027"))
    return replace(booty.good, edit_manifest=edit).write_tar(path)


@way("cannot be read", "cannot be read")
def a_path_leads_out_of_the_tree(booty: Booty, path: Path) -> Path:
    edit = _replacing(booty.item.path.encode(), b"../../outside")
    return replace(booty.good, edit_manifest=edit, edit_contents=edit).write_folder(path)


@way("cannot be read", "cannot be read")
def a_path_is_absolute(booty: Booty, path: Path) -> Path:
    edit = _replacing(booty.item.path.encode(), b"/outside")
    return replace(booty.good, edit_manifest=edit, edit_contents=edit).write_tar(path)


@way("names a path twice", "twice")
def a_path_is_named_twice(booty: Booty, path: Path) -> Path:
    first, second, *_ = booty.good.contents.items
    edit = _replacing(first.path.encode(), second.path.encode())
    return replace(booty.good, edit_manifest=edit, edit_contents=edit).write_folder(path)


@way("it may be a container image", "container image")
def it_is_a_container_image(booty: Booty, path: Path) -> Path:
    edit = _replacing(b"vnd.sstream-proxy.contents.v1", b"vnd.oci.image.config.v1")
    return replace(booty.good, edit_manifest=edit).write_folder(path)


@way("nested too deeply", "nested too deeply")
def the_index_is_nested_endlessly(booty: Booty, path: Path) -> Path:
    return replace(booty.good, also={INDEX_PATH: b"[" * 100_000}).write_tar(path)


@way("more objects than an honest one", "objects and lists")
def the_contents_are_a_bomb(booty: Booty, path: Path) -> Path:
    bomb = b'{"version": 1, "documents": [' + b"[]," * 400_000 + b"[]]}"
    return replace(booty.good, edit_contents=lambda _: bomb).write_folder(path)


# What the medium holds.


@way("is a link or a device", "link", is_alone=True)
def an_item_is_a_link(booty: Booty, path: Path) -> Path:
    folder = booty.good.write_folder(path, lacking=[booty.blob])
    (folder / booty.blob).symlink_to("/etc/passwd")
    return folder


@way("is a link or a device", "no plain file", is_alone=True)
def an_item_is_a_pipe(booty: Booty, path: Path) -> Path:
    folder = booty.good.write_folder(path, lacking=[booty.blob])
    os.mkfifo(folder / booty.blob)
    return folder


def _with_member(booty: Booty, path: Path, name: str, kind: bytes, target: str = "") -> Path:
    booty.good.write_tar(path)
    with tarfile.open(path, "a") as tar:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, target
        tar.addfile(member)
    return path


@way("leads out of it", "is an absolute path")
def a_tar_names_an_absolute_path(booty: Booty, path: Path) -> Path:
    return _with_member(booty, path, "/outside", tarfile.REGTYPE)


@way("leads out of it", "leads out of the bundle")
def a_tar_names_a_path_outside(booty: Booty, path: Path) -> Path:
    return _with_member(booty, path, "blobs/../../outside", tarfile.REGTYPE)


@way("is a link or a device", "is a symbolic link")
def a_tar_has_a_link(booty: Booty, path: Path) -> Path:
    return _with_member(booty, path, "blobs/sha256/" + "0" * 64, tarfile.SYMTYPE, "/etc/passwd")


@way("is a link or a device", "is a hard link")
def a_tar_has_a_hard_link(booty: Booty, path: Path) -> Path:
    return _with_member(booty, path, "blobs/sha256/" + "0" * 64, tarfile.LNKTYPE, "../outside")


@way("is a link or a device", "is a block device")
def a_tar_has_a_device(booty: Booty, path: Path) -> Path:
    return _with_member(booty, path, "blobs/sha256/" + "0" * 64, tarfile.BLKTYPE)


@way("twice", "twice")
def a_tar_names_a_file_twice(booty: Booty, path: Path) -> Path:
    booty.good.write_tar(path)
    with tarfile.open(path, "a") as tar:
        add_file(tar, booty.blob, bytes(booty.item.size))
    return path


@way("is none, is compressed, or is damaged", "is packed by gzip")
def a_tar_is_compressed(booty: Booty, path: Path) -> Path:
    path.write_bytes(gzip.compress(booty.good.write_tar(path).read_bytes(), 1))
    return path


@way("is none, is compressed, or is damaged", "its checksum is wrong")
def a_head_in_a_tar_is_damaged(booty: Booty, path: Path) -> Path:
    data = bytearray(booty.good.write_tar(path).read_bytes())
    at = data.index(booty.blob.encode())
    data[at + 124] ^= 1
    path.write_bytes(data)
    return path


@way("Missing: ", "it ends after", INCOMPLETE, is_alone=True)
def a_tar_ends_in_the_middle(booty: Booty, path: Path) -> Path:
    data = booty.good.write_tar(path).read_bytes()
    path.write_bytes(data[: data.index(booty.blob.encode()) + 700])
    return path


def _contents(draft: Draft) -> tuple[str, bytes]:
    """Return where the contents of a bundle lie, and their text."""
    files = draft.layout()
    (named,) = json.loads(files[INDEX_PATH])["manifests"]
    manifest: dict[str, Any] = json.loads(files[blob_path(Digest(named["digest"][7:]))])
    place = blob_path(Digest(manifest["config"]["digest"][7:]))
    return place, files[place]


def _replacing(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data.replace(old, new)
