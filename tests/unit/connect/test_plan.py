"""What connecting a MAAS changes, and what undoing it puts back or leaves alone."""

from dataclasses import replace
from typing import Any

import pytest

from proxy.connect.errors import MaasFault
from proxy.connect.maas_api.model import Choice, Site, Source, Version
from proxy.connect.plan import USUAL_KEYRING, Plan, Target, make_plan
from proxy.connect.record import merged
from proxy.connect.steps import Step
from proxy.connect.undoing import plan_undoing

UPSTREAM = "http://images.maas.io/ephemeral-v3/stable/"
SNAP = "/snap/maas/current/usr/share/keyrings/ubuntu-cloudimage-keyring.gpg"
OURS = "http://proxy:8080/images/ephemeral-v3/stable/"
TARGET = Target(url=OURS, mirror="maas-stable", origins=("https://images.maas.io/ephemeral-v3/stable/",))
NOBLE, JAMMY = Choice("ubuntu", "noble", ("amd64", "arm64")), Choice("ubuntu", "jammy", ("amd64",))
CANONICAL = Source(id=1, url=UPSTREAM, keyring_filename=SNAP)


def old(*sources: Source, no_proxy: bool | None = True) -> Site:
    """Return a MAAS that works with one source."""
    return Site(Version("3.4.1"), sources, {one.id: (NOBLE,) for one in sources}, no_proxy)


def new(*sources: Source, choices: dict[int, tuple[Choice, ...]] | None = None) -> Site:
    """Return a MAAS with priorities."""
    return Site(Version("3.8.0"), sources, choices or {1: (NOBLE,)}, no_proxy=True)


def ranked(source: Source, priority: int, **values: object) -> Source:
    """Return a source as MAAS 3.8 tells it."""
    told: dict[str, Any] = {"name": source.url, "enabled": True, "skip_keyring_verification": False}
    return replace(source, priority=priority, **{**told, **values})


def test_the_one_source_gets_our_url_and_keeps_the_keyring_it_has() -> None:
    plan = make_plan(old(CANONICAL, no_proxy=False), TARGET)

    assert [one.kind for one in plan.steps] == ["change source", "change setting"]
    assert plan.steps[0].old == {"url": UPSTREAM}
    assert plan.steps[0].new == {"url": OURS}
    assert plan.drops_images


@pytest.mark.parametrize("url", [OURS, OURS.rstrip("/"), OURS + "streams/v1/index.sjson"])
def test_a_maas_that_uses_us_needs_nothing(url: str) -> None:
    assert make_plan(old(replace(CANONICAL, url=url)), TARGET) == Plan(())


def test_of_several_sources_the_one_that_the_mirror_stands_for_is_changed() -> None:
    other = Source(id=2, url="http://elsewhere/x/", keyring_filename=SNAP)
    plan = make_plan(old(other, CANONICAL), TARGET)

    assert [one.target for one in plan.steps] == ["1"]
    assert "http://elsewhere/x/" in plan.warnings[0]


def test_who_has_several_sources_may_have_to_say_which() -> None:
    one, two = (Source(id=number, url=f"http://h{number}/", keyring_filename=SNAP) for number in (3, 4))
    with pytest.raises(MaasFault, match="--source"):
        make_plan(old(one, two), TARGET)
    with pytest.raises(MaasFault, match="there are: 3, 4"):
        make_plan(old(one, two), replace(TARGET, source_id=9))

    assert make_plan(old(one, two), replace(TARGET, source_id=4)).steps[0].target == "4"


def test_a_maas_without_a_source_gets_one() -> None:
    (step,) = make_plan(old(), TARGET).steps

    assert step.kind == "make source"
    assert step.new == {"url": OURS, "keyring_filename": USUAL_KEYRING}


def test_a_newer_maas_gets_a_source_of_the_highest_priority_with_the_same_selections() -> None:
    plan = make_plan(new(ranked(CANONICAL, 4)), TARGET)

    made, *selected = plan.steps
    assert made.new["priority"] == 5
    assert made.new["keyring_filename"] == SNAP
    assert [(one.choice.release, one.choice.arches) for one in selected] == [
        ("noble", ("amd64",)),
        ("noble", ("arm64",)),
    ]
    assert not plan.drops_images


def test_our_source_that_was_overtaken_disabled_or_lacks_something_is_put_right() -> None:
    ours = ranked(replace(CANONICAL, id=2, url=OURS.rstrip("/")), 3, enabled=False)
    site = new(ranked(CANONICAL, 7), ours, choices={1: (NOBLE, JAMMY), 2: (NOBLE,)})

    change, select = make_plan(site, TARGET).steps

    assert (change.target, change.new) == ("2", {"priority": 8, "enabled": True})
    assert change.old == {"priority": 3, "enabled": False}
    assert select.choice.release == "jammy"


def test_selections_of_sources_that_are_off_are_not_taken() -> None:
    plan = make_plan(new(ranked(CANONICAL, 1, enabled=False)), TARGET)

    assert [one.kind for one in plan.steps] == ["make source"]
    assert "nothing is selected" in plan.warnings[0]


def test_a_mirrors_own_keyring_takes_the_place_of_the_other_kind() -> None:
    (step,) = make_plan(old(CANONICAL), replace(TARGET, keyring_data="AAAA")).steps

    assert step.new == {"url": OURS, "keyring_filename": "", "keyring_data": "AAAA"}
    assert step.old == {"url": UPSTREAM, "keyring_filename": SNAP, "keyring_data": ""}


def test_version_3_cannot_take_a_keyring() -> None:
    site = replace(new(ranked(CANONICAL, 1)), can_take_keys=False)
    with pytest.raises(MaasFault, match="--keyring PATH"):
        make_plan(site, replace(TARGET, keyring_data="AAAA"))


@pytest.mark.parametrize("version", ["2.4.2", "1.9", "trunk", ""])
def test_a_maas_too_old_or_unknown_is_refused(version: str) -> None:
    with pytest.raises(MaasFault, match=r"too old|none that is known"):
        Version(version).check()


def done(site: Site) -> list[Step]:
    return list(make_plan(site, TARGET).steps)


def after(source: Source, **values: Any) -> Source:
    return replace(source, **values)


def test_undoing_puts_back_exactly_what_was_there() -> None:
    steps = done(old(CANONICAL, no_proxy=False))
    undoing = plan_undoing(old(after(CANONICAL, url=OURS)), steps)

    assert undoing.refusals == ()
    assert [(one.kind, dict(one.new)) for one in undoing.steps] == [
        ("change setting", {"value": False}),
        ("change source", {"url": UPSTREAM}),
    ]


def test_what_was_never_done_or_was_put_back_by_hand_needs_nothing() -> None:
    undoing = plan_undoing(old(CANONICAL, no_proxy=False), done(old(CANONICAL, no_proxy=False)))

    assert (undoing.steps, undoing.refusals) == ((), ())


def test_what_somebody_else_has_changed_since_stays() -> None:
    undoing = plan_undoing(old(after(CANONICAL, url="http://third/")), done(old(CANONICAL)))

    assert undoing.steps == ()
    assert "http://third/" in undoing.refusals[0]


def test_a_source_that_is_gone_cannot_be_put_back() -> None:
    assert "gone" in plan_undoing(old(), done(old(CANONICAL))).refusals[0]


@pytest.mark.parametrize("target", ["2", ""])
def test_a_source_that_was_made_is_removed_though_its_number_was_not_written_down(target: str) -> None:
    made, *rest = done(new(ranked(CANONICAL, 1)))
    ours = ranked(replace(CANONICAL, id=2, url=OURS.rstrip("/")), 2)
    site = new(ranked(CANONICAL, 1), ours)

    undoing = plan_undoing(site, [replace(made, target=target), *rest])

    assert [(one.kind, one.target, one.is_removal) for one in undoing.steps] == [("make source", "2", True)]


def test_a_source_that_was_made_and_became_anothers_stays() -> None:
    made, *_ = done(new(ranked(CANONICAL, 1)))
    theirs = ranked(Source(id=2, url="http://third/"), 2)

    undoing = plan_undoing(new(ranked(CANONICAL, 1), theirs), [replace(made, target="2")])

    assert undoing.steps == ()
    assert "http://third/" in undoing.refusals[0]


def test_two_runs_are_undone_as_one() -> None:
    first = done(old(CANONICAL, no_proxy=False))
    moved = replace(TARGET, url="http://new-proxy/images/ephemeral-v3/stable/", source_id=1)
    second = make_plan(old(after(CANONICAL, url=OURS)), moved).steps

    steps = merged(first, second)
    undoing = plan_undoing(old(after(CANONICAL, url=moved.url)), steps)

    assert len(steps) == 2
    assert [dict(one.new) for one in undoing.steps if one.kind == "change source"] == [{"url": UPSTREAM}]


def test_words_show_no_password_and_no_keyring() -> None:
    with_password = replace(TARGET, url="http://maas:hunter2@proxy/x/", keyring_data="QUJD" * 400)
    lines = "\n".join(line for one in make_plan(old(CANONICAL), with_password).steps for line in one.lines)

    assert "hunter2" not in lines
    assert "QUJD" not in lines
    assert f"url: {UPSTREAM} -> http://maas:***@proxy/x/" in lines
