"""What rules and scrubbing write down: in the form that the releases before read, and read from any form."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from support.stored import recorded

from proxy.jobs.rulebook import Page, Result, RuleBook
from proxy.jobs.scrub import ScrubState, read_state
from proxy.store.ledger import Ledger

LAST = {
    "started_at": 1.5,
    "ended_at": 2.5,
    "outcome": "partial",
    "problem": "1 item failed",
    "wanted_items": 3,
    "wanted_bytes": 30,
    "fetched_items": 2,
    "fetched_bytes": 20,
    "added": ["noble 1"],
    "dropped": ["jammy 1"],
    "failures": ["a: gone"],
    "unknown": ["mantic"],
}
PAGE = {"last": LAST, "next_at": 9.0, "complete_at": 1.0, "versions": ["noble 1"]}
STATE = {"asked_at": 1.0, "completed_at": 2.0, "due_blobs": 3, "due_bytes": 4, "damaged": ["x"]}
ODD: list[Any] = [
    None,
    5,
    "text",
    [],
    {"last": {"outcome": 5}, "damaged": 5},
    {"versions": 5, "due_blobs": -1},
    {"versions": ["a", 5], "due_blobs": 1.5},
    {"version": 2},
]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(Ledger(tmp_path / "ledger")) as ledger:
        yield ledger


@pytest.fixture
def book(ledger: Ledger, tmp_path: Path) -> RuleBook:
    return RuleBook(ledger, tmp_path / "rules")


def test_a_page_is_read_and_written_in_the_form_of_the_releases_before(
    ledger: Ledger, book: RuleBook
) -> None:
    ledger.write("rule/noble", PAGE)
    page = book.page("noble")
    assert page.versions == ("noble 1",)
    assert page.last is not None
    assert (page.last.outcome, page.last.failures, page.last.unknown) == (
        "partial",
        ("a: gone",),
        ("mantic",),
    )

    book.note("noble", next_at=10.0)

    assert recorded(ledger, "rule/noble") == {**PAGE, "next_at": 10.0}
    book.note("noble", last=replace(page.last, unknown=()))
    assert recorded(ledger, "rule/noble")["last"].keys() == LAST.keys() - {"unknown"}


@pytest.mark.parametrize(
    "more", [{**PAGE, "colour": 1}, {**PAGE, "last": {**LAST, "colour": 1}}, {"last": LAST, "versions": []}]
)
def test_a_page_of_another_release_is_read(ledger: Ledger, book: RuleBook, more: dict[str, Any]) -> None:
    ledger.write("rule/noble", more)
    last = book.page("noble").last
    assert last is not None
    assert last.failures == ("a: gone",)


@pytest.mark.parametrize("value", ODD, ids=lambda value: f"{value!r:.30}")
def test_a_page_that_cannot_be_read_keeps_no_rule_from_running(
    ledger: Ledger, book: RuleBook, value: Any
) -> None:
    ledger.write("rule/noble", value)
    assert book.page("noble") == Page()
    result = Result(started_at=1.0, ended_at=2.0, outcome="complete")
    book.note("noble", last=result)
    assert book.page("noble").last == result


def test_scrubbing_is_read_in_the_form_of_the_releases_before(ledger: Ledger) -> None:
    ledger.write("scrub", {**STATE, "colour": 5})
    ledger.write("asked scrub", 7.0)
    state = read_state(ledger)
    assert asdict(replace(state, asked_at=1.0)) == {**STATE, "damaged": ("x",)}
    assert state.asked_at == 7.0


@pytest.mark.parametrize("value", ODD, ids=lambda value: f"{value!r:.30}")
def test_scrubbing_that_cannot_be_read_tells_nothing(ledger: Ledger, value: Any) -> None:
    ledger.write("scrub", value)
    ledger.write("asked scrub", [value])
    assert read_state(ledger) == ScrubState()


@pytest.mark.parametrize("value", [True, *ODD], ids=lambda value: f"{value!r:.30}")
def test_whatever_says_that_a_rule_is_asked_for_is_taken_once(
    ledger: Ledger, book: RuleBook, value: Any
) -> None:
    ledger.write("asked/noble", value)
    assert book.take_asked() == {"noble"}
    assert book.take_asked() == set()
