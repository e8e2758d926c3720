"""Who is told how far a long piece of work is: whatever moves many files tells a `Progress`. Pure."""

from typing import Protocol


class Progress(Protocol):
    """Somebody who looks on. Any thread may call it, and no call waits for anything.

    What is shown of it may have lost its reader: each call may raise that BrokenPipeError.
    """

    def begun(self, files: int, size_bytes: int) -> None:
        """Take note of work to do, without what is done already. Called again, it adds to that."""

    def moved(self, path: str, count: int) -> None:
        """Take note that more bytes of a file have arrived; a negative number was discarded again."""

    def ended(
        self, path: str, problem: str | None = None, *, mirror: str = "", missing_bytes: int = 0
    ) -> None:
        """Take note that a file is there, or has failed for the reason given.

        `missing_bytes` of it were announced and do not come.
        """


class Unwatched:
    """Nobody looks on."""

    def begun(self, files: int, size_bytes: int) -> None:
        """Ignore it."""

    def moved(self, path: str, count: int) -> None:
        """Ignore it."""

    def ended(
        self, path: str, problem: str | None = None, *, mirror: str = "", missing_bytes: int = 0
    ) -> None:
        """Ignore it."""
