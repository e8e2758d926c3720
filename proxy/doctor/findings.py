"""What an examination found, and the form in which other programs get it. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

SCHEMA = 1
"""The version of the JSON form; fields may be added within one version, never changed or removed."""
_MOST_EXAMPLES = 3


class Severity(StrEnum):
    """How much a finding means for the client."""

    FAULT = "fault"
    """The client fails, or would get what it should not."""
    WARNING = "warning"
    """The client works, and may fail under other circumstances."""
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was noticed."""

    code: str
    severity: Severity
    says: str
    """What is wrong, and what the client makes of it."""
    mend: str
    who: str
    """At whose place it has to be mended."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    others: tuple[str, ...] = ()
    """Where else the same was seen."""

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        evidence = dict(self.evidence)
        if self.others:
            evidence["also"] = list(self.others)
        return {
            "code": self.code,
            "says": self.says,
            "mend": self.mend,
            "who": self.who,
            "evidence": evidence,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of an examination."""

    client: str
    url: str
    findings: tuple[Finding, ...]
    tried: Mapping[str, int | float]
    """What was done, in numbers."""
    took_s: float

    def of(self, severity: Severity) -> list[Finding]:
        """Return the findings of one severity."""
        return [one for one in self.findings if one.severity is severity]

    @property
    def is_content(self) -> bool:
        """Whether the client would be content."""
        return not self.of(Severity.FAULT)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "schema": SCHEMA,
            "client": self.client,
            "url": self.url,
            "content": self.is_content,
            "faults": [one.as_json() for one in self.of(Severity.FAULT)],
            "warnings": [one.as_json() for one in self.of(Severity.WARNING)],
            "notes": [one.as_json() for one in self.of(Severity.NOTE)],
            "tried": dict(self.tried),
            "took_s": round(self.took_s, 3),
        }


def merged(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings, the worst first; those of one kind are one, which names a few other places."""
    kinds: dict[tuple[str, Severity], list[Finding]] = {}
    for one in findings:
        kinds.setdefault((one.code, one.severity), []).append(one)
    order = list(Severity)
    found = [_one_of(alike) for alike in kinds.values()]
    return tuple(sorted(found, key=lambda one: order.index(one.severity)))


def _one_of(alike: list[Finding]) -> Finding:
    first, *rest = alike
    places = list(dict.fromkeys(str(one.evidence.get("url", "")) for one in rest))
    places = [place for place in places if place and place != first.evidence.get("url")]
    return replace(
        first,
        others=tuple(places[:_MOST_EXAMPLES]),
        evidence={**first.evidence, "times": len(alike)} if len(alike) > 1 else first.evidence,
    )
