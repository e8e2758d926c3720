"""How what was changed is taken back, and what of it somebody has changed since. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from proxy.connect.addresses import is_same_source
from proxy.connect.maas_api.model import NO_PROXY, Site, Source
from proxy.connect.steps import Step, shown


@dataclass(frozen=True, slots=True)
class Undoing:
    """What is to be done, in this order."""

    steps: tuple[Step, ...]
    """Changes with old and new changed about; a source that was made here is one without new values."""
    refusals: tuple[str, ...] = ()
    """What is left alone, and why."""
    drops_images: bool = False


def plan_undoing(site: Site, done: Sequence[Step]) -> Undoing:
    """Return how to take back what was done, the last first.

    What is as it was before needs nothing, whether it was never done or was taken back by
    hand. What is neither as it was nor as it became here is somebody else's, and stays.
    """
    steps: list[Step] = []
    refusals: list[str] = []
    for step in reversed(done):
        match step.kind:
            case "select":
                steps += _deselecting(site, step, done)
            case "make source":
                found = _made(site, step)
                if found is not None:
                    refusal = _strange(found, step)
                    if refusal:
                        refusals.append(refusal)
                    else:
                        steps.append(Step(kind="make source", target=str(found.id), old=step.new))
            case "change source":
                back, refused = _back(site.find(int(step.target)), step)
                steps += back
                refusals += refused
            case "change setting":
                if step.target == NO_PROXY and site.no_proxy == step.new["value"]:
                    steps.append(_reversed(step))
    drops = any(step.kind == "make source" or "url" in step.new for step in steps)
    return Undoing(tuple(steps), tuple(refusals), drops_images=drops)


def _deselecting(site: Site, step: Step, done: Sequence[Step]) -> list[Step]:
    """Return the step that takes a selection away; none where it goes with its source."""
    made = {one.target for one in done if one.kind == "make source"}
    if not step.target or step.target in made:
        return []
    there = site.choices.get(int(step.target), ())
    is_there = any(one.is_like(step.choice) for one in there)
    return [Step(kind="select", target=step.target, old=step.new)] if is_there else []


def _made(site: Site, step: Step) -> Source | None:
    if step.target:
        return site.find(int(step.target))
    # It may have been made before it could be written down which number it has.
    return next((one for one in site.sources if is_same_source(one.url, step.new["url"])), None)


def _strange(found: Source, step: Step) -> str:
    if is_same_source(found.url, step.new["url"]):
        return ""
    return (
        f"boot source {found.id} was made here for {shown('url', step.new['url'])} and is "
        f"{shown('url', found.url)} now: somebody has changed it, so it stays"
    )


def _back(found: Source | None, step: Step) -> tuple[list[Step], list[str]]:
    if found is None:
        return [], [f"boot source {step.target} is gone: somebody has removed it, so it cannot be put back"]
    now = found.values()
    theirs = {
        name: now.get(name)
        for name, value in step.new.items()
        if not _is(name, now.get(name), value) and not _is(name, now.get(name), step.old.get(name))
    }
    if theirs:
        told = ", ".join(
            f"its {name} is {shown(name, value)} and not {shown(name, step.new[name])}"
            for name, value in theirs.items()
        )
        return [], [f"boot source {step.target} has been changed since by somebody else, so it stays: {told}"]
    changed = {name: value for name, value in step.old.items() if not _is(name, now.get(name), value)}
    if not changed:
        return [], []
    new = {name: value for name, value in changed.items() if value is not None}
    old = {name: now.get(name) for name in new}
    return [Step(kind="change source", target=step.target, old=old, new=new)], []


def _is(name: str, one: object, other: object) -> bool:
    if name == "url" and isinstance(one, str) and isinstance(other, str):
        return is_same_source(one, other)
    return one == other


def _reversed(step: Step) -> Step:
    return Step(kind=step.kind, target=step.target, old=step.new, new=step.old)
