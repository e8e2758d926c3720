"""Wording what was found for one client: the only place where facts of strangers become text. Pure.

What cannot be printed is escaped here, and what is long is cut.
"""

from typing import Any

from proxy.doctor.clients import Client
from proxy.doctor.findings import Finding, Severity
from proxy.doctor.texts import documents, items, replies, signatures
from proxy.readable import printable

_LONGEST_FACT = 300
_WORDS = {**replies.WORDS, **signatures.WORDS, **documents.WORDS, **items.WORDS}
CODES = frozenset(_WORDS)
"""Everything that may be found."""


class Voice:
    """Words findings for one client."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def fault(self, code: str, **facts: Any) -> Finding:
        """Say what the client fails by."""
        return self.say(code, Severity.FAULT, **facts)

    def warning(self, code: str, **facts: Any) -> Finding:
        """Say what the client may fail by."""
        return self.say(code, Severity.WARNING, **facts)

    def note(self, code: str, **facts: Any) -> Finding:
        """Say what is worth to know."""
        return self.say(code, Severity.NOTE, **facts)

    def say(self, code: str, severity: Severity, **facts: Any) -> Finding:
        """Word a finding; the facts are its evidence too."""
        words = _WORDS[code]
        shown = {name: _shown(value) for name, value in facts.items()}
        filled = {**shown, "client": self._client.title}
        says = words.says.format_map(filled)
        own = self._client.words.get(words.group)
        if own and severity is not Severity.NOTE:
            says += f" ({self._client.title} says: {own})"
        return Finding(
            code=code,
            severity=severity,
            says=says,
            mend=words.mend.format_map(filled),
            who=words.who,
            evidence={
                name: value if isinstance(value, int | float) else shown[name]
                for name, value in facts.items()
            },
        )


def _shown(value: Any) -> str:
    text = printable(str(value))
    return text if len(text) <= _LONGEST_FACT else f"{text[:_LONGEST_FACT]}…"
