"""Files: what the mirrors' lists name, to search and filter, with what is known of each."""

from typing import Any

from proxy.reporting.file_search import FileIndex, State
from proxy.web.admin.views.paging import ROWS, Slice, page_number, query_of
from proxy.web.admin.views.visit import Visit

_STATES: tuple[State, ...] = ("", "here", "upstream")
_MOST_WORDS = 8


class Files:
    """Shows a page of the files that are asked for."""

    def __init__(self, index: FileIndex, mirrors: tuple[str, ...]) -> None:
        self._index = index
        self._mirrors = mirrors

    async def look(self, visit: Visit) -> dict[str, Any]:
        """Return what the page shows."""
        mirror = visit.choice("mirror", self._mirrors)
        state: State = next((one for one in _STATES if one == visit.text("state")), "")
        words = visit.text("search").split()[:_MOST_WORDS]
        number = visit.page_number()
        found = await self._index.find(mirror, words, state, (number - 1) * ROWS, ROWS)
        if found.total and not found.files:
            number = page_number(visit, found.total)
            found = await self._index.find(mirror, words, state, (number - 1) * ROWS, ROWS)
        query = query_of(visit, "mirror", "search", "state")
        return {
            "mirror": mirror,
            "mirrors": self._mirrors,
            "state": state,
            "search": visit.text("search"),
            "files": Slice(found.files, number, found.total, query, found.is_more),
            "unread": found.unread,
            "shows_clients": visit.is_admin,
        }
