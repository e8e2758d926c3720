"""What rich draws on: fitted to a terminal, whole anywhere else, and letter by letter what a list says."""

from rich.console import Console

_NO_LIMIT = 1_000_000
"""Columns; nothing is folded or cut."""


class PlainConsole(Console):
    """A stream on which "[red]" and ":boot:" are what they are: no colour, and no boot."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)
        if not self.is_terminal:
            self.width = _NO_LIMIT

    def on_broken_pipe(self) -> None:
        """Leave it to those who know how a program ends then."""
        raise  # noqa: PLE0704 - called while the exception is handled
