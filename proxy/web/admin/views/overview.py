"""The overview: what is wrong first, then figures, what arrives, mirrors, origins and rules."""

from typing import Any

from proxy.reporting.snapshot import Observer
from proxy.web.admin.views.visit import Visit


class Overview:
    """Shows the state of now."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    async def look(self, _: Visit) -> dict[str, Any]:
        """Return what the page shows."""
        snapshot = await self._observer.snapshot()
        stats = snapshot.stats
        return {
            "stats": stats,
            "now": snapshot.taken_at,
            "is_first_visit": not any(sum(one["requests"].values()) for one in stats["mirrors"].values()),
        }
