"""How much disk the store may take."""

from dataclasses import dataclass

_MOST_HEADROOM_BYTES = 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreLimits:
    """Sizes in bytes; blobs are evicted, least recently used first, to stay within both."""

    limit_bytes: int | None = None
    """Most that all blobs and partial downloads may take; None is unlimited."""
    min_free_bytes: int = 1024**3
    """Kept free on the file system that holds the store."""
    keep_unlisted_s: float = 30 * 86400.0
    """Blobs that no list names any more go when nobody used them for this long, seconds."""

    @property
    def headroom_bytes(self) -> int:
        """How much room the keeper makes ahead of need."""
        return (
            _MOST_HEADROOM_BYTES
            if self.limit_bytes is None
            else min(_MOST_HEADROOM_BYTES, self.limit_bytes // 20)
        )
