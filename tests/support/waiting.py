"""Generations that wait, written down as an import writes them."""

from proxy.bundles.contents import Contents, File, write_contents
from proxy.digest import digest_of
from proxy.jobs.importing.waiting import Waiting
from proxy.store.protocols import PruneStore


def waits_for(
    store: PruneStore, *items: bytes, unprovable: tuple[str, ...] = (), accepts_older: bool = False
) -> Waiting:
    """Return a generation that waits for items, by their numbers; what it needs is in the store."""
    contents = Contents(
        mirror="maas",
        generation=1,
        index_path="index",
        updated=1.0,
        accepted_at=1.0,
        selection="everything",
        documents=(File(path="index", sha256=digest_of(b"index"), size=5, is_carried=True),),
        items=tuple(
            File(path=str(number), sha256=digest_of(one), size=len(one), is_carried=True)
            for number, one in enumerate(items)
        ),
    )
    return Waiting(
        contents=store.put(write_contents(contents)),
        generation=1,
        accepted_at=1.0,
        pin="import",
        since=1.0,
        missing_files=9,
        missing_bytes=99,
        unprovable=unprovable,
        accepts_older=accepts_older,
    )
