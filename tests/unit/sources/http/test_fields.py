"""What header fields of replies say, and which values say nothing."""

import pytest

from proxy.sources.http import fields

NOON = "Sun, 06 Nov 1994 12:00:00 GMT"
LATER = "Sun, 06 Nov 1994 12:01:30 GMT"


@pytest.mark.parametrize(
    ("text", "length"),
    [("0", 0), ("17", 17), ("9" * 18, 10**18 - 1), ("9" * 19, None), (None, None), ("", None), ("-1", None)],
)
def test_a_length_has_up_to_18_digits(text: str | None, length: int | None) -> None:
    assert fields.length(text) == length


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("bytes 0-0/1", (0, 1)),
        ("bytes 5-9/10", (5, 10)),
        ("BYTES\t5-9/*", (5, None)),
        ("bytes 5-9/9", None),
        ("bytes 5-9/8", None),
        ("bytes 5-4/10", None),
        ("bytes 5-5/10", (5, 10)),
        ("bytes */10", None),
        ("items 0-0/1", None),
        (None, None),
    ],
)
def test_a_part_lies_inside_of_the_whole(text: str | None, place: tuple[int, int | None] | None) -> None:
    assert fields.content_range(text) == place


@pytest.mark.parametrize("text", ['"a"', '""', 'W/"a"', "5f-bare", f'"{"a" * 254}"'])
def test_an_entity_tag_is_kept_as_it_is(text: str) -> None:
    assert fields.etag(text) == text


@pytest.mark.parametrize("text", [None, "", f'"{"a" * 255}"', '"a b"', '"a', 'W/a"', '"\x00"', "ü"])
def test_what_is_no_entity_tag_is_none(text: str | None) -> None:
    assert fields.etag(text) is None


@pytest.mark.parametrize(
    ("text", "is_one"), [(NOON, True), ("whenever", True), ("x" * 41, False), ("1 May", False), (None, False)]
)
def test_a_date_is_kept_unread(text: str | None, *, is_one: bool) -> None:
    assert fields.date(text) == (text if is_one else None)


@pytest.mark.parametrize(
    ("retry_after", "date", "pause_s"),
    [
        (None, NOON, None),
        ("0", None, 0.0),
        ("120", None, 120.0),
        (LATER, NOON, 90.0),
        (NOON, LATER, 0.0),
        (NOON, NOON, 0.0),
        (LATER, None, None),
        (LATER, "never", None),
        ("soon", NOON, None),
        ("Sun, 06 Nov 1994 13:01:30 +0100", NOON, 90.0),
    ],
)
def test_a_server_names_a_pause_in_seconds_or_by_its_own_clock(
    retry_after: str | None, date: str | None, pause_s: float | None
) -> None:
    assert fields.pause_s(retry_after, date) == pause_s


@pytest.mark.parametrize(
    ("text", "is_one"), [("/a b", True), ("x" * 4096, True), ("x" * 4097, False), ("", False), (None, False)]
)
def test_a_location_is_printable(text: str | None, *, is_one: bool) -> None:
    assert fields.location(text) == (text if is_one else None)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("text/html", True),
        (" Text/HTML ; charset=utf-8", True),
        ("application/json", False),
        ("text/html+x", False),
        (None, False),
    ],
)
def test_a_page_says_so(text: str | None, *, is_one: bool) -> None:
    assert fields.is_page(text) is is_one


@pytest.mark.parametrize(
    ("text", "is_so"),
    [
        ('110 - "stale"', True),
        ("111 - x", True),
        ("112 - x", True),
        ("113 - x", False),
        ("1100 - x", False),
        ("199 - 110", False),
        (None, False),
    ],
)
def test_a_cache_says_that_it_could_not_ask(text: str | None, *, is_so: bool) -> None:
    assert fields.is_unconfirmed(text) is is_so


@pytest.mark.parametrize(
    ("text", "codings"),
    [
        (None, ()),
        ("", ()),
        ("identity", ()),
        ("gzip", ("gzip",)),
        ("X-Gzip", ("gzip",)),
        ("deflate, identity,gzip", ("deflate", "gzip")),
        ("g" * 21, ()),
        ("gz\tip", ("gz", "ip")),
        (f"{'a' * 20},{'b' * 20},{'c' * 17},d", ("a" * 20, "b" * 20, "c" * 17)),
    ],
)
def test_codings_are_told_in_their_order(text: str | None, codings: tuple[str, ...]) -> None:
    assert fields.codings(text) == codings
