"""How current a reply has to be, for caches that may stand between the proxy and an origin.

Unless it is told otherwise, a parent proxy may answer from its memory for days, and
even say "not modified" of it (RFC 9111 sections 4.2.2 and 4.3.2). Pure.
"""

from enum import Enum


class Freshness(Enum):
    """What caches on the way may do (RFC 9111 sections 5.2.1 and 5.4)."""

    KEPT = "kept"
    """They may answer from memory: what is asked for never changes."""
    CONFIRMED = "confirmed"
    """They may answer from memory once the origin has confirmed it."""
    ANEW = "anew"
    """They must leave it to the origin: what came before was wrong, or somebody wants to be sure."""
