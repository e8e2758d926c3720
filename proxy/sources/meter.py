"""Counting what an origin does."""

from typing import Protocol


class Meter(Protocol):
    """Counts what one origin does."""

    def answered(self, seconds: float, *, is_good: bool) -> None:
        """Count an answer, and how long the origin took to begin it."""

    def failed(self) -> None:
        """Count a request without an answer, or with one that broke off or made no sense."""

    def received(self, count: int) -> None:
        """Count bytes of a body."""

    def exceeded(self) -> None:
        """Count a document larger than the limit."""
