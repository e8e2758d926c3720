"""What a path names, and why it may name nothing that is served."""

from dataclasses import dataclass

from proxy.documents.generation import Edition
from proxy.errors import ProxyError
from proxy.mirror import Mirror
from proxy.simplestreams.model import Item


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a path names: known before any of its bytes are."""

    mirror: Mirror
    item: Item
    edition: Edition | None = None
    """The generation that a document belongs to; None for items."""
    age_s: float = 0.0
    """Seconds since an origin last confirmed a document."""
    is_stale: bool = False

    @property
    def is_document(self) -> bool:
        """Whether this is an index or list, not an item."""
        return self.edition is not None


class NotListed(ProxyError):
    """A path that no verified list names."""

    def __init__(self, mirror: str, path: str, why: str) -> None:
        super().__init__(f"mirror {mirror} does not serve {path!r:.200}: {why}")
        self.mirror = mirror
        self.path = path


class NotLocked(NotListed):
    """A path that the lockfile does not name which is served."""

    def __init__(self, mirror: str, path: str, lockfile: str) -> None:
        ProxyError.__init__(
            self,
            f"mirror {mirror} does not serve {path!r:.200}: it is not in {lockfile}, "
            "and nothing else is served",
        )
        self.mirror = mirror
        self.path = path


class NothingKnown(ProxyError):
    """A path that may be an item, of a mirror that has no lists yet to tell."""

    def __init__(self, mirror: str, reason: str) -> None:
        super().__init__(f"mirror {mirror} has no verified lists yet to say what this is: {reason}")
        self.mirror = mirror


class ListRefused(ProxyError):
    """A list that upstream has and that could not be verified, or that it refuses."""


class ListBroken(ProxyError):
    """A list that upstream did not deliver, or not whole."""


class DocumentLost(ProxyError):
    """A document that was accepted, and whose file the store has lost or cannot read."""

    def __init__(self, path: str) -> None:
        super().__init__(f"the store has lost {path}; it is being fetched again")
        self.path = path


class OfflineMiss(ProxyError):
    """An item that is not in the store while the proxy is offline."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is not in the cache, and the proxy is offline")
        self.path = path
