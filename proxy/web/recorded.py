"""What a recording is told of a request: what it names, and whether the client took it."""

from proxy.mirror import Mirror
from proxy.recordings.asked import Kind, Request
from proxy.service.target import Target

_LONGEST_PATH = 1000


def recorded_request(method: str, target: Target) -> Request:
    """Return what is recorded of a request for something that is there."""
    kind = Kind.LOOKED_AT if method == "HEAD" else Kind.GOT
    return Request(kind, target.mirror.name, target.item.path, target.item, target.edition)


def absent_request(mirror: Mirror, url_path: str) -> Request:
    """Return what is recorded of a request for something that is not there."""
    return Request(Kind.ABSENT, mirror.name, url_path[:_LONGEST_PATH])
