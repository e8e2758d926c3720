"""Long lists a page at a time. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import urlencode

from proxy.web.admin.views.visit import Visit

T = TypeVar("T")

ROWS = 25


@dataclass(frozen=True, slots=True)
class Slice(Generic[T]):
    """The rows of one page of a long list."""

    rows: Sequence[T]
    number: int
    """Of this page, from 1 on."""
    total: int
    query: dict[str, str]
    """What other pages are asked for by, but for their number."""
    is_more: bool = False
    """Whether there are more than `total`, which were not counted."""

    @property
    def pages(self) -> int:
        """How many there are, at least one."""
        return max(1, -(-self.total // ROWS))

    @property
    def first(self) -> int:
        """The number of the first row."""
        return (self.number - 1) * ROWS + 1

    def address(self, number: int) -> str:
        """Return the query of another page."""
        return "?" + urlencode({**self.query, "page": str(number)})


def slice_of(everything: Sequence[T], visit: Visit, *fields: str) -> Slice[T]:
    """Return the page of a list that a visit asks for; `fields` of its query go along to other pages."""
    number = page_number(visit, len(everything))
    start = (number - 1) * ROWS
    return Slice(everything[start : start + ROWS], number, len(everything), query_of(visit, *fields))


def page_number(visit: Visit, total: int) -> int:
    """Return the number of the page that is asked for, or of the last one there is."""
    return min(visit.page_number(), max(1, -(-total // ROWS)))


def query_of(visit: Visit, *fields: str) -> dict[str, str]:
    """Return those fields of a query that are given."""
    return {name: visit.text(name) for name in fields if visit.text(name)}
