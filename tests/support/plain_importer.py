"""A site that has nothing of ours but the plain importer, and what is carried to it."""

from pathlib import Path

from support.drafted_bundles import (
    Draft,
    Ended,
    call_importer,
    draft_of,
    files_of,
)
from support.tree import SignedTree

PRODUCT = "com.ubuntu.maas:v3:boot:24.04:amd64:ga-24.04"
INDEX = "streams/v1/index.sjson"


def add_version(tree: SignedTree, version: str) -> Draft:
    """Publish another version, and return the bundle of all."""
    for name in ("boot-kernel", "squashfs"):
        tree.add_item(PRODUCT, version, name, size=3000)
    tree.add_item(PRODUCT, version, "odd", path=f"odd/{version}%3Aa%2Bb", data=b"")
    tree.publish(detached=True)
    return draft_of(tree)


def expected(draft: Draft) -> dict[str, bytes]:
    return {one.path: draft.files[one.sha256] for one in draft.contents.files()}


class Site:
    """A site without us."""

    def __init__(self, folder: Path, keyring: Path) -> None:
        self.tree = folder / "site"
        self.keyring = keyring
        self._more = 0
        self._folder = folder

    def take(self, *arguments: str | Path, stdin: bytes = b"") -> Ended:
        """Run the importer into this site's tree."""
        return call_importer(*self.start, *arguments, stdin=stdin)

    @property
    def start(self) -> list[str | Path]:
        """Return what a command line begins with."""
        return ["--keyring", self.keyring, "--to", self.tree]

    @property
    def files(self) -> dict[str, bytes]:
        return files_of(self.tree)
