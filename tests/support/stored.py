"""Reading one record and removing one blob at once, which the program does in other ways."""

from typing import Any

from proxy.digest import Digest
from proxy.store.ledger import Ledger
from proxy.store.protocols import PruneStore
from proxy.store.schema import Unreadable


def recorded(ledger: Ledger, key: str) -> Any:
    """Return the JSON value of a record, None when there is none, or none that is JSON."""
    value = ledger.records_at(key).get(key)
    return None if isinstance(value, Unreadable) else value


def removed(store: PruneStore, digest: Digest) -> bool:
    """Remove a blob unless somebody reads it; say whether it is gone."""
    removal = store.withdraw(digest)
    if removal is not None:
        removal.finish()
    return removal is not None
