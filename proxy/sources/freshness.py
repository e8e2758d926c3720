"""How current a reply has to be, said to the caches that may stand between us and an origin.

Without a word from us a parent proxy may answer from its memory for days, and even
say "not modified" of it (RFC 9111 sections 4.2.2 and 4.3.2).
"""

from enum import Enum


class Freshness(Enum):
    """What caches on the way may do (RFC 9111 sections 5.2.1 and 5.4)."""

    KEPT = "kept"
    """Answer from memory: what was asked for never changes."""
    CONFIRMED = "confirmed"
    """Answer from memory, once the origin has confirmed that this is still so."""
    ANEW = "anew"
    """Leave it to the origin: what came before was wrong, or somebody wants to be sure."""

    @property
    def fields(self) -> dict[str, str]:
        """The request's header fields that say so."""
        return _FIELDS[self]


_FIELDS = {
    Freshness.KEPT: {},
    Freshness.CONFIRMED: {"Cache-Control": "max-age=0"},
    Freshness.ANEW: {"Cache-Control": "no-cache", "Pragma": "no-cache"},
}
