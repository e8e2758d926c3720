"""An origin whose documents are here already: what is carried is checked exactly as if it were fetched.

It gives no items. Whoever carries some puts them into the store by itself, once a verified list
names them.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

from proxy.digest import digest_of
from proxy.sources.document import CONFIRMED, Fetched, FetchOptions, Validators
from proxy.sources.errors import OriginAbsent
from proxy.sources.origin import ItemOptions, ItemPart, OriginItem, Piece

Reader = Callable[[], Awaitable[bytes]]
"""Returns a document's bytes. Raises OriginError."""


class CarriedOrigin:
    """Documents by path, and nothing else."""

    host = ""

    def __init__(self, name: str, documents: Mapping[str, Reader]) -> None:
        """Know what was carried; `name` says where it is read from, in messages."""
        self.name = name
        self._documents = documents

    async def fetch(
        self,
        path: str,
        validators: Validators,
        options: FetchOptions = CONFIRMED,  # noqa: ARG002 - nothing here is older than what is asked for
    ) -> Fetched | None:
        """Do what `Origin.fetch` does."""
        if path not in self._documents:
            raise OriginAbsent(self.name, f"{path} is not in it")
        data = await self._documents[path]()
        found = Validators(etag=f'"{digest_of(data)}"')
        return None if validators == found else Fetched(data=data, validators=found)

    def item(self, path: str, size_bytes: int) -> OriginItem:  # noqa: ARG002 - it has none of any size
        """Return an item that is not here."""
        return _NoItem(self.name, path)


class _NoItem:
    place = ""

    def __init__(self, origin: str, path: str) -> None:
        self._absent = OriginAbsent(origin, f"{path} is not fetched from what was carried here")

    async def pieces(self, offset: int, options: ItemOptions) -> AsyncGenerator[Piece, None]:  # noqa: ARG002
        raise self._absent
        yield b""

    def part(self, start: int, stop: int, options: ItemOptions) -> ItemPart:  # noqa: ARG002
        return _NoPart(self._absent)


class _NoPart:
    place = ""

    def __init__(self, absent: OriginAbsent) -> None:
        self._absent = absent

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        raise self._absent
        yield b""
