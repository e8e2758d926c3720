"""History: plots of what was asked for, sent, fetched and saved."""

from typing import Any

from proxy.reporting.plots import HEIGHT, PLOTS, WIDTH
from proxy.web.admin.views.visit import Visit


class History:
    """Shows the plots."""

    async def look(self, _: Visit) -> dict[str, Any]:
        """Return what the page shows."""
        return {"plots": PLOTS, "width": WIDTH, "height": HEIGHT}
