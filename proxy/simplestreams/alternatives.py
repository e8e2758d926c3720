"""The alternatives of a regular expression: `release~(noble|jammy)` has two words, and each is meant.

Reads only as much of Python's syntax as tells where a group begins, ends and
divides. What cannot be told so, has no alternatives here.
"""

import re
from typing import NamedTuple

_GLOBAL_FLAGS = re.compile(r"(?:\(\?[aiLmsux]+\))*")
_TOKEN = re.compile(
    r"(?P<passed>\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?(?:P=\w+|\#[^)]*)\))"
    r"|(?P<opening>\((?:\?(?:P<\w+>|=|<=|>|(?P<flags>[aiLmsux]*)(?:-[imsx]+)?:))?)"
    r"|(?P<bar>\|)|(?P<closing>\))|.",
    re.DOTALL,
)
"""Escapes, sets, back references and comments are passed over; a group opens if it must match."""
_WORD = re.compile(r"\^?((?:[\w.:/ -]|\\[.-])+)\$?")
_MOST = 100


class Alternative(NamedTuple):
    """One branch of an alternation."""

    text: str
    """As it is written."""
    expression: str
    """The whole expression with the other branches left out."""

    @property
    def word(self) -> str | None:
        """The name that it spells out, None for a pattern."""
        match = _WORD.fullmatch(self.text)
        return None if match is None else match[1]


def alternatives(expression: str) -> list[Alternative]:
    """Return the branches of all alternations that take part in every match, a hundred at most."""
    flags = _GLOBAL_FLAGS.match(expression)
    start = 0 if flags is None else flags.end()
    if "x" in expression[:start]:
        return []
    found = []
    for begin, bars, end in _alternations(expression, start):
        edges = [begin, *(bar + 1 for bar in bars)], [*bars, end]
        for left, right in zip(*edges, strict=True):
            text = expression[left:right]
            if text:
                found.append(Alternative(text, expression[:begin] + text + expression[end:]))
    return found[:_MOST] if all(_compiles(one.expression) for one in found[:_MOST]) else []


def _alternations(expression: str, start: int) -> list[tuple[int, list[int], int]]:
    """Return the begin, the bars and the end of each group with bars; the whole counts as one."""
    stack: list[tuple[int, list[int]]] = [(start, [])]
    closed: list[tuple[int, list[int], int]] = []
    for token in _TOKEN.finditer(expression, start):
        kind = token.lastgroup
        if kind in {"opening", "flags"}:
            if expression.startswith("?", token.end()) or "x" in (token["flags"] or ""):
                return []  # It must not match, or is written over several lines.
            stack.append((token.end(), []))
        elif kind == "bar":
            stack[-1][1].append(token.start())
        elif kind == "closing":
            closed.append((*stack.pop(), token.start()))
    closed.append((*stack.pop(), len(expression)))
    return [one for one in reversed(closed) if one[1]]


def _compiles(expression: str) -> bool:
    try:
        re.compile(expression)
    except (re.error, RecursionError, OverflowError):
        return False
    return True
