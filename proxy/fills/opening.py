"""One client's way to the bytes of an item that is not in the store.

It joins a fill or starts one. When what has arrived was wrong and some origin may
have it right, it starts over; when the store cannot take the item, it goes past it.
"""

from proxy.fills.bodies import Body, Opened, Outcome, StoredBody
from proxy.fills.bypass_body import BypassBody
from proxy.fills.errors import BadItem, TransferDiscarded
from proxy.fills.fill import Fill
from proxy.fills.filling_body import FillingBody
from proxy.fills.flights import Flights, tries
from proxy.simplestreams.model import Item
from proxy.sources.candidates import Source
from proxy.sources.errors import ItemAbsent, ItemUnobtainable
from proxy.sources.route import Route
from proxy.store.files import StoreFault


class Opening:
    """One client's request for one item."""

    def __init__(self, flights: Flights, item: Item, route: Route, client: str) -> None:
        self._flights = flights
        self._facilities = flights.facilities
        self._item = item
        self._route = route
        self._client = client
        self._tries_left = tries(route)

    async def open(self) -> Opened:
        """Return the item's bytes as soon as there is a first one to send.

        Raises ItemAbsent, BadItem, ItemUnobtainable, WrongLength, OutOfReach or TooManyTransfers.
        """
        with self._facilities.first_bytes.waited_for():
            return await self._open()

    async def _open(self) -> Opened:
        item, route = self._item, self._route
        while True:
            preflight = await self._flights.preflight(item, route)
            fill, outcome = self._flights.join(item, Source(route, item.path), preflight)
            try:
                return await self._begin(fill, outcome)
            except TransferDiscarded as error:
                self._spend_try(error)
            except (ItemAbsent, ItemUnobtainable):
                if outcome is not Outcome.JOIN or not self._tries_left:
                    raise
                # That was said of other sources than ours.
                self._tries_left -= 1

    async def replacement(self, fill: Fill, error: TransferDiscarded | StoreFault) -> Body:
        """Return the body to go on with after the fill has failed: of another one, or past the store."""
        if isinstance(error, StoreFault):
            return self._bypass(fill.sources)
        self._spend_try(error)
        return (await self.open()).body

    async def _begin(self, fill: Fill, outcome: Outcome) -> Opened:
        storage = self._facilities.storage
        try:
            with fill.wanted_by(self._client):
                await fill.begun()
                if outcome is Outcome.MISS and fill.is_led_elsewhere:
                    outcome = Outcome.JOIN
                if fill.progress.state.is_proved:
                    blob = storage.store.open(self._item.digest, self._item.size_bytes)
                    if blob is not None:
                        return Opened(StoredBody(blob, storage.threads), outcome)
                return Opened(FillingBody(fill, self._client, self._facilities, self), outcome)
        except StoreFault:
            body = self._bypass(fill.sources)
            try:
                await body.begin()
            except BaseException:
                await body.close()
                raise
            return Opened(body, Outcome.BYPASS)

    def _bypass(self, sources: list[Source]) -> BypassBody:
        return BypassBody(self._item, sources, self._facilities)

    def _spend_try(self, error: TransferDiscarded) -> None:
        """Raise BadItem when there have been as many tries as can help."""
        if not self._tries_left:
            raise BadItem(self._item.digest, error.problem) from error
        self._tries_left -= 1
