"""What an origin is to those who use it, whatever kind it is.

The Protocols here are all that documents, fills, jobs and the service know of
where bytes come from. Each kind of origin has a folder beside this module
(`http/`, `folder/`); only `runtime.py` names them. `tests/contracts/test_sources.py`
holds every kind to what is promised here.
"""

from collections.abc import AsyncGenerator, Collection
from typing import NamedTuple, Protocol

from proxy.sources.document import CONFIRMED, Fetched, FetchOptions, Validators
from proxy.sources.freshness import Freshness
from proxy.sources.limits.flow import ANY_FLOW, Flow


class Readable(Protocol):
    """Bytes that have arrived and can be read by any thread, straight into its buffer.

    It is valid until the next piece is asked for. An error in that thread is raised when
    the next piece is asked for.
    """

    @property
    def left_bytes(self) -> int:
        """How many bytes of the item are still to come from here."""

    def read_into(self, buffer: memoryview) -> int:
        """Put bytes into a buffer, and return how many; 0 when there are none for now."""

    def read(self) -> bytes:
        """Return some bytes, for a caller without a buffer; none when there are none for now."""


Piece = bytes | Readable


class ItemOptions(NamedTuple):
    """How an item is asked for."""

    freshness: Freshness = Freshness.KEPT
    avoided: Collection[str] = ()
    """Places that an origin must not send us to: their copies were found wrong."""
    is_replaceable: bool = False
    """Whether another origin can be asked, so that a very slow one may be given up."""
    flow: Flow = ANY_FLOW
    """The transfer that the bytes are for, where a limit makes transfers wait."""


class ItemPart(Protocol):
    """A part of an item at one origin, asked for by itself."""

    @property
    def place(self) -> str:
        """The URL that the origin has redirected to for it, "" if it gave it itself."""

    def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield its bytes, each once and in order.

        Raises OriginError: PartsRefused when the origin would send something else, such as a part of
        another version of the item.
        """


class OriginItem(Protocol):
    """One item at one origin, for as long as one transfer lasts.

    It may remember which ways of asking failed, and ask in another way the next time.
    """

    @property
    def place(self) -> str:
        """The URL that the origin has redirected to for the latest bytes, "" if it gave them itself."""

    def pieces(self, offset: int, options: ItemOptions) -> AsyncGenerator[Piece, None]:
        """Yield the bytes from `offset` to the end of the item, each once and in order.

        Raises OriginError, whatever happens: WrongLength when the copy there is longer or
        shorter than the item, another kind when fewer bytes came than should have.
        """

    def part(self, start: int, stop: int, options: ItemOptions) -> ItemPart:
        """Return the bytes of [start, stop). Asks for nothing yet; several may be asked for at a time."""


class Origin(Protocol):
    """Where the files of a mirror can be had."""

    @property
    def name(self) -> str:
        """What the origin is called in logs and figures: its configured URL, without credentials."""

    @property
    def host(self) -> str:
        """The host that its connections go to, and its port; "" when there are none."""

    async def fetch(
        self, path: str, validators: Validators, options: FetchOptions = CONFIRMED
    ) -> Fetched | None:
        """Return the whole document at a canonical path; None when `validators` still hold.

        Raises OriginError: OriginAbsent when there is none, OriginForbidden when it is not given,
        OriginOverdid when it is larger than the limit, OriginUnreachable when it takes too long.
        """

    def item(self, path: str, size_bytes: int) -> OriginItem:
        """Return the item of that size at a canonical path. Asks for nothing yet."""


class DocumentSource:
    """An origin that is asked for several documents, all with the same options."""

    def __init__(self, origin: Origin, options: FetchOptions) -> None:
        self._origin = origin
        self._options = options
        self.name = origin.name

    async def fetch(self, path: str, validators: Validators) -> Fetched | None:
        """Do what `Origin.fetch` does."""
        return await self._origin.fetch(path, validators, self._options)
