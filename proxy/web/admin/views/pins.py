"""Pins: what each keeps, who holds it, and the files that one keeps."""

from collections.abc import Collection
from typing import Any, NamedTuple

from proxy.digest import Digest
from proxy.jobs.rules import RULE_PIN
from proxy.reporting.snapshot import Observer
from proxy.service.cache import Cache
from proxy.web.admin.views.paging import Slice, slice_of
from proxy.web.admin.views.visit import Visit


class Pin(NamedTuple):
    """A pin, and what it comes to."""

    name: str
    held_by: str
    """In words: what would have to change for it to go."""
    blobs: int
    bytes: int
    awaited_blobs: int


class PinnedFile(NamedTuple):
    """A file that a pin keeps."""

    digest: Digest
    size_bytes: int | None
    """None for one that is still to come."""
    mirror: str
    path: str
    other_pins: list[str]


class Pins:
    """Shows all pins, or the files of one."""

    def __init__(self, cache: Cache, observer: Observer) -> None:
        self._cache = cache
        self._observer = observer

    async def look(self, visit: Visit) -> dict[str, Any]:
        """Return what the page shows."""
        snapshot = await self._observer.snapshot()
        rules = {rule["name"] for rule in snapshot.stats["prefetch"]}
        pins = [
            Pin(name, _held_by(name, rules), **kept)
            for name, kept in sorted(snapshot.stats["store"]["pins"].items())
        ]
        name = visit.text("name")
        files: Slice[PinnedFile] | None = None
        if name:
            found = slice_of(await self._cache.storage.threads.slow(self._files, name), visit, "name")
            named = [self._named(*one) for one in found.rows]
            files = Slice(named, found.number, found.total, found.query)
        return {
            "stats": snapshot.stats,
            "now": snapshot.taken_at,
            "pins": slice_of(pins, visit),
            "name": name,
            "files": files,
        }

    def _files(self, name: str) -> list[tuple[Digest, int | None, list[str]]]:
        """Return what a pin keeps: digest, size, and its other pins. Blocks."""
        storage = self._cache.storage
        pinned = {digest: names for digest, names in storage.pins.names().items() if name in names}
        sizes = storage.blobs.sizes(pinned)
        return [
            (digest, sizes.get(digest), [one for one in names if one != name])
            for digest, names in sorted(pinned.items())
        ]

    def _named(self, digest: Digest, size_bytes: int | None, other_pins: list[str]) -> PinnedFile:
        found = self._cache.find_digest(digest)
        mirror, path = ("", "") if found is None else (found[0], found[1].path)
        return PinnedFile(digest, size_bytes, mirror, path, other_pins)


def _held_by(name: str, rules: Collection[str]) -> str:
    """Say what holds a pin."""
    if name.startswith(RULE_PIN):
        rule = name.removeprefix(RULE_PIN)
        if rule in rules:
            return f"the rule {rule} of the configuration, whose next run keeps what it then wants"
        return f"a rule {rule} that is configured no more: the server lets go of it when it starts"
    if name.startswith("prefetch "):
        return "somebody fetched this by hand, and it is kept until it is unpinned"
    if name.startswith("import "):
        return "an import brought this, and it is kept until it is unpinned"
    if name.startswith("recording "):
        return "a recording names this, and it is kept until the recording is deleted"
    return "somebody pinned this by hand"
