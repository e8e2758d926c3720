"""What a person probably meant, and what there is: advice that is quick however long lists are. Pure."""

from collections import Counter
from heapq import nsmallest

from proxy.readable import like

_MOST_VALUES_SHOWN = 12
_MOST_KEYS_SHOWN = 40
_MOST_COMPARED = 2000
_LONGEST_KEY_SHOWN = 200


def listed(wanted: str, values: Counter[str]) -> str:
    """Return the values there are, those most like the wanted one first, then the most frequent."""
    common = nsmallest(_MOST_COMPARED, values, key=lambda value: (-values[value], value))
    near = like(wanted, common, most=_MOST_VALUES_SHOWN, cutoff=0.5)
    rest = [value for value in common if value not in near]
    shown = [*near, *rest][:_MOST_VALUES_SHOWN]
    more = len(values) - len(shown)
    return ", ".join(f"{value[:60]!r}" for value in shown) + (f" and {more} more" if more else "")


def near_key(key: str, keys: set[str]) -> str:
    """Return the key that was probably meant, or which there are."""
    there = sorted(keys)
    near = like(key, there[:_MOST_COMPARED])
    if near:
        return f"; {near[0]!r} was probably meant"
    more = f" and {len(there) - _MOST_KEYS_SHOWN} more" if len(there) > _MOST_KEYS_SHOWN else ""
    return f"; there are: {', '.join(one[:_LONGEST_KEY_SHOWN] for one in there[:_MOST_KEYS_SHOWN])}{more}"
