"""Values as a MAAS tells them, in whichever form: numbers and booleans may be text. Pure.

None stands for what is not told. What can have no such meaning raises ValueError or TypeError.
"""

import json
from collections.abc import Sequence
from typing import Any

_TRUTHS = {"true": True, "1": True, "false": False, "0": False}


def number(told: Any) -> int | None:
    """Return a whole number."""
    return None if told is None or told == "" else int(told)


def truth(told: Any) -> bool | None:
    """Return a boolean; None also for what is none, such as a list."""
    return _TRUTHS.get(str(told).strip().lower()) if isinstance(told, str | bool | int) else None


def truth_of_body(body: bytes) -> bool | None:
    """Return the boolean that is a whole answer, as JSON or as text."""
    text = body.decode(errors="replace")
    try:
        return truth(json.loads(text))
    except ValueError:
        return truth(text)


def items(told: Any) -> Sequence[Any]:
    """Return a list, bare as in version 2.0 or as the items of a page as in version 3."""
    found = told["items"] if isinstance(told, dict) else told
    if not isinstance(found, list):
        raise TypeError("this is no list")
    return found
