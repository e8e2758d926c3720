"""Bundles made by hand from a signed tree, so that tests can make wrong ones; and the plain importer."""

import os
import runpy
import subprocess
import sys
import tarfile
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from io import BytesIO, TextIOWrapper
from pathlib import Path

import proxy.bundles
from proxy.bundles.contents import Contents, File, write_contents
from proxy.bundles.oci import (
    IMPORTER_TITLE,
    INDEX_PATH,
    LAYOUT,
    LAYOUT_PATH,
    SIGNATURE_TITLE,
    Descriptor,
    blob_path,
    write_index,
    write_manifest,
)
from proxy.digest import Digest, digest_of
from proxy.simplestreams.paths import canonical_path
from support.keys import SigningKey
from support.tree import SignedTree

IMPORTER = Path(proxy.bundles.__file__).with_name("plain_importer.py")
MIRROR = "test"


@dataclass(kw_only=True)
class Draft:
    """A bundle in the making: change it, then write it."""

    contents: Contents
    files: dict[Digest, bytes]
    """The bytes of documents and items."""
    signer: SigningKey | None = None
    edit_manifest: Callable[[bytes], bytes] = bytes
    edit_contents: Callable[[bytes], bytes] = bytes
    also: dict[str, bytes] = field(default_factory=dict)
    """More files of the layout, or other bytes for some."""

    def without_items(self, paths: Iterable[str]) -> "Draft":
        """Return the difference bundle for whoever has these files already."""
        known = set(paths)
        documents, items = (
            tuple(replace(one, is_carried=one.path not in known) for one in files)
            for files in (self.contents.documents, self.contents.items)
        )
        return replace(self, contents=replace(self.contents, documents=documents, items=items))

    def layout(self) -> dict[str, bytes]:
        """Return the files of the layout, in the order in which a tar has them."""
        text = self.edit_contents(write_contents(self.contents))
        extras = {IMPORTER_TITLE: IMPORTER.read_bytes()}
        if self.signer is not None:
            extras[SIGNATURE_TITLE] = self.signer.detach(text)
        named = [_descriptor(data, title) for title, data in extras.items()]
        manifest = self.edit_manifest(write_manifest(self.contents, _descriptor(text), named))
        carried = [self.files[one.sha256] for one in self.contents.files() if one.is_carried]
        blobs = [manifest, text, *extras.values(), *carried]
        files = {LAYOUT_PATH: LAYOUT, INDEX_PATH: write_index([_descriptor(manifest, self.contents.mirror)])}
        files |= {blob_path(digest_of(data)): data for data in blobs}
        files["import-bundle.py"] = extras[IMPORTER_TITLE]
        return files | self.also

    def write_folder(self, folder: Path, lacking: Iterable[str] = ()) -> Path:
        """Write the layout as a folder, without what a part may lack."""
        lacking = set(lacking)
        for name, data in self.layout().items():
            if name not in lacking:
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        return folder

    def write_tar(self, path: Path, lacking: Iterable[str] = ()) -> Path:
        """Write the layout as a tar, without what a part may lack."""
        lacking = set(lacking)
        with tarfile.open(path, "w") as tar:
            for name, data in self.layout().items():
                if name not in lacking:
                    add_file(tar, name, data)
        return path


def add_file(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a regular file to a tar."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, BytesIO(data))


def draft_of(tree: SignedTree, index_path: str = "streams/v1/index.sjson", *, mirror: str = MIRROR) -> Draft:
    """Return a bundle of all that is in a tree."""
    documents: list[File] = []
    items: list[File] = []
    files = {}
    for path in sorted(one for one in tree.root.rglob("*") if one.is_file()):
        data = path.read_bytes()
        name = canonical_path(str(path.relative_to(tree.root)))
        file = File(path=name, sha256=digest_of(data), size=len(data))
        files[file.sha256] = data
        (documents if file.path.startswith("streams/") else items).append(file)
    contents = Contents(
        mirror=mirror,
        generation=1,
        index_path=index_path,
        accepted_at=float(tree.updated_s),
        written_at=float(tree.updated_s),
        documents=tuple(documents),
        items=tuple(items),
    )
    return Draft(contents=contents, files=files)


def item_blobs(draft: Draft) -> list[str]:
    """Return where the items are in the layout."""
    return [blob_path(one.sha256) for one in draft.contents.items]


@dataclass(frozen=True)
class Ended:
    """How a run of the plain importer ended."""

    code: int
    said: str
    """On the error output: what matters to whoever started it."""
    told: str


def run_importer(
    *arguments: str | Path,
    python: str = sys.executable,
    program: Path = IMPORTER,
    stdin: bytes = b"",
    path: str | None = None,
) -> Ended:
    """Run the plain importer as a site would: with nothing but Python's standard library and gpgv."""
    done = subprocess.run(
        [python, "-I", "-S", str(program), *map(str, arguments)],
        input=stdin,
        capture_output=True,
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8"} if path is None else {"PATH": path},
    )
    return Ended(done.returncode, done.stderr.decode(), done.stdout.decode())


class _Pipe(BytesIO):
    """Bytes that pass by once."""

    def seekable(self) -> bool:
        return False


def call_importer(*arguments: str | Path, stdin: bytes = b"") -> Ended:
    """Run the plain importer in this process, which is quicker. What it raises is raised."""
    out, err = (TextIOWrapper(BytesIO(), errors="backslashreplace") for _ in range(2))
    umask = os.umask(0o022)
    kept = sys.argv, sys.stdin, sys.stdout, sys.stderr
    sys.argv = [str(IMPORTER), *map(str, arguments)]
    sys.stdin, sys.stdout, sys.stderr = TextIOWrapper(_Pipe(stdin)), out, err
    told = out.buffer
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # A program leaves closing its files to its end.
            code = _run_main()
        sys.stdout.flush()
        err.flush()
        return Ended(code, err.buffer.getvalue().decode(), told.getvalue().decode())
    finally:
        sys.argv, sys.stdin, sys.stdout, sys.stderr = kept
        os.umask(umask)


def _run_main() -> int:
    try:
        return int(runpy.run_path(str(IMPORTER))["main"]())
    except SystemExit as error:
        return int(str(error.code))


def files_of(root: Path) -> dict[str, bytes]:
    """Return the files of a tree, without what importers keep for themselves."""
    found = (one for one in root.rglob("*") if one.is_file() and ".sstream-proxy" not in one.parts)
    return {str(one.relative_to(root)): one.read_bytes() for one in found}


def _descriptor(data: bytes, name: str = "") -> Descriptor:
    return Descriptor(digest=digest_of(data), size_bytes=len(data), name=name)
