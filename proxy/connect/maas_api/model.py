"""A MAAS as far as its images go: version, sources, what is selected of them, settings. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from proxy.connect.errors import MaasFault
from proxy.connect.maas_api.values import number, truth

NO_PROXY = "boot_images_no_proxy"
"""The setting by which MAAS asks its sources past its own http_proxy."""

_VERSION = re.compile(r"(\d+)\.(\d+)")
_OLDEST = (2, 9)
_WITH_PRIORITIES = (3, 8)
ANY = "*"


@dataclass(frozen=True, slots=True)
class Version:
    """The version of a MAAS."""

    text: str

    @classmethod
    def by_sources(cls, sources: "Iterable[Source]") -> "Version":
        """Return what its sources say of a MAAS that tells no version: whether they have priorities."""
        has_priorities = any(one.priority is not None for one in sources)
        return cls("3.8 or newer" if has_priorities else "3.7 or older")

    @property
    def numbers(self) -> tuple[int, int]:
        """Its first two numbers."""
        found = _VERSION.match(self.text)
        if found is None:
            raise MaasFault(f"MAAS calls its version {self.text[:40]!r}, which is none that is known")
        return int(found[1]), int(found[2])

    @property
    def has_priorities(self) -> bool:
        """Whether there may be several sources, of which the one with the highest priority wins."""
        return self.numbers >= _WITH_PRIORITIES

    def check(self) -> None:
        """Raise MaasFault for one that is too old."""
        if self.numbers < _OLDEST:
            raise MaasFault(
                f"this is MAAS {self.text}, which is too old for `connect`: 2.9 and newer can be connected"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A boot source. What MAAS before 3.8 does not know is None."""

    id: int
    url: str
    keyring_filename: str = ""
    keyring_data: str = ""
    """In base64."""
    name: str | None = None
    priority: int | None = None
    enabled: bool | None = None
    skip_keyring_verification: bool | None = None

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> "Source":
        """Take what MAAS tells; raises KeyError, TypeError or ValueError."""
        return cls(
            id=int(told["id"]),
            url=str(told["url"]),
            keyring_filename=str(told.get("keyring_filename") or ""),
            keyring_data=str(told.get("keyring_data") or ""),
            name=None if told.get("name") is None else str(told["name"]),
            priority=number(told.get("priority")),
            enabled=truth(told.get("enabled")),
            skip_keyring_verification=truth(told.get("skip_keyring_verification")),
        )

    @property
    def is_used(self) -> bool:
        """Whether MAAS asks it at all."""
        return self.enabled is not False

    def values(self) -> dict[str, Any]:
        """Return its fields that can be set."""
        fields = {
            "url": self.url,
            "keyring_filename": self.keyring_filename,
            "keyring_data": self.keyring_data,
            "name": self.name,
            "priority": self.priority,
            "enabled": self.enabled,
            "skip_keyring_verification": self.skip_keyring_verification,
        }
        return {name: value for name, value in fields.items() if value is not None}


class Choice(NamedTuple):
    """What is selected of a source, as MAAS says it."""

    os: str
    release: str
    arches: tuple[str, ...] = (ANY,)
    subarches: tuple[str, ...] = (ANY,)
    labels: tuple[str, ...] = (ANY,)

    @property
    def shown(self) -> str:
        """How people write it."""
        return f"{self.os}/{self.release} on {', '.join(self.arches)}"

    def is_like(self, other: "Choice") -> bool:
        """Whether the same images are selected; of subarchitectures and labels, MAAS takes all."""
        return (self.os, self.release, self.arches) == (other.os, other.release, other.arches)

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> "Choice":
        """Take what MAAS tells, by either API; raises KeyError or TypeError."""
        arch = told.get("arch") or told.get("architecture")
        return cls(
            os=str(told["os"]),
            release=str(told["release"]),
            arches=(str(arch),) if arch else _names(told.get("arches")),
            subarches=_names(told.get("subarches")),
            labels=_names(told.get("labels")),
        )


def _names(told: Any) -> tuple[str, ...]:
    if isinstance(told, str):
        told = [told]
    return tuple(str(one) for one in told) if told else (ANY,)


@dataclass(frozen=True, slots=True)
class Site:
    """What was read of a MAAS, before anything is changed."""

    version: Version
    sources: tuple[Source, ...]
    choices: Mapping[int, tuple[Choice, ...]] = field(default_factory=dict)
    """By source."""
    no_proxy: bool | None = None
    """None where it cannot be read."""
    are_choices_told: bool = True
    can_take_keys: bool = True
    """Whether a keyring can be handed over, rather than named as a file of the region's."""

    def find(self, source_id: int) -> Source | None:
        """Return a source."""
        return next((one for one in self.sources if one.id == source_id), None)


class Image(NamedTuple):
    """How far MAAS is with something that is selected."""

    name: str
    """Such as "ubuntu/noble amd64"."""
    percent: float
    is_complete: bool
    size_bytes: int = 0
    """0 where it is not told."""
