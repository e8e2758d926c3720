"""What can become of an item's way into the store, other than arriving."""

from proxy.digest import Digest
from proxy.errors import ProxyError
from proxy.simplestreams.model import Item
from proxy.store.files import StoreFault


class BadItem(ProxyError):
    """An item of which no origin has the bytes that the signed list promises."""

    def __init__(self, digest: Digest, problem: str) -> None:
        super().__init__(f"upstream's bytes for {digest} are wrong: {problem}")
        self.digest = digest
        self.problem = problem


class TransferDiscarded(ProxyError):
    """A transfer whose bytes are useless: who still wants the item has it fetched from the beginning."""

    def __init__(self, item: Item, problem: str) -> None:
        super().__init__(f"what had arrived of {item.path} was discarded: {problem}")
        self.problem = problem


class OutOfReach(ProxyError):
    """An item for which no origin can be reached at the moment, though it may come yet."""

    def __init__(self, item: Item, problem: str) -> None:
        super().__init__(f"{item.path} is not here, and no origin can be reached now; last: {problem}")
        self.problem = problem


class NoRoom(StoreFault):
    """An item for which even eviction could not make space."""

    def __init__(self, item: Item) -> None:
        super().__init__(f"no room for {item.size_bytes} bytes, even after eviction")
