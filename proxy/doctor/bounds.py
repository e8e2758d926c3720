"""What an examination may cost, at most. Pure."""

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Limits of one examination; `--help` tells them."""

    requests: int = 300
    document_bytes: int = 64 * MIB
    """Of one index or list, as it comes and unpacked."""
    whole_bytes: int = 48 * MIB
    """Of all items that are read to their end, but for `--full`."""
    largest_whole_bytes: int = 16 * MIB
    """Items that are larger are looked at in the beginning and the end."""
    piece_bytes: int = 64 * 1024
    """How much is read of a beginning and an end."""
    items: int = 120
    """So many are looked at."""
    at_once: int = 8
    """Requests for items, at the same time."""
    load: int = 0
    """How many further requests are made at once to try the load, 0 for none."""
    seconds: float = 120.0
    is_full: bool = False
    """Read every item that the client would fetch to its end, however long it takes."""
