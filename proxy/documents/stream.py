"""Which stream a mirror serves: what its first index named, and what overlaps with that since.

One key signs several streams: of releases, of daily images, of candidates. Whoever
stands between a mirror and its origin could show another one, newer and well signed.
"""

from collections.abc import Collection

from proxy.documents.age import RollbackError
from proxy.errors import ProxyError

_MOST_TOLD = 3


class AnotherStream(RollbackError):
    """A validly signed index that has nothing in common with the one accepted before."""

    def __init__(self, path: str, found: Collection[str], accepted: Collection[str]) -> None:
        ProxyError.__init__(
            self,
            f"{path} is of another stream: it names {_told(found)}, and no list that was accepted before, "
            f"as {_told(accepted)}",
        )
        self.path = path


def check_same_stream(path: str, found: Collection[str], accepted: Collection[str]) -> None:
    """Raise AnotherStream when an index names lists, and none of those known.

    Streams gain lists and lose some; none changes all of them at once.
    """
    if found and accepted and set(found).isdisjoint(accepted):
        raise AnotherStream(path, found, accepted)


def _told(names: Collection[str]) -> str:
    told = sorted(names)
    return ", ".join(told[:_MOST_TOLD]) + (" ..." if len(told) > _MOST_TOLD else "")
