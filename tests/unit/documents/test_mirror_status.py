"""What is said of a mirror's documents: dates, gaps, and why a path has no document."""

import pytest
from support.drafted import INDEX, a_document, a_generation

from proxy.documents.mirror_status import Refusal, lists_in_trouble, mirror_status, refusal
from proxy.documents.trouble import Trouble

LIST = "streams/v1/one.sjson"
PLAIN = "streams/v1/one.json"
OTHER = "streams/v1/two.sjson"
NOW = 1_000_000.0
FAR_AHEAD = NOW + 10_000.0


def test_before_anything_is_accepted_only_the_trouble_is_told() -> None:
    said = mirror_status(None, Trouble(failures=3), NOW, is_stale=True)
    assert (said["is_ready"], said["is_stale"], said["failures"]) == (False, True, 3)
    assert "generation" not in said


def test_what_is_served_is_told_with_its_dates() -> None:
    index = a_document(INDEX, updated=NOW - 50.4, fingerprint="F" * 40)
    ahead = a_document(LIST, updated=FAR_AHEAD)
    generation = a_generation(
        *(index, ahead),
        number=7,
        accepted_at=NOW - 20,
        checked_at=NOW - 10.4,
        absent=(OTHER,),
        oddities=("odd",),
        refused={OTHER: "it has vanished"},
    )
    assert mirror_status(generation, Trouble(), NOW, is_stale=False) == {
        **mirror_status(None, Trouble(), NOW, is_stale=False),
        "is_ready": True,
        "generation": 7,
        "updated": NOW - 50.4,
        "index_age_s": 50,
        "accepted_at": NOW - 20,
        "checked_at": NOW - 10.4,
        "checked_s_ago": 10,
        "signed_by": "F" * 40,
        "documents": 2,
        "absent": [OTHER],
        "refused": {OTHER: "it has vanished"},
        "lacking": {OTHER: "it has vanished"},
        "oddities": ["odd"],
        "ahead": [LIST],
    }


@pytest.mark.parametrize(("updated", "age_s"), [(None, None), (NOW, 0), (NOW + 5, 0), (NOW - 0.6, 1)])
def test_an_index_is_never_younger_than_now(updated: float | None, age_s: int | None) -> None:
    generation = a_generation(a_document(INDEX, updated=updated))
    assert mirror_status(generation, Trouble(), NOW, is_stale=False)["index_age_s"] == age_s


def test_a_flavour_lacks_only_if_its_origin_broke_it_off() -> None:
    refused = {PLAIN: "it says something else", OTHER: "its signature is bad", f"{PLAIN}.gpg": "cut off"}
    generation = a_generation(
        a_document(INDEX), a_document(LIST), refused=refused, broken=(f"{PLAIN}.gpg",), absent=()
    )
    said = mirror_status(generation, Trouble(), NOW, is_stale=False)["lacking"]
    assert said == {OTHER: "its signature is bad", f"{PLAIN}.gpg": "cut off"}
    assert lists_in_trouble(generation) == {OTHER: "its signature is bad"}


def test_a_list_that_the_origin_does_not_have_is_in_no_trouble() -> None:
    generation = a_generation(a_document(INDEX), refused={OTHER: "there is none"}, absent=(OTHER,))
    assert lists_in_trouble(generation) == {}
    assert lists_in_trouble(a_generation(a_document(INDEX), refused={OTHER: "refused"})) == {OTHER: "refused"}


@pytest.mark.parametrize(
    ("path", "why"),
    [
        (LIST, None),
        (PLAIN, Refusal("says something else", is_broken=False)),
        (f"{PLAIN}.gpg", None),
        (OTHER, Refusal("bad", is_broken=True)),
        ("streams/v1/two.json", Refusal("bad", is_broken=True)),
        ("streams/v1/two.json.gpg", Refusal("bad", is_broken=True)),
        ("streams/v1/mirrors.sjson", Refusal("nothing proves it", is_broken=False)),
        ("streams/v1/gone.json", None),
        ("streams/v1/none", None),
    ],
)
def test_why_a_path_has_no_document(path: str, why: Refusal | None) -> None:
    generation = a_generation(
        *(a_document(INDEX), a_document(LIST)),
        refused={PLAIN: "says something else", OTHER: "bad", "streams/v1/gone.json": "not there"},
        broken=(OTHER,),
        absent=("streams/v1/gone.json",),
        unproved={"streams/v1/mirrors.sjson": "nothing proves it"},
    )
    assert refusal(path, generation) == why


def test_where_plain_documents_count_each_path_speaks_for_itself() -> None:
    generation = a_generation(
        *(a_document("streams/v1/index.json"), a_document(PLAIN)),
        refused={OTHER: "says something else", "streams/v1/two.json": "cut off"},
        broken=("streams/v1/two.json",),
    )
    assert refusal("streams/v1/two.json", generation) == Refusal("cut off", is_broken=True)
    assert refusal(OTHER, generation) == Refusal("says something else", is_broken=False)
    assert refusal("streams/v1/two.json.gpg", generation) is None
    absent = a_generation(
        a_document("streams/v1/index.json"), refused={PLAIN: "there is none"}, absent=(PLAIN,)
    )
    assert refusal(PLAIN, absent) is None
