"""The shape of texts, and what many of them say. Pure."""

from typing import NamedTuple


class Words(NamedTuple):
    """The texts of one kind of finding."""

    says: str
    mend: str
    who: str
    group: str = ""
    """Which of the client's own words belong to it."""


MIRROR, PUBLISHER, NETWORK = "the mirror", "the publisher", "the network"
HERE, KEYRING, WAY, CALLER = "this machine", "the keyring", "a proxy on the way", "whoever set the URL"

SERVE_ALL = "serve every file of the tree as it was published; `sstream-mirror` or a fresh copy restores it"
COPY_AGAIN = "copy the file anew from upstream and compare it with what the list says"
PLAIN_FILES = "serve the tree as plain files: no compression, filters or conversion for what lies below it"
FASTER = "look at the mirror's disk, load and limits, and at what lies between"
ALL_AT_ONCE = (
    "copy items first, then lists, then the index, all of one publication, and replace each by a rename"
)
