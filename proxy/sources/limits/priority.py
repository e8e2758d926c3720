"""Who goes first where a limit makes transfers wait. Pure."""

from enum import IntEnum


class Priority(IntEnum):
    """Who goes first; the lower the earlier."""

    DOCUMENT = 0
    """Indexes and lists: they are small, and clients wait for them."""
    CLIENT = 1
    """Items that a client waits for."""
    BACKGROUND = 2
    """Items that nobody waits for yet."""
