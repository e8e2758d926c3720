"""How much disk the store may take."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreLimits:
    """Sizes in bytes; blobs are evicted, least recently used first, to stay within both."""

    limit_bytes: int | None = None
    """Most that all blobs and partial downloads may take; None is unlimited."""
    min_free_bytes: int = 1024**3
    """Kept free on the file system that holds the store."""
