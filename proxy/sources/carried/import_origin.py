"""The origin of a mirror during an import: it gives one generation after the other, as the import says."""

import contextlib
from collections.abc import Iterator

from proxy.sources.carried.origin import CarriedOrigin
from proxy.sources.document import CONFIRMED, Fetched, FetchOptions, Validators
from proxy.sources.origin import OriginItem

_NOTHING = CarriedOrigin("nothing", {})


class ImportOrigin:
    """The one origin of a mirror during an import. Between two generations it is offline."""

    host = ""

    def __init__(self) -> None:
        self._now = _NOTHING

    @contextlib.contextmanager
    def giving(self, origin: CarriedOrigin) -> Iterator[None]:
        """Give what this origin gives for the length of the context: whoever checks then may accept it."""
        self._now = origin
        try:
            yield
        finally:
            self._now = _NOTHING

    @property
    def is_on(self) -> bool:
        """Whether it may not be asked now: what nobody has examined yet must not be accepted."""
        return self._now is _NOTHING

    @property
    def name(self) -> str:
        """Where what it gives is from."""
        return self._now.name

    async def fetch(
        self, path: str, validators: Validators, options: FetchOptions = CONFIRMED
    ) -> Fetched | None:
        """Do what `Origin.fetch` does."""
        return await self._now.fetch(path, validators, options)

    def item(self, path: str, size_bytes: int) -> OriginItem:
        """Return an item that is not here."""
        return self._now.item(path, size_bytes)
