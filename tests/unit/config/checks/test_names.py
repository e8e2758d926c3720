"""Names that mirrors and the operator's pages answer to, and pins that are of no use."""

from pathlib import Path

import pytest
from support.config_files import faults, load, mirror

from proxy.config.checks.names import doubted_answers, unused_pins


def test_what_a_mirror_answers_to_is_read(tmp_path: Path) -> None:
    toml = mirror(answer_to='["origins", "http://images.example.org/stable"]')
    (one,) = load(tmp_path, toml).mirrors
    assert one.answered_urls == ("https://one.example/", "http://images.example.org/stable/")
    assert load(tmp_path, mirror(answer_to="[]")).mirrors[0].answered_urls == ()
    folder = load(tmp_path, mirror(origins='["file:///srv/x/", "HTTPS://one.example"]')).mirrors[0]
    assert folder.answered_urls == ("HTTPS://one.example/",)


@pytest.mark.parametrize(
    "entry",
    ["images.example.org", "Origins", "ftp://one.example/", "file:///srv/", "http://a:b@one.example/", "http://",
     "https://one.example/streams/v1/index.sjson", "http://one.example/?x", ""],
)  # fmt: skip
def test_what_no_mirror_can_answer_to_is_a_fault(tmp_path: Path, entry: str) -> None:
    assert faults(tmp_path, mirror(answer_to=f'["{entry}"]')).keys() == {"mirror[0].answer_to[0]"}


def test_two_mirrors_cannot_both_be_told_to_answer_to_one_url(tmp_path: Path) -> None:
    first = mirror(answer_to='["http://images.example.org/x/", "origins"]')
    second = mirror(
        name='"two"', mount='"/two/"', answer_to='["origins", "https://IMAGES.example.org:443//x"]'
    )
    found = faults(tmp_path, first + second)
    assert found == {
        "mirror[1].answer_to[1]": "'https://IMAGES.example.org:443//x' is \"one\"'s already: remove one"
    }


def test_two_mirrors_of_one_origin_are_told_of_and_the_first_answers(tmp_path: Path) -> None:
    """As a copy with a further origin beside the usual one: that has always been allowed."""
    second = mirror(
        name='"two"', mount='"/two/"', origins='["https://u:secret@two.example/", "http://one.example"]'
    )
    (said,) = doubted_answers(load(tmp_path, mirror() + second).mirrors)
    assert said.startswith('mirrors "one" and "two" have both http://one.example/: by that name the first')
    silent = second + "answer_to = []\n"
    assert list(doubted_answers(load(tmp_path, mirror() + silent).mirrors)) == []


def test_a_name_of_the_operators_pages_is_a_name_and_no_more(tmp_path: Path) -> None:
    assert load(tmp_path, '[admin]\nnames = ["cache.example.org", "cache"]').admin.names
    for name in ("http://cache.example.org", "cache.example.org:8080", "*.example.org", "", "a b"):
        assert faults(tmp_path, f'[admin]\nnames = ["{name}"]').keys() == {"admin.names[0]"}


def test_that_a_parent_proxy_looks_names_up_itself_is_told() -> None:
    pinned = {"images.maas.io": ("192.0.2.7",)}
    parent = "http://proxy:3128"
    assert list(unused_pins(pinned, ("9.9.9.9",), "", ())) == list(unused_pins({}, (), parent, ())) == []
    assert list(unused_pins(pinned, ("9.9.9.9",), parent, ("images.maas.io",))) == []
    (said,) = unused_pins(pinned, (), parent, ())
    assert "upstream.resolve is" in said
    assert "parent_proxy looks up itself" in said
    (said,) = unused_pins({}, ("9.9.9.9",), parent, ())
    assert "upstream.resolver is" in said
    assert "parent_proxy looks up itself" in said
