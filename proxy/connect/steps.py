"""One change of a MAAS: what is there, what it becomes, and how people are told. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from proxy.connect.addresses import without_password
from proxy.connect.maas_api.model import Choice, Source

Kind = Literal["make source", "change source", "select", "change setting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A change, as it is planned, carried out, written down and taken back."""

    kind: Kind
    target: str = ""
    """The source's number or the setting's name; empty for a source that is still to be made, and what is
    selected of that."""
    old: Mapping[str, Any] = field(default_factory=dict)
    """What is there before, as far as it is changed."""
    new: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_removal(self) -> bool:
        """Whether a source that was made here is removed again."""
        return self.kind == "make source" and not self.new

    @property
    def lines(self) -> list[str]:
        """Return it in words."""
        match self.kind:
            case "make source" if self.is_removal:
                return [
                    f"remove boot source {self.target}, which was made here: {shown('url', self.old['url'])}"
                ]
            case "make source":
                fields = (f"    {name}: {shown(name, value)}" for name, value in self.new.items())
                return ["make a boot source:", *fields]
            case "change source":
                return [f"change boot source {self.target}:", *_changes(self.old, self.new)]
            case "select" if not self.new:
                return [f"deselect {self.choice.shown} of boot source {self.target}"]
            case "select":
                return [f"select {self.choice.shown} of it"]
            case "change setting":
                before, after = (shown("value", one.get("value")) for one in (self.old, self.new))
                return [f"change the setting {self.target}: {before} -> {after}"]

    @property
    def choice(self) -> Choice:
        """What is selected."""
        told = self.new or self.old
        return Choice(
            told["os"],
            told["release"],
            tuple(told["arches"]),
            tuple(told["subarches"]),
            tuple(told["labels"]),
        )


def selecting(choice: Choice, source: Source | None) -> Step:
    """Return the step that selects something of a source; None is one that is still to be made."""
    target = "" if source is None else str(source.id)
    return Step(
        kind="select",
        target=target,
        new={name: _listed(value) for name, value in choice._asdict().items()},
    )


def _listed(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return [
        f"    {name}: {shown(name, old.get(name))} -> {shown(name, value)}" for name, value in new.items()
    ]


def shown(name: str, value: object) -> str:
    """Return a value as people are shown it: keyrings by their size, no passwords."""
    match name, value:
        case _, None:
            return "(unknown)"
        case _, bool():
            return "true" if value else "false"
        case _, "":
            return "(none)"
        case "keyring_data", str():
            return f"(a keyring of {len(value) * 3 // 4} bytes)"
        case "url", str():
            return without_password(value)
        case _:
            return str(value)
