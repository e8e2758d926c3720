"""The overview: what is wrong first, how to begin on a first visit, then figures and what is at work."""

from typing import Any

from proxy.mirror import Mirror
from proxy.reporting.snapshot import Observer
from proxy.web.admin.views.visit import Visit
from proxy.web.recipes import recipes


class Overview:
    """Shows the state of now."""

    def __init__(self, observer: Observer, mirrors: tuple[Mirror, ...]) -> None:
        self._observer = observer
        self._mirrors = mirrors

    async def look(self, visit: Visit) -> dict[str, Any]:
        """Return what the page shows."""
        snapshot = await self._observer.snapshot()
        stats = snapshot.stats
        is_first_visit = not any(sum(one["requests"].values()) for one in stats["mirrors"].values())
        return {
            "stats": stats,
            "now": snapshot.taken_at,
            "is_first_visit": is_first_visit,
            "mirrors": self._mirrors,
            "base": visit.base,
            "recipes": recipes(self._mirrors, visit.base, visit.address) if is_first_visit else [],
        }
