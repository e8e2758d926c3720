"""How clients are connected: what each has to be told, by the address at which somebody looks."""

from typing import Any

from proxy.mirror import Mirror
from proxy.web.admin.views.visit import Visit
from proxy.web.recipes import recipes


class Connect:
    """Shows addresses and commands to copy."""

    def __init__(self, mirrors: tuple[Mirror, ...]) -> None:
        self._mirrors = mirrors

    async def look(self, visit: Visit) -> dict[str, Any]:
        """Return what the page shows."""
        return {
            "base": visit.base,
            "mirrors": self._mirrors,
            "recipes": recipes(self._mirrors, visit.base, visit.address),
        }
