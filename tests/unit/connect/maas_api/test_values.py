"""What MAAS tells is understood in whichever form a release gives it, and what is untold is not made up."""

import pytest

from proxy.connect.maas_api.model import Source, Version
from proxy.connect.maas_api.values import items, number, truth, truth_of_body


@pytest.mark.parametrize(("told", "means"), [(3, 3), ("3", 3), (None, None), ("", None)])
def test_numbers_may_be_text(told: object, means: int | None) -> None:
    assert number(told) == means


@pytest.mark.parametrize(
    ("body", "means"),
    [
        (b"true", True),
        (b"True", True),
        (b'"true"', True),
        (b'"False"\n', False),
        (b"false", False),
        (b"[]", None),
        (b"null", None),
        (b"<html>", None),
        (b"", None),
    ],
)
def test_a_truth_may_be_json_or_text(body: bytes, means: bool | None) -> None:
    assert truth_of_body(body) is means
    assert truth({"a": True}) is None


def test_lists_are_bare_or_pages() -> None:
    assert items([1]) == items({"items": [1], "total": 1}) == [1]
    for other in (None, "text", {"items": None}):
        with pytest.raises(TypeError):
            items(other)


def test_a_source_is_read_with_numbers_as_text_and_fields_that_nobody_knows() -> None:
    told = {"id": "7", "url": "http://h/", "priority": "2", "enabled": "false", "wings": []}

    assert Source.read(told) == Source(id=7, url="http://h/", priority=2, enabled=False)
    assert not Source.read(told).is_used


def test_a_maas_that_tells_no_version_is_known_by_its_sources() -> None:
    plain = Source(id=1, url="http://h/")
    assert not Version.by_sources([plain]).has_priorities
    assert Version.by_sources([plain, Source(id=2, url="http://i/", priority=1)]).has_priorities
