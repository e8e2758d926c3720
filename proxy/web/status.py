"""Which error becomes which HTTP status: one table.

Statuses follow what clients make of them (MAAS 3.8 never retries a 4xx or 5xx
on an item, but retries a cut connection): what may succeed later is cut, what
is really absent is 404.
"""

from http import HTTPStatus

from proxy.cache.documents import FlavourUnknown, NoGeneration
from proxy.cache.service import DocumentLost, ListRefused, NotListed, OfflineMiss
from proxy.errors import ProxyError
from proxy.store.files import StoreFault
from proxy.store.ledger import LedgerUnavailable
from proxy.upstream.pull import ItemAbsent

STATUS: dict[type[ProxyError], HTTPStatus] = {
    NotListed: HTTPStatus.NOT_FOUND,
    ItemAbsent: HTTPStatus.NOT_FOUND,
    ListRefused: HTTPStatus.BAD_GATEWAY,
    NoGeneration: HTTPStatus.SERVICE_UNAVAILABLE,
    FlavourUnknown: HTTPStatus.SERVICE_UNAVAILABLE,
    StoreFault: HTTPStatus.SERVICE_UNAVAILABLE,
    LedgerUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    DocumentLost: HTTPStatus.SERVICE_UNAVAILABLE,
    OfflineMiss: HTTPStatus.GATEWAY_TIMEOUT,
}
"""Errors that are not listed cut the connection before any status."""
