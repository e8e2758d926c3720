"""Where the files of a data directory are: the program tells nobody, and yet they lie there."""

from pathlib import Path

from proxy.store.local.reader import LocalReader


class Layout:
    """The folders of one data directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = root / "blobs" / "sha256"
        self.incoming = root / "incoming"
        self.quarantine = root / "quarantine"
        self.ledger = root / "ledger"

    def path(self, digest: str) -> Path:
        """Return where a blob is, or would be."""
        return self.blobs / digest[:2] / digest

    def partial(self, digest: str) -> Path:
        """Return where a partial file is, or would be."""
        return self.incoming / digest


def layout_of(store: LocalReader) -> Layout:
    """Return where a store's files are."""
    return Layout(store._folders.root)
