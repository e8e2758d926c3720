"""Which mirrors somebody may have meant by a path at which none is mounted.

The reply stays 404 whatever is found: MAAS up to 3.7 asks beside a tree first, and needs that.
"""

from collections.abc import Sequence
from urllib.parse import unquote

from proxy.mirror import Mirror
from proxy.readable import like
from proxy.web.mounts import tidied

_MOST_COMPARED = 20
"""So many mounts are looked through for a typing error: anybody may ask for what is not there, often."""
_ALIKE = 0.75
"""From which ratio on two paths are taken for the same one with a typing error; 1 is equality."""


def nearest(path: str, mirrors: Sequence[Mirror]) -> list[Mirror]:
    """Return the mirrors that a path may be meant for; of several kinds of likeness the surest counts."""
    asked = _plain(path)
    mounts = {mirror.mount: _plain(mirror.mount) for mirror in mirrors}
    # Without the slash at its end, with something else in that slash's place, or in other letters.
    begun = [one for one in mirrors if asked.startswith(mounts[one.mount].rstrip("/"))]
    if begun:
        return [max(begun, key=lambda one: len(one.mount))]
    above = [one for one in mirrors if mounts[one.mount].startswith(f"{asked.rstrip('/')}/")]
    if above:
        return above
    first, *_ = asked.strip("/").split("/")
    named = [one for one in mirrors if one.name.casefold() == first]
    root = f"{asked.partition('/streams/')[0].rstrip('/')}/"
    alike = like(root, list(mounts.values())[:_MOST_COMPARED], cutoff=_ALIKE)
    return named or [one for one in mirrors if mounts[one.mount] in alike]


def _plain(path: str) -> str:
    return tidied(unquote(path)).casefold()
