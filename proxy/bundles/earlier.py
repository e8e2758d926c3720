"""An earlier bundle, whole or begun, as an export looks at it: what it holds, and how it says so.

`--since` asks what it names, `--like` makes another part of it, and an export that was
interrupted takes its signatures over. It may come from the other site on a medium of anybody:
only the small files are read, as an import reads them.
"""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from proxy.bundles.bundle import Bundle, Text
from proxy.bundles.contents import LARGEST_BYTES
from proxy.bundles.destination import PART_SUFFIX
from proxy.bundles.oci import IMPORTER_TITLE, INDEX_PATH, LayoutUnreadable, blob_path
from proxy.bundles.reading.errors import ArchiveCut
from proxy.bundles.reading.finding import Findings
from proxy.bundles.reading.heads import LARGEST_INDEX, read_blob, read_heads
from proxy.bundles.reading.layouts import Layout
from proxy.digest import Digest, digest_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """What an earlier bundle says of itself."""

    bundle: Bundle
    signatures: dict[Digest, bytes]
    """By the digest of the contents that are signed."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a folder or a tar, or what an interrupted export has left of it.

        Raises what `Findings.add` and `read_heads` raise.
        """
        if not path.exists():
            path = path.with_name(path.name + PART_SUFFIX)
        with closing(Findings()) as findings:
            findings.add(path)
            for _, problem in findings.problems:
                raise problem
            if len(findings.layouts) > 1:
                raise LayoutUnreadable("there are several bundles in it: name one of them")
            return cls._of(findings.layouts[0])

    @classmethod
    def _of(cls, layout: Layout) -> Self:
        try:
            index_path, index = INDEX_PATH, layout.small(INDEX_PATH, LARGEST_INDEX)
        except ArchiveCut:
            index_path = INDEX_PATH + PART_SUFFIX
            index = layout.small(index_path, LARGEST_INDEX)
        heads = read_heads(layout, index_path)
        texts: dict[str, Text] = {}
        importer = b""
        for head in heads:
            written = [head.manifest, head.text, head.signature or b""]
            if IMPORTER_TITLE in head.extras:
                importer = read_blob(layout, head.extras[IMPORTER_TITLE], "its importer", LARGEST_BYTES)
                written.append(importer)
            for path, data in ((blob_path(digest_of(data)), data) for data in written if data):
                texts[path] = Text(path, data)
        return cls(
            bundle=Bundle(
                contents=tuple(head.contents for head in heads),
                index=index,
                head=tuple(texts.values()),
                importer=importer,
            ),
            signatures={head.digest: head.signature for head in heads if head.signature is not None},
        )
