"""Documents that are neither the index nor a list: other entry points, and files that indexes name.

Juju begins with `index2.sjson` and asks for `mirrors.sjson`, which no index names. An index may name
files that are no lists (`text:1.0`, `mirrors:1.0`). Each of them is a document of the generation, verified
by a signature of its own, and fetched again whenever the index is. One that nothing proves is left
out with the reason, and keeps nothing else from being served.
"""

import asyncio
from collections.abc import Iterable

from proxy.documents.draft import Draft
from proxy.documents.flavours import ENTRY_STEMS, PLAIN_SUFFIX
from proxy.documents.generation import NO_DIGEST, Document, Generation
from proxy.documents.rollback import RollbackError
from proxy.documents.unforeseen import blamed_on
from proxy.documents.vetting import SIGNED_SUFFIX, DocumentRefused, Vetted, Vetting
from proxy.errors import ProxyError
from proxy.simplestreams.model import IndexEntry
from proxy.sources.errors import OriginAbsent, OriginError, OriginForbidden
from proxy.sources.origin import DocumentSource

_FOLDER = "streams/"
_MOST_FILES = 100
_AT_ONCE = 4
_ENTRY_POINT = "an entry point of the mirror"


def entry_point_paths(index_path: str) -> list[str]:
    """Return the paths at which clients begin besides the index, in its flavour."""
    suffix = SIGNED_SUFFIX if index_path.endswith(SIGNED_SUFFIX) else PLAIN_SUFFIX
    return [stem + suffix for stem in ENTRY_STEMS]


class EntryPoints:
    """Fetches entry points, and files that are no lists, for one draft."""

    def __init__(
        self, vetting: Vetting, origin: DocumentSource, known: dict[str, Document], draft: Draft
    ) -> None:
        self._vetting = vetting
        self._origin = origin
        self._known = known
        self._draft = draft
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._asked: set[str] = set()

    async def fetch_entry_points(self, index: Vetted, current: Generation | None) -> list[Vetted]:
        """Add the mirror's other entry points to the draft, and return those that could be had.

        An index that has not changed brings nothing new: only those that are known are asked for.
        """
        paths = entry_point_paths(index.document.path)
        held = None if current is None else current.documents.get(index.document.path)
        if current is not None and held is not None and held.digest == index.document.digest:
            paths = [path for path in paths if path in current.documents or path in current.unproved]
        found = await asyncio.gather(*(self._add(path, _ENTRY_POINT) for path in paths))
        return [vetted for vetted in found if vetted is not None]

    async def fetch_files(self, entries: Iterable[IndexEntry]) -> None:
        """Add files that indexes name and that are neither lists nor indexes."""
        taken = {*self._asked, *self._draft.documents}
        wanted = {entry.path: entry for entry in entries if entry.path not in taken}
        for number, (path, entry) in enumerate(wanted.items()):
            if not path.startswith(_FOLDER):
                why = f"only lists name what lies outside {_FOLDER}"
            elif number >= _MOST_FILES:
                why = f"the index names more than {_MOST_FILES} such files"
            else:
                continue
            self._draft.unproved[path] = f"{path} is {_named(entry)}, and not served: {why}"
        await asyncio.gather(
            *(
                self._add(path, _named(one))
                for path, one in wanted.items()
                if path not in self._draft.unproved
            )
        )

    def give_up_late(self, paths: Iterable[str]) -> None:
        """Do without what has not arrived; the next check asks for it again."""
        for path in paths:
            if path not in self._draft.documents:
                self._draft.unproved.setdefault(path, f"{path} has not arrived in time")

    async def _add(self, path: str, what: str) -> Vetted | None:
        self._asked.add(path)
        vetted = await self._fetch(path, what)
        if vetted is not None:
            self._draft.add(vetted)
        return vetted

    async def _fetch(self, path: str, what: str) -> Vetted | None:
        try:
            async with self._slots:
                with blamed_on(self._origin.name):
                    return await self._vetting.fetch_of_any_kind(self._origin, path, self._known)
        except (OriginAbsent, OriginForbidden) as error:
            problem: ProxyError = error
        except (OriginError, DocumentRefused, RollbackError) as error:
            self._draft.unproved[path] = f"{path} is {what}, and cannot be served: {error}"
            problem = error
        if path in self._known and self._known[path].digest != NO_DIGEST:
            self._draft.gaps.append(f"{path} was there and cannot be had: {problem}")
        return None


def _named(entry: IndexEntry) -> str:
    return f"named by an index as {entry.format!r:.40}"
