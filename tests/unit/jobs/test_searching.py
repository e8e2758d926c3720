"""Filters with regular expressions: as Python's `re` has it, and in bounded time."""

import json
import re
import time

import pytest

from proxy.jobs.searching import SearchTooSlow, search
from proxy.jobs.selection import Selection, explain_no_match, surprises
from proxy.simplestreams.filters import Filter, FilterError

TEXTS = ["", "noble", "jammy", "a" * 40, "arm64\n", "\ud800", "ÄÖ", "x,y"]


@pytest.mark.parametrize(
    "expression",
    ["noble|jammy", "^$", "a{3,}", "(?i)äö", r"\bx", "a$", "(a)\\1", "(?=n)n", "a{e<=1}", "[\ud800]"],
)
def test_a_search_finds_what_re_finds(expression: str) -> None:
    (found,) = search([(expression, TEXTS)], 30)
    assert found == {text for text in TEXTS if re.search(expression, text)}


def test_many_are_searched_in_one_go() -> None:
    assert search([("^n", TEXTS), ("y$", ["xy", "y\n", "yz"])], 30) == [{"noble"}, {"xy", "y\n"}]


@pytest.mark.parametrize("expression", ["(a+)+$", "(a|a)*$", "(a*)*b", "((a?){40}){40}b"])
def test_an_expression_that_would_never_end_is_stopped(expression: str) -> None:
    began = time.monotonic()
    with pytest.raises(SearchTooSlow, match=r"takes longer than 0\.5 s: write it without repetitions within"):
        search([(expression, ["a" * 60 + "!"])], 0.5)
    assert time.monotonic() - began < 20


def test_a_filter_that_was_searched_says_the_same() -> None:
    for expression in ("release~^n", "release!~^n"):
        plain = Filter.parse(expression)
        searched = plain.searched(frozenset({"noble"}))
        for text in ("noble", "jammy", ""):
            assert searched.matches({"release": text}) == plain.matches({"release": text})


def test_an_overlong_filter_is_refused() -> None:
    with pytest.raises(FilterError, match="longer than 1000 characters"):
        Filter.parse("release~" + "(?i)[\x01-\U0010ff00]" * 500)


def test_advice_is_given_quickly_however_long_the_lists_are() -> None:
    """Likeness of texts is costly: few and short ones are compared, and few are shown."""
    items = [{"release": f"r{number}" * 20, f"k{number}": "a" * 5000} for number in range(5000)]
    selection = Selection(filters=(Filter.parse("release=" + "x" * 900), Filter.parse("nothing=1")))
    began = time.monotonic()
    warnings = surprises(selection, items)
    problem = str(explain_no_match(selection, items))
    assert time.monotonic() - began < 30
    assert len(json.dumps([warnings, problem])) < 20_000
    assert "and 4988 more" in problem
