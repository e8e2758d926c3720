"""What is asked of a MAAS, by whichever version of its API. Each method raises MaasFault."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from proxy.connect.maas_api.model import Choice, Image, Site, Source


class Maas(Protocol):
    """A MAAS that lets us in."""

    async def enter(self) -> None:
        """Make sure that we are let in; asks for nothing else."""

    async def look(self) -> Site:
        """Read all that a plan depends on."""

    async def make_source(self, values: Mapping[str, Any]) -> Source:
        """Make a source."""

    async def change_source(self, source_id: int, values: Mapping[str, Any]) -> None:
        """Change some fields of a source."""

    async def remove_source(self, source_id: int) -> None:
        """Remove a source with all that is selected of it."""

    async def select(self, source_id: int, choice: Choice) -> None:
        """Select something of a source."""

    async def deselect(self, source_id: int, choice: Choice) -> None:
        """Take away what was selected of a source."""

    async def change_setting(self, name: str, *, value: bool) -> None:
        """Change a setting."""

    async def learn(self, *, by_import: bool) -> bool:
        """Have MAAS read the lists of its sources, so that something can be selected of a new one.

        Return False when only an import would do that, and none is wanted.
        """

    async def start_import(self) -> None:
        """Have MAAS import what is selected."""

    async def is_importing(self) -> bool | None:
        """Return whether it does so now; None where MAAS does not tell."""

    async def images(self) -> Sequence[Image] | None:
        """Return how far it is with each image; None where MAAS does not tell."""
