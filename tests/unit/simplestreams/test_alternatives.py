"""Which words a regular expression offers to choose from."""

import re

import pytest

from proxy.simplestreams.alternatives import alternatives


@pytest.mark.parametrize(
    ("expression", "branches"),
    [
        ("noble|jammy", {"noble": "noble", "jammy": "jammy"}),
        ("^(noble|nobel)$", {"noble": "^(noble)$", "nobel": "^(nobel)$"}),
        ("(?i)noble|JAMMY", {"noble": "(?i)noble", "JAMMY": "(?i)JAMMY"}),
        ("(?i:a|b)", {"a": "(?i:a)", "b": "(?i:b)"}),
        ("(grub*|pxelinux)", {"grub*": "(grub*)", "pxelinux": "(pxelinux)"}),
        ("(?:ga|hwe)-24", {"ga": "(?:ga)-24", "hwe": "(?:hwe)-24"}),
        ("a|(b|c)d", {"a": "a", "(b|c)d": "(b|c)d", "b": "a|(b)d", "c": "a|(c)d"}),
        ("(?P<x>a|b)(?P=x)", {"a": "(?P<x>a)(?P=x)", "b": "(?P<x>b)(?P=x)"}),
        ("a||b", {"a": "a", "b": "b"}),
        ("noble", {}),
        (r"a\|b", {}),
        ("a[|]b", {}),
        ("[]|]", {}),
        ("(?!a|b)c", {}),
        ("(?<!a|b)c", {}),
        ("(?x) a | b", {}),
        ("(?x: a | b )", {}),
        ("(a)?(?(1)b|c)", {}),
    ],
)
def test_branches_are_told_apart(expression: str, branches: dict[str, str]) -> None:
    re.compile(expression)
    assert {one.text: one.expression for one in alternatives(expression)} == branches


@pytest.mark.parametrize(
    ("expression", "words"),
    [("^noble$|jammy", ["noble", "jammy"]), (r"24\.04|22.04", [r"24\.04", "22.04"]), ("a+|b", [None, "b"])],
)
def test_a_name_is_told_from_a_pattern(expression: str, words: list[str | None]) -> None:
    assert [one.word for one in alternatives(expression)] == words
