"""A bundle in the terms of OCI: an image layout with a manifest for each mirror. Pure.

    oci-layout                  says that it is a layout
    index.json                  names the manifest of each mirror, under the mirror's name
    blobs/sha256/<64 hex>       manifests, configurations, documents, items

A manifest's configuration is the mirror's `Contents`; each layer is a file that is carried,
and its title is the file's path below the mirror's root. A file that is no part of the mirror
(the importer, a signature) has a title below `EXTRAS`. Sources: OCI image specification 1.0,
image-layout.md, manifest.md, annotations.md.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from proxy.bundles.contents import LARGEST_BYTES, Contents
from proxy.digest import Digest, parse_digest
from proxy.errors import ProxyError

LAYOUT = b'{"imageLayoutVersion": "1.0.0"}\n'
LAYOUT_PATH = "oci-layout"
INDEX_PATH = "index.json"
BLOBS = "blobs/sha256/"
EXTRAS = ".sstream-proxy/"
"""Titles of layers that are no files of the mirror begin so."""
IMPORTER_TITLE = f"{EXTRAS}import-bundle.py"
SIGNATURE_TITLE = f"{EXTRAS}contents.asc"
"""An operator's detached signature over the configuration, which names all files by digest."""

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
BUNDLE_TYPE = "application/vnd.sstream-proxy.bundle.v1"
CONTENTS_TYPE = "application/vnd.sstream-proxy.contents.v1+json"
FILE_TYPE = "application/vnd.sstream-proxy.file.v1"
TITLE = "org.opencontainers.image.title"
REF_NAME = "org.opencontainers.image.ref.name"

MOST_PUSHED_BYTES = 4 * 1024 * 1024
"""Registries take no larger manifest (distribution 2.8, registry/handlers/manifests.go)."""
_MOST_MIRRORS = 1000


class LayoutUnreadable(ProxyError):
    """What should be an OCI image layout with a bundle in it is none."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """A blob that something names."""

    digest: Digest
    size_bytes: int
    name: str = ""
    """The title of a layer, the mirror of a manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What the bundle says of one mirror in the terms of OCI."""

    contents: Descriptor
    layers: tuple[Descriptor, ...]


def blob_path(digest: Digest) -> str:
    """Return where a blob lies in a layout."""
    return BLOBS + digest


def write_manifest(contents: Contents, configuration: Descriptor, extras: Iterable[Descriptor]) -> bytes:
    """Return the manifest of one mirror: its files that are carried, documents first, then the extras."""
    carried = [file for file in contents.files() if file.is_carried]
    layers = [
        *extras,
        *(Descriptor(digest=one.sha256, size_bytes=one.size, name=one.path) for one in carried),
    ]
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": BUNDLE_TYPE,
        "config": _written(configuration, CONTENTS_TYPE),
        "layers": [{**_written(one, FILE_TYPE), "annotations": {TITLE: one.name}} for one in layers],
    }
    return json.dumps(manifest, ensure_ascii=False, indent=1).encode()


def write_index(manifests: Iterable[Descriptor]) -> bytes:
    """Return `index.json`, which names the manifests by their mirrors."""
    named = [{**_written(one, MANIFEST_TYPE), "annotations": {REF_NAME: one.name}} for one in manifests]
    index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": named}
    return json.dumps(index, ensure_ascii=False, indent=1).encode()


def read_layout(data: bytes) -> None:
    """Raise LayoutUnreadable unless this is the text of `oci-layout`, of a version that is known."""
    version = _object(data, LAYOUT_PATH).get("imageLayoutVersion")
    if not isinstance(version, str) or not version.startswith("1."):
        raise LayoutUnreadable(f"{LAYOUT_PATH} is of version {version!r:.40}; known is 1.0.0")


def read_index(data: bytes) -> tuple[Descriptor, ...]:
    """Return the manifests that `index.json` names. Raises LayoutUnreadable."""
    manifests = _list(_object(data, INDEX_PATH), "manifests", INDEX_PATH)
    if len(manifests) > _MOST_MIRRORS:
        raise LayoutUnreadable(f"{INDEX_PATH} names more than {_MOST_MIRRORS} manifests")
    found = tuple(_descriptor(one, REF_NAME, INDEX_PATH) for one in manifests)
    if not found:
        raise LayoutUnreadable(f"{INDEX_PATH} names no manifest, so nothing is in this bundle")
    return found


def too_large_for_registries(index: bytes) -> tuple[Descriptor, ...]:
    """Return the manifests that `index.json` names and that no registry takes, for their many files."""
    return tuple(one for one in read_index(index) if one.size_bytes > MOST_PUSHED_BYTES)


def read_manifest(data: bytes) -> Manifest:
    """Return what a manifest says. Raises LayoutUnreadable."""
    what = "a manifest"
    manifest = _object(data, what)
    configuration = manifest.get("config")
    if not isinstance(configuration, dict) or configuration.get("mediaType") != CONTENTS_TYPE:
        raise LayoutUnreadable("a manifest in it is none of sstream-proxy: it may be a container image")
    layers = tuple(_descriptor(one, TITLE, what) for one in _list(manifest, "layers", what))
    return Manifest(contents=_descriptor(configuration, "", what), layers=layers)


def check_layers(contents: Contents, manifest: Manifest) -> None:
    """Raise LayoutUnreadable unless a manifest's layers are the files that its contents say are carried."""
    promised = {(one.path, one.sha256, one.size) for one in contents.files() if one.is_carried}
    layers = [one for one in manifest.layers if not one.name.startswith(EXTRAS)]
    named = {(one.name, one.digest, one.size_bytes) for one in layers}
    if len(named) != len(layers):
        raise LayoutUnreadable(f"the manifest of mirror {contents.mirror} names a layer twice")
    if named != promised:
        path, *_ = min(named ^ promised)
        raise LayoutUnreadable(
            f"the manifest of mirror {contents.mirror} and its contents disagree on {path!r:.200}"
        )


def _written(one: Descriptor, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": f"sha256:{one.digest}", "size": one.size_bytes}


def _object(data: bytes, what: str) -> dict[str, Any]:
    if len(data) > LARGEST_BYTES:
        raise LayoutUnreadable(f"{what} has more than {LARGEST_BYTES} bytes")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise LayoutUnreadable(f"{what} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise LayoutUnreadable(f"{what} is no JSON object")
    return value


def _list(value: Mapping[str, Any], name: str, what: str) -> list[Any]:
    found = value.get(name)
    if not isinstance(found, list):
        raise LayoutUnreadable(f"{what} has no list {name!r}")
    return found


def _descriptor(value: Any, annotation: str, what: str) -> Descriptor:
    """Return the blob that an entry names; its name is the annotation's."""
    digest, size = (value.get("digest"), value.get("size")) if isinstance(value, dict) else (None, None)
    if not isinstance(digest, str) or not digest.startswith("sha256:"):
        raise LayoutUnreadable(f"{what} names a blob without a sha256: {value!r:.200}")
    if type(size) is not int or size < 0:
        raise LayoutUnreadable(f"{what} names {digest:.80} without a size")
    annotations = value.get("annotations") or {}
    name = annotations.get(annotation, "") if isinstance(annotations, dict) else ""
    if not isinstance(name, str):
        raise LayoutUnreadable(f"{what} names {digest:.80} by something that is no text")
    try:
        return Descriptor(digest=parse_digest(digest.removeprefix("sha256:")), size_bytes=size, name=name)
    except ProxyError as error:
        raise LayoutUnreadable(f"{what}: {error}") from error
