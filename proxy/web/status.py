"""Which error becomes which HTTP status and outcome: one table.

Statuses follow what clients make of them (MAAS 3.8 never retries a 4xx or 5xx
on an item, but retries a cut connection): what may succeed later is cut, what
is really absent is 404.
"""

from http import HTTPStatus
from typing import NamedTuple

from proxy.digest import DigestMismatch, SizeMismatch
from proxy.documents.documents import FlavourUnknown, NoGeneration
from proxy.errors import ProxyError
from proxy.fills.bodies import SentDiffers
from proxy.fills.errors import BadItem, OutOfReach, TransferDiscarded
from proxy.fills.places import TooManyTransfers
from proxy.service.target import DocumentLost, ListBroken, ListRefused, NothingKnown, NotListed, OfflineMiss
from proxy.sources.errors import ItemAbsent, ItemForbidden, ItemUnobtainable, OriginError, WrongCopy
from proxy.sources.loops import LoopDetected
from proxy.store.files import StoreFault
from proxy.store.ledger import LedgerUnavailable
from proxy.web.access.gate import NetworkNotAllowed, PasswordNeeded
from proxy.web.access.password_checks import TooManyPasswords


class Fate(NamedTuple):
    """What becomes of a request that an error ended."""

    status: HTTPStatus | None
    """None cuts the connection before any status."""
    outcome: str
    """The word for it in logs and statistics."""


_FATES: dict[type[ProxyError], Fate] = {
    NetworkNotAllowed: Fate(HTTPStatus.FORBIDDEN, "denied"),
    PasswordNeeded: Fate(HTTPStatus.UNAUTHORIZED, "denied"),
    TooManyPasswords: Fate(HTTPStatus.SERVICE_UNAVAILABLE, "denied"),
    LoopDetected: Fate(HTTPStatus.LOOP_DETECTED, "error"),
    NotListed: Fate(HTTPStatus.NOT_FOUND, "absent"),
    ItemAbsent: Fate(HTTPStatus.NOT_FOUND, "absent"),
    OfflineMiss: Fate(HTTPStatus.GATEWAY_TIMEOUT, "offline"),
    ListRefused: Fate(HTTPStatus.BAD_GATEWAY, "refused"),
    ListBroken: Fate(HTTPStatus.SERVICE_UNAVAILABLE, "error"),
    BadItem: Fate(None, "refused"),
    TransferDiscarded: Fate(None, "refused"),
    WrongCopy: Fate(None, "refused"),
    SizeMismatch: Fate(None, "refused"),
    DigestMismatch: Fate(None, "refused"),
    NoGeneration: Fate(HTTPStatus.SERVICE_UNAVAILABLE, "error"),
    FlavourUnknown: Fate(HTTPStatus.SERVICE_UNAVAILABLE, "error"),
    TooManyTransfers: Fate(HTTPStatus.SERVICE_UNAVAILABLE, "error"),
    StoreFault: Fate(HTTPStatus.SERVICE_UNAVAILABLE, "error"),
    LedgerUnavailable: Fate(HTTPStatus.SERVICE_UNAVAILABLE, "error"),
    DocumentLost: Fate(HTTPStatus.SERVICE_UNAVAILABLE, "error"),
}
_CUT = Fate(None, "error")

_CUT_FOR: dict[type[ProxyError], str] = {
    NothingKnown: "unreachable",
    OutOfReach: "unreachable",
    OriginError: "unreachable",
    ItemUnobtainable: "unreachable",
    ItemForbidden: "unreachable",
    BadItem: "wrong_bytes",
    TransferDiscarded: "wrong_bytes",
    WrongCopy: "wrong_bytes",
    SizeMismatch: "wrong_bytes",
    DigestMismatch: "wrong_bytes",
    SentDiffers: "wrong_bytes",
    StoreFault: "store",
    LedgerUnavailable: "store",
}


def cut_for(error: ProxyError) -> str:
    """Return for which of CUTS a reply was cut that an error ended."""
    found = (_CUT_FOR[kind] for kind in type(error).__mro__ if kind in _CUT_FOR)
    return next(found, "other")


def fate_of(error: ProxyError) -> Fate:
    """Return what becomes of a request that an error ended."""
    found = (_FATES[kind] for kind in type(error).__mro__ if kind in _FATES)
    return next(found, _CUT)
