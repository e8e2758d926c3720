"""What gpgv said of a document. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """What gpgv said."""

    exit_status: int
    statuses: tuple[tuple[str, ...], ...]
    """The lines of its --status-fd, as words."""
    last_line: str
    """Of what it says to people."""

    def words_of(self, keyword: str) -> tuple[str, ...]:
        """Return the words of the first status of a kind, nothing without it."""
        return next((words[1:] for words in self.statuses if words[0] == keyword), ())

    def has(self, keyword: str) -> bool:
        """Whether gpgv told of it."""
        return any(words[0] == keyword for words in self.statuses)
