"""What people find in a bundle: a text about it, and digests that `sha256sum` checks. Pure."""

from collections.abc import Iterable, Sequence

from proxy.bundles.contents import Contents
from proxy.digest import Digest
from proxy.readable import counted, date, printable, size

README_PATH = "README.txt"
SUMS_PATH = "SHA256SUMS"


def readme(contents: Sequence[Contents], parts: int, importer_path: str) -> bytes:
    """Return what a bundle is, and how it is imported; the same in all parts."""
    lines = ["Boot images, carried from one sstream-proxy to another.", ""]
    for one in contents:
        carried = [file for file in one.files() if file.is_carried]
        lines.append(
            f"Mirror {one.mirror}: generation {one.generation} of {date(one.updated or one.accepted_at)},"
            f" {printable(one.selection) or 'as it was chosen'};"
        )
        lines.append(f"  {counted(len(carried), 'file')}, {size(one.carried_bytes)}{_since(one)}.")
    if parts > 1:
        lines.append(f"It has {parts} parts. Each can be imported by itself, in any order.")
    lines += ["", "Import it:       sstream-proxy import THIS-FOLDER-OR-TAR ..."]
    if importer_path:
        lines.append(
            f"Without that:    python3 {importer_path} --help   (needs Python 3 and gpgv, nothing else)"
        )
        lines += [
            f"                 A courier could have changed {importer_path}, too. Before you run it, compare",
            f"                 `sha256sum {importer_path}` with what `export` printed when it wrote this.",
        ]
    lines += [
        "Into a registry: skopeo copy oci:THIS-FOLDER:MIRROR docker://REGISTRY/NAME:TAG",
        "Look at it:      sha256sum -c SHA256SUMS   (finds what was damaged on the way, not what was forged)",
        "The form is an OCI image layout: index.json names a manifest for each mirror, and that its files.",
        "",
    ]
    return "\n".join(lines).encode()


def sums(files: Iterable[tuple[str, Digest]]) -> bytes:
    """Return paths and digests in the form of `sha256sum`."""
    return "".join(f"{digest}  {path}\n" for path, digest in files).encode()


def _since(contents: Contents) -> str:
    return f", besides what {printable(contents.since)} has" if contents.since else ""
