"""What MAAS asks for when somebody selects releases and architectures in it.

MAAS downloads, of the newest version of every product of a selected release and
architecture, the files it boots and installs from; and with any selection all
boot loaders (canonical/maas, src/maasservicelayer/simplestreams, August 2026). Pure.
"""

from collections.abc import Iterable
from typing import NamedTuple

from proxy.connect.maas_api.model import ANY, Choice
from proxy.simplestreams.maas_files import BOOT_FILES, BOOT_LOADER_FILE, BOOT_LOADERS
from proxy.simplestreams.select import Condition, Fields

NEWEST_VERSIONS = 1
"""MAAS uses the newest version of a product only."""


class Image(NamedTuple):
    """A release for an architecture, by the names that MAAS users know; all in small letters."""

    release: str
    version: str
    arch: str

    def is_called(self, name: str) -> bool:
        """Whether a name means its release: a code name or a version ("noble", "24.04", "centos70")."""
        return bool(name) and name.lower() in {self.release, self.version}


def image_of(fields: Fields) -> Image | None:
    """Return what an item belongs to, None for boot loaders and for what MAAS does not download."""
    if "bootloader-type" in fields or fields.get("ftype") not in BOOT_FILES:
        return None
    return Image(*(fields.get(name, "").lower() for name in ("release", "version", "arch")))


def images(items: Iterable[Fields]) -> set[Image]:
    """Return what there is of releases and architectures."""
    return {image for fields in items if (image := image_of(fields)) is not None}


def maas_condition(releases: Iterable[str], arches: Iterable[str]) -> Condition:
    """Return the condition for a selection such as noble and jammy on amd64; no arches means all."""
    wanted_releases = tuple(releases)
    wanted_arches = {arch.lower() for arch in arches}

    def is_wanted(fields: Fields) -> bool:
        if "bootloader-type" in fields:
            return is_boot_loader(fields)
        image = image_of(fields)
        return (
            image is not None
            and (not wanted_arches or image.arch in wanted_arches)
            and any(map(image.is_called, wanted_releases))
        )

    return is_wanted


def is_boot_loader(fields: Fields) -> bool:
    """Whether an item is of a boot loader that MAAS downloads with any selection."""
    loader = fields.get("bootloader-type"), fields.get("arch", "")
    return fields.get("ftype") == BOOT_LOADER_FILE and loader in BOOT_LOADERS


def is_chosen(fields: Fields, choice: Choice) -> bool:
    """Whether an item is of what somebody has selected in a MAAS."""
    image = image_of(fields)
    return (
        image is not None
        and choice.os in {"", fields.get("os", "")}
        and image.is_called(choice.release)
        and _is_any(choice.arches, {image.arch})
        and _is_any(choice.subarches, {fields.get("subarch", ""), *fields.get("subarches", "").split(",")})
        and _is_any(choice.labels, {fields.get("label", "")})
    )


def choices_condition(choices: Iterable[Choice]) -> Condition:
    """Return the condition for all that is selected in a MAAS, its boot loaders included."""
    chosen = tuple(choices)

    def is_wanted(fields: Fields) -> bool:
        if "bootloader-type" in fields:
            return is_boot_loader(fields)
        return any(is_chosen(fields, choice) for choice in chosen)

    return is_wanted


def _is_any(selected: Iterable[str], there: set[str]) -> bool:
    return any(name in {"", ANY} or name in there for name in selected)
