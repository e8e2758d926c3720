"""Where in a data directory the blobs are, and what their files look like."""

import os
from pathlib import Path

from proxy.digest import Digest
from proxy.system.durable import make_folder

DRAFT_PREFIX = "put-"
"""Of files that belong to nobody once no process has locked them."""

VERIFIED_MODE = 0o444
"""Blobs are read-only, so that nobody writes into one by mistake. It proves nothing."""
PARTIAL_MODE = 0o644


class Folders:
    """The folders of one data directory."""

    __slots__ = ("blobs", "incoming", "quarantine", "root")

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = root / "blobs" / "sha256"
        self.incoming = root / "incoming"
        self.quarantine = root / "quarantine"

    def make(self) -> None:
        """Make the folders that are not there."""
        for folder in (self.blobs, self.incoming, self.quarantine):
            make_folder(folder)

    def blob(self, digest: Digest) -> Path:
        """Return where a blob is, or would be."""
        return self.blobs / digest[:2] / digest

    def partial(self, digest: Digest) -> Path:
        """Return where the partial file of a blob is, or would be."""
        return self.incoming / digest

    def draft(self, name: str) -> Path:
        """Return where this process keeps a draft of that name."""
        return self.incoming / f"{DRAFT_PREFIX}{name}-{os.getpid()}"
