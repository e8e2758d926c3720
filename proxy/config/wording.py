"""How messages name keys and show what was written: in one line, shortened, without credentials. Pure."""

import re
from collections.abc import Mapping

_LONGEST_SHOWN = 80
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_LARGEST_NUMBER = 1024**6
_IN_LIST = re.compile(r"(\w+)\[(\d+)\](?:\.(.+))?\Z", re.DOTALL)
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def quoted(text: str) -> str:
    """Return `text` fit for a message: one line, shortened, without credentials."""
    shown = masked(text)
    return repr(shown if len(shown) <= _LONGEST_SHOWN else shown[:_LONGEST_SHOWN] + "…")


def masked(text: str) -> str:
    """Return `text` with all that precedes its last "@" hidden, unless it is a plain absolute path.

    What was meant as a URL need not be one, so no URL parser decides here.
    """
    if text.startswith("/") and ":" not in text:
        return text
    return re.sub(r"(?s)\A([A-Za-z][A-Za-z0-9+.-]*://)?.*@", r"\1***@", text)


def found(raw: object) -> str:
    """Return in words what was there instead."""
    match raw:
        case bool():
            return "true" if raw else "false"
        case int() | float():
            # Python refuses to write out numbers of thousands of digits.
            return f"the number {raw}" if not abs(raw) > _LARGEST_NUMBER else "a number that large"
        case str():
            return f"the text {quoted(raw)}"
        case list():
            return "a list"
        case dict():
            return "a table"
        case _:
            return "a date or time of day"


def key_text(name: str) -> str:
    """Return a key of a table, quoted if TOML wants that."""
    return name if _BARE_KEY.fullmatch(name) else quoted(name)


def spoken_key(key: str, table: Mapping[str, object]) -> str:
    """Return a key as its writer would say it: with the name of what it belongs to, not its index.

    Of several with the same name, or without a fit one, the place in the file is told.
    """
    match = _IN_LIST.match(key)
    entries = table.get(match[1]) if match else None
    if match is None or not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
        return key
    index, names = int(match[2]), [entry.get("name") for entry in entries]
    name = names[index]
    if isinstance(name, str) and _PLAIN_NAME.fullmatch(name) and names.count(name) == 1:
        of = f'{match[1]} "{name}"'
    else:
        of = f"{match[1]} number {index + 1}"
    return f"{of}: {match[3]}" if match[3] else of
