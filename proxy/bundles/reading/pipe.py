"""Bundles that come through a pipe, one after the other: what comes first is kept until items may come.

An importer needs documents before it may take an item. So all blobs are kept, in an unnamed file of bounded
length, until index, manifests, contents, signatures and documents are here; then items pass
by once. All methods block.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from proxy.bundles.contents import ContentsUnreadable, read_contents
from proxy.bundles.oci import BLOBS, INDEX_PATH, SIGNATURE_TITLE, LayoutUnreadable, read_index, read_manifest
from proxy.bundles.reading.errors import ArchiveCut, ArchiveRefused
from proxy.bundles.reading.layouts import MOST_ENTRIES, ArchiveLayout, Blob, Place
from proxy.bundles.reading.streams import PipeStream
from proxy.bundles.reading.tar import End, Entry, walk
from proxy.digest import Digest

MOST_KEPT_BYTES = 512 * 1024 * 1024
"""Of what comes before the first item."""
_PIECE_BYTES = 1024 * 1024


class Pipe:
    """A pipe with one archive after the other, each of them a bundle or a part of one."""

    def __init__(self, name: str, fd: int, folder: Path, most_kept_bytes: int = MOST_KEPT_BYTES) -> None:
        """Read an open descriptor; keep what comes first in an unnamed file in `folder`."""
        self._name = name
        self._stream = PipeStream(fd)
        self._entries = walk(self._stream)
        self._folder = folder
        self._most_kept_bytes = most_kept_bytes
        self._count = 0

    def stop(self) -> None:
        """Have whoever waits for its bytes, in any thread, wait no longer."""
        self._stream.stop()

    def close(self) -> None:
        """Let go of it; the descriptor stays open."""
        self._stream.close()

    def layouts(self) -> Iterator["PipedLayout"]:
        """Yield each bundle once its documents are here; it has to be read before the next one.

        Raises MediumFault, ArchiveCut and ArchiveRefused.
        """
        for first in self._entries:
            if isinstance(first, End):
                continue
            self._count += 1
            name = self._name if self._count == 1 else f"{self._name} ({self._count})"
            layout = PipedLayout(
                name, first, self._entries, self._stream, self._folder, self._most_kept_bytes
            )
            try:
                layout.read_beginning()
                yield layout
            finally:
                layout.close()


class PipedLayout:
    """A bundle, or a part of one, that passes by."""

    blobs_at_once = 1
    is_passing = True

    def __init__(
        self,
        name: str,
        first: Entry,
        entries: Iterator[Entry | End],
        stream: PipeStream,
        folder: Path,
        most_kept_bytes: int,
    ) -> None:
        self.name = name
        self.damage = ""
        self._first: Entry | None = first
        self._entries = entries
        self._stream = stream
        self._most_kept_bytes = most_kept_bytes
        self._kept = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed with this
        self._here = ArchiveLayout(name, self._kept.fileno())
        self._kept_bytes = 0
        self._needed = _Needed()
        self._prefix: str | None = None
        self._seen: set[Digest] = set()
        self._passed = 0

    def read_beginning(self) -> None:
        """Keep what comes until all documents are here. Raises ArchiveRefused if that is too much."""
        try:
            for place, entry in self._places():
                if self._kept_bytes + entry.size_bytes > self._most_kept_bytes:
                    raise ArchiveRefused(
                        "its images come before what says what they are, and through a pipe they pass by "
                        "only once: give it as a file, or unpack it"
                    )
                self._keep(place, entry)
                if self._needed.is_here(place, self._here):
                    return
        except ArchiveCut as error:
            self.damage = str(error)

    def small(self, path: str, most_bytes: int) -> bytes:
        """Return `oci-layout` or `index.json`."""
        return self._here.small(path, most_bytes)

    def size_bytes(self, digest: Digest) -> int | None:
        """Return how large a blob is that was kept, None when there is none."""
        return self._here.size_bytes(digest)

    def open(self, digest: Digest) -> Blob:
        """Open a blob that was kept."""
        return self._here.open(digest)

    def blobs(self) -> Iterator[Blob]:
        """Yield the blobs that were kept, and those that are still to come as they pass by."""
        yield from self._here.blobs()
        for place, entry in self._places():
            if place.blob is not None:
                yield Blob(place.blob, entry.size_bytes, self._stream)

    def close(self) -> None:
        """Let go of what was kept; of the pipe nothing more of this bundle is read."""
        self._kept.close()

    def _places(self) -> Iterator[tuple[Place, Entry]]:
        """Yield the files of this bundle as they come."""
        if self.damage:
            return
        first, self._first = self._first, None
        entry: Entry | End | None = first if first is not None else next(self._entries, None)
        while isinstance(entry, Entry):
            self._passed += 1
            if self._passed > MOST_ENTRIES:
                raise ArchiveRefused(f"it has more than {MOST_ENTRIES:,} entries")
            place = Place(entry.name)
            if place.prefix is not None and not entry.is_folder:
                self._check(place)
                yield place, entry
            entry = next(self._entries, None)
        self._entries = iter(())

    def _check(self, place: Place) -> None:
        if self._prefix is None:
            self._prefix = place.prefix
        if place.prefix != self._prefix:
            raise ArchiveRefused("one archive has several bundles: through a pipe, give one after the other")
        if place.blob is not None:
            if place.blob in self._seen:
                raise ArchiveRefused(f"it has {BLOBS}{place.blob} twice")
            self._seen.add(place.blob)

    def _keep(self, place: Place, entry: Entry) -> None:
        self._here.add(place, self._kept_bytes, entry.size_bytes)
        left = entry.size_bytes
        while left:
            data = self._stream.read(min(left, _PIECE_BYTES))
            if not data:
                raise ArchiveCut(f"it ends after {self._stream.position} bytes, within a file")
            left -= len(data)
            while data:
                data = data[os.write(self._kept.fileno(), data) :]
        self._kept_bytes += entry.size_bytes


class _Needed:
    """What has to be here before items may come, as far as what came has said so."""

    def __init__(self) -> None:
        self._lacking: set[Digest] = set()
        self._manifests: set[Digest] = set()
        self._contents: set[Digest] = set()
        self._knows_index = False

    def is_here(self, place: Place, here: ArchiveLayout) -> bool:
        """Take note of what has just come, and say whether that is all; of what is damaged others tell."""
        try:
            if place.small == INDEX_PATH:
                self._knows_index = True
                named = read_index(here.small(INDEX_PATH, _PIECE_BYTES))
                self._manifests = {one.digest for one in named}
                self._want(self._manifests, here)
            elif place.blob is not None and place.blob in self._lacking:
                self._read(place.blob, here)
        except (LayoutUnreadable, ContentsUnreadable):
            return True
        return self._knows_index and not self._lacking and here.is_layout

    def _want(self, digests: set[Digest], here: ArchiveLayout) -> None:
        self._lacking |= digests
        for digest in digests:
            if here.size_bytes(digest) is not None:
                self._read(digest, here)

    def _read(self, digest: Digest, here: ArchiveLayout) -> None:
        self._lacking.discard(digest)
        if digest in self._manifests:
            manifest = read_manifest(here.open(digest).read())
            self._contents.add(manifest.contents.digest)
            signatures = {one.digest for one in manifest.layers if one.name == SIGNATURE_TITLE}
            self._want({manifest.contents.digest, *signatures}, here)
        elif digest in self._contents:
            documents = read_contents(here.open(digest).read()).documents
            self._want({one.sha256 for one in documents if one.is_carried}, here)
