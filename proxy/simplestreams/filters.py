"""The filter language of sstream-mirror and sstream-query.

    KEY OP VALUE        arch=amd64   release~(jammy|noble)   subarch!=generic

`=` compares the whole text, `~` searches a regular expression anywhere in it,
`!` turns either around. All filters must match. A field that an item does not
have counts as empty text. Measured against python-simplestreams 0.1.0.post59,
down to the trailing blanks, which belong to the value.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from proxy.errors import ProxyError

_EXPRESSION = re.compile(r"(?P<key>[\w|-]+) *(?P<negation>!?)(?P<operator>[=~]) *(?P<value>.*)$")
_LONGEST = 1000


class FilterError(ProxyError):
    """An expression that is no filter."""

    def __init__(self, expression: str, problem: str) -> None:
        super().__init__(f"filter {expression!r}: {problem}")
        self.expression = expression


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition on the flattened fields of an item."""

    expression: str
    key: str
    value: str
    is_negated: bool
    pattern: re.Pattern[str] | None = field(default=None, repr=False)
    """Compiled for `~`, None for `=`."""
    found_in: frozenset[str] | None = field(default=None, repr=False)
    """The texts that the pattern is found in, where somebody else has searched them."""

    @classmethod
    def parse(cls, expression: str) -> Self:
        """Read one expression. Raises FilterError."""
        if len(expression) > _LONGEST:
            raise FilterError(f"{expression[:80]}…", f"it is longer than {_LONGEST} characters")
        match = _EXPRESSION.match(expression)
        if match is None:
            raise FilterError(
                expression, "write KEY=VALUE, KEY!=VALUE, KEY~REGEX or KEY!~REGEX, such as 'arch=amd64'"
            )
        key, value = match["key"], match["value"]
        pattern = None
        if match["operator"] == "~":
            try:
                pattern = re.compile(value)
            except (re.error, RecursionError, OverflowError) as error:
                raise FilterError(expression, f"its regular expression is wrong: {error}") from None
        return cls(expression, key, value, bool(match["negation"]), pattern)

    def searched(self, found_in: frozenset[str]) -> Self:
        """Return the filter with its pattern's work done: `found_in` is true of all texts that will come."""
        return replace(self, found_in=found_in)

    def matches(self, fields: Mapping[str, str]) -> bool:
        """Whether an item with these fields passes."""
        text = fields.get(self.key, "")
        if self.pattern is None:
            found = text == self.value
        elif self.found_in is not None:
            found = text in self.found_in
        else:
            found = self.pattern.search(text) is not None
        return found != self.is_negated


def matches_all(filters: Iterable[Filter], fields: Mapping[str, str]) -> bool:
    """Whether an item passes every filter."""
    return all(one.matches(fields) for one in filters)
