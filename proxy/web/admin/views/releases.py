"""Releases: what of each is here, and what can be done about it."""

from typing import Any

from proxy.reporting.products import ProductTable
from proxy.reporting.snapshot import Observer
from proxy.web.admin.views.visit import Visit


class Releases:
    """Shows what lists name by release and architecture, and the rules that fetch some of it."""

    def __init__(self, table: ProductTable, observer: Observer) -> None:
        self._table = table
        self._observer = observer

    async def look(self, _: Visit) -> dict[str, Any]:
        """Return what the page shows."""
        snapshot = await self._observer.snapshot()
        return {"stats": snapshot.stats, "now": snapshot.taken_at, "products": await self._table.rows()}
