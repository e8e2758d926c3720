"""What lists name, as files to search: `listings/<64 hex>.contents`, beside the packed list of the same text.

They follow from the texts, so they may be lost or removed at any time. All methods block.
"""

import contextlib
import logging
import os
from functools import partial
from pathlib import Path

from proxy.digest import Digest
from proxy.simplestreams.contents import Contents, ContentsDamaged
from proxy.simplestreams.listing import ListingDamaged
from proxy.store.files import remove
from proxy.store.listings import check_seal

log = logging.getLogger(__name__)

_SUFFIX = ".contents"


def contents_of(packed: bytes) -> Contents:
    """Return contents that are in memory."""
    return Contents(lambda start, stop: packed[start:stop])


class ContentsFiles:
    """The contents of lists in one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def open(self, text: Digest) -> Contents | None:
        """Return the contents of a text's list; None when there are none that can be used."""
        path = self._path(text)
        try:
            with path.open("rb", buffering=0) as file:
                check_seal(file)
            return Contents(partial(_read, path))
        except FileNotFoundError:
            return None
        except (OSError, ListingDamaged, ContentsDamaged) as error:
            log.warning("contents.unusable path=%s problem=%s", path, error)
            with contextlib.suppress(OSError):
                remove(path)
            return None

    def keep(self, draft: Path, text: Digest) -> None:
        """Make a draft the contents of a text."""
        draft.rename(self._path(text))

    def _path(self, text: Digest) -> Path:
        return self._directory / f"{text}{_SUFFIX}"


def _read(path: Path, start: int, stop: int) -> bytes:
    """Return the bytes of [start, stop) of a file, which is open no longer than that. Raises OSError."""
    with path.open("rb", buffering=0) as file:
        return os.pread(file.fileno(), stop - start, start)
