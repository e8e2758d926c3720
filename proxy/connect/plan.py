"""What is to be changed so that a MAAS gets its images from the proxy. Pure.

MAAS up to 3.7 works with one source, whose URL is changed. From 3.8 on a source with a
higher priority is made beside the others, with the same things selected of it, for MAAS
takes of two equal selections that of the source with the higher priority.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from proxy.connect.addresses import is_same_source, is_same_tree, without_password
from proxy.connect.errors import MaasFault
from proxy.connect.maas_api.model import NO_PROXY, Choice, Site, Source
from proxy.connect.steps import Step, selecting

USUAL_KEYRING = "/usr/share/keyrings/ubuntu-cloudimage-keyring.gpg"
"""Where the region controllers have the keyring of Canonical's images; in the snap, too, as MAAS's own
sources say."""
_CLOUDIMAGE = "ubuntu-cloudimage-keyring"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What MAAS is to use."""

    url: str
    """Of the mirror, as MAAS sees it."""
    mirror: str
    origins: tuple[str, ...] = ()
    """What the mirror passes on: the source with such a URL is the one it stands for."""
    keyring_filename: str = ""
    """A file of the region controllers that was named; empty to find out."""
    keyring_data: str = ""
    """The mirror's keyring in base64, unless it is the one that every MAAS has."""
    source_id: int | None = None
    """The source that was named to be changed."""
    other_names: tuple[str, ...] = ()
    """URLs of sources that are the target, by another name or address of its host."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done."""

    steps: tuple[Step, ...]
    warnings: tuple[str, ...] = ()
    drops_images: bool = False
    """Whether MAAS may drop images and get them anew."""


def make_plan(site: Site, target: Target) -> Plan:
    """Return what makes a MAAS use the target; nothing if it does already. Raises MaasFault."""
    plan = _beside_others(site, target) if site.version.has_priorities else _the_one(site, target)
    if site.no_proxy is None and plan.steps:
        untold = f"MAAS does not tell {NO_PROXY}: if it has an http_proxy, see to it that this is true"
        plan = replace(plan, warnings=(*plan.warnings, untold))
    return plan


def our_source(site: Site, target: Target) -> Source | None:
    """Return the source that is the target already."""
    same = (one for one in site.sources if is_same_source(one.url, target.url))
    return next(same, None) or next((one for one in site.sources if one.url in target.other_names), None)


def _the_one(site: Site, target: Target) -> Plan:
    """Plan for a MAAS that works with one source."""
    ours = our_source(site, target)
    source = ours or _replaced(site, target)
    others = [one for one in site.sources if one is not source]
    warnings = [
        f"MAAS {site.version.text} has another source besides, {without_password(one.url)} (number "
        f"{one.id}), and asks it as well: remove it if it is no longer needed"
        for one in others
    ]
    if source is None:
        steps = [Step(kind="make source", new={"url": target.url, **_keyring(site, target, None)})]
    else:
        url = {"url": target.url} if ours is None else {}
        steps = _changing(source, {**url, **_keyring(site, target, source)})
    drops = any("url" in step.new and step.kind == "change source" for step in steps)
    return Plan((*steps, *_settings(site)), tuple(warnings), drops_images=drops)


def _replaced(site: Site, target: Target) -> Source | None:
    """Return the source whose place the target takes."""
    if target.source_id is not None:
        named = site.find(target.source_id)
        if named is None:
            there = ", ".join(str(one.id) for one in site.sources) or "none"
            raise MaasFault(f"MAAS has no boot source number {target.source_id}; there are: {there}")
        return named
    if len(site.sources) < 2:  # noqa: PLR2004 - one, or none
        return next(iter(site.sources), None)
    same = [one for one in site.sources if any(is_same_tree(one.url, origin) for origin in target.origins)]
    if len(same) == 1:
        return same[0]
    listed = "; ".join(f"{one.id} is {without_password(one.url)}" for one in site.sources)
    raise MaasFault(
        f"MAAS has {len(site.sources)} boot sources, of which it is not clear which one is to become the "
        f"proxy: say it by --source NUMBER ({listed})"
    )


def _beside_others(site: Site, target: Target) -> Plan:
    """Plan for a MAAS that has priorities."""
    ours = our_source(site, target)
    others = [one for one in site.sources if one is not ours]
    highest = max((one.priority or 0 for one in others), default=0)
    wanted = _selected(site, others)
    warnings: list[str] = []
    if ours is None:
        new = {
            "name": _free_name(site, f"sstream-proxy {target.mirror}"),
            "url": target.url,
            **_keyring(site, target, None),
            "priority": highest + 1,
            "enabled": True,
            "skip_keyring_verification": False,
        }
        steps = [Step(kind="make source", new=new)]
        missing = wanted
    else:
        has_priority = ours.priority is not None and ours.priority > highest
        new = {
            **_keyring(site, target, ours),
            "priority": ours.priority if has_priority else highest + 1,
            "enabled": True,
            "skip_keyring_verification": False,
        }
        steps = _changing(ours, new)
        missing = _without(wanted, site.choices.get(ours.id, ()))
    steps += [selecting(choice, ours) for choice in missing]
    if not site.are_choices_told:
        warnings.append(
            "MAAS does not tell by its API what is selected: select the images of the new source in MAAS"
        )
    elif not wanted and not (ours and site.choices.get(ours.id)):
        warnings.append(
            "nothing is selected in this MAAS: select images there, else there is nothing to import"
        )
    return Plan((*steps, *_settings(site)), tuple(warnings))


def _selected(site: Site, sources: Iterable[Source]) -> list[Choice]:
    """Return what is selected of some sources that are used, each for one architecture and once."""
    found: dict[Choice, None] = {}
    for source in sources:
        if source.is_used:
            for choice in site.choices.get(source.id, ()):
                found.update((choice._replace(arches=(arch,)), None) for arch in choice.arches)
    return list(found)


def _without(wanted: Sequence[Choice], there: Iterable[Choice]) -> list[Choice]:
    known = {(one.os, one.release, arch) for one in there for arch in one.arches}
    return [one for one in wanted if (one.os, one.release, one.arches[0]) not in known]


def _free_name(site: Site, name: str) -> str:
    taken = {one.name for one in site.sources}
    names = (name, *(f"{name} {number}" for number in range(2, len(taken) + 3)))
    return next(one for one in names if one not in taken)


def _keyring(site: Site, target: Target, source: Source | None) -> dict[str, Any]:
    """Return how MAAS is told which keys may sign: by a file of its own, or by the keyring itself.

    Never both; where a source has one kind, the other is taken away.
    """
    if target.keyring_filename:
        return {"keyring_filename": target.keyring_filename, **_away("keyring_data", source)}
    if not target.keyring_data:
        if source is not None and (source.keyring_data or _CLOUDIMAGE in source.keyring_filename):
            return {}  # It verifies what it had so far, which is what the mirror passes on.
        known = (one.keyring_filename for one in site.sources if _CLOUDIMAGE in one.keyring_filename)
        return {"keyring_filename": next(known, USUAL_KEYRING), **_away("keyring_data", source)}
    if not site.can_take_keys:
        raise MaasFault(
            f"mirror {target.mirror!r} has a keyring of its own, which version 3 of MAAS's API cannot take: "
            "copy it to every region controller and name it there by --keyring PATH, or use an API key"
        )
    return {**_away("keyring_filename", source), "keyring_data": target.keyring_data}


def _away(name: str, source: Source | None) -> dict[str, Any]:
    return {name: ""} if source is not None and source.values()[name] else {}


def _changing(source: Source, new: dict[str, Any]) -> list[Step]:
    """Return the step that gives a source some values; none if it has them."""
    now = source.values()
    changed = {name: value for name, value in new.items() if now.get(name) != value}
    if not changed:
        return []
    old = {name: now.get(name) for name in changed}
    return [Step(kind="change source", target=str(source.id), old=old, new=changed)]


def _settings(site: Site) -> list[Step]:
    if site.no_proxy is not False:
        return []
    return [Step(kind="change setting", target=NO_PROXY, old={"value": False}, new={"value": True})]
