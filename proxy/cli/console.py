"""Tables and texts on standard output: fitted to a terminal, whole anywhere else."""

from rich.console import Console

_NO_LIMIT = 1_000_000
"""Columns; nothing is folded or cut."""


class OutputConsole(Console):
    """Standard output. Names may look like markup, and are none."""

    def __init__(self) -> None:
        super().__init__(markup=False, highlight=False)
        if not self.is_terminal:
            self.width = _NO_LIMIT

    def on_broken_pipe(self) -> None:
        """Leave it to those who know how a program ends then."""
        raise  # noqa: PLE0704 - called while the exception is handled
