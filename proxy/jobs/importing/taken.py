"""What came of the blobs of some media. Pure."""

from dataclasses import dataclass, field

from proxy.digest import Digest


@dataclass(slots=True)
class Taken:
    """What came of the blobs of some media."""

    files: int = 0
    bytes: int = 0
    """Read, hashed and stored now."""
    digests: set[Digest] = field(default_factory=set)
    """Of these."""
    held_files: int = 0
    held_bytes: int = 0
    """In the store before, and not read again."""
    unnamed_files: int = 0
    unnamed_bytes: int = 0
    """Which no list that counts here names, and which were passed over."""
    wrong: dict[str, str] = field(default_factory=dict)
    """Why blobs were refused, by what they are called: their bytes are others than the lists say."""
    unread: dict[str, str] = field(default_factory=dict)
    """Why blobs were not read to their end."""
