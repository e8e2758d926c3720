"""Paths: one form for all spellings, and nothing that leads out of a mirror."""

import pytest

from proxy.simplestreams.paths import (
    LONGEST_PATH,
    PathError,
    canonical_path,
    listed_path,
    unescaped,
    url_paths,
)

KERNEL = "noble/amd64/20250718/ga-24.04/generic/boot-kernel"


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        (KERNEL, KERNEL),
        ("streams/v1/com.ubuntu.maas:stable:v3:download.sjson",) * 2,
        (
            "streams/v1/com.ubuntu.maas%3Astable%3av3:download.sjson",
            "streams/v1/com.ubuntu.maas:stable:v3:download.sjson",
        ),
        ("a%2Fb", "a/b"),
        ("a%253Ab", "a%3Ab"),
        ("100%", "100%"),
        ("%zz", "%zz"),
        ("a+b c", "a+b c"),
        ("h%C3%BClle", "hülle"),
        ("hülle", "hülle"),
        ("...", "..."),
        ("a/..b/.c", "a/..b/.c"),
        ("a?b#c", "a?b#c"),
        ("x" * LONGEST_PATH, "x" * LONGEST_PATH),
    ],
    ids=lambda value: value[:30],
)
def test_all_spellings_have_one_form(written: str, canonical: str) -> None:
    assert canonical_path(written) == canonical


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("", "names no file"),
        ("/", "is not relative"),
        ("/etc/passwd", "is not relative"),
        ("%2Fetc/passwd", "is not relative"),
        ("..", "segment"),
        ("../a", "segment"),
        ("a/../b", "segment"),
        ("a/..", "segment"),
        ("a/%2e%2E/b", "segment"),
        ("a%2f..%2fb", "segment"),
        (".", "segment"),
        ("./a", "segment"),
        ("a//b", "segment"),
        ("a/", "segment"),
        ("a\0b", "control character or backslash"),
        ("a%00b", "control character or backslash"),
        ("a\r\nb", "control character or backslash"),
        ("a%0Ab", "control character or backslash"),
        ("a\x7f", "control character or backslash"),
        ("..\\a", "control character or backslash"),
        ("a%5Cb", "control character or backslash"),
        ("%ff", "is not UTF-8"),
        ("%c3%28", "is not UTF-8"),
        ("\udcff", "is not UTF-8"),
        ("x" * (LONGEST_PATH + 1), "is longer than 2048 characters"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_what_cannot_name_a_file_of_a_mirror_is_refused(path: str, problem: str) -> None:
    with pytest.raises(PathError, match=problem) as caught:
        canonical_path(path)
    assert caught.value.path == path
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("path", "spellings"),
    [
        (KERNEL, (KERNEL,)),
        ("a:b/c:d.sjson", ("a:b/c:d.sjson", "a%253Ab/c%253Ad.sjson")),
        ("a b", ("a%20b", "a%2520b")),
        ("a b:c", ("a%20b:c", "a%20b%253Ac", "a%2520b%253Ac")),
        ("a%3Ab", ("a%253Ab",)),
        ("a%2Bb", ("a%252Bb",)),
        ("a?b#c", ("a%3Fb%23c", "a%253Fb%2523c")),
        ("hülle", ("h%C3%BClle", "h%25C3%25BClle")),
        ("a+b~c,d=e@f(g)", ("a%2Bb~c,d=e@f(g)", "a+b~c,d=e@f(g)")),
    ],
)
def test_an_origin_is_asked_for_the_likeliest_spelling_first(path: str, spellings: tuple[str, ...]) -> None:
    """Colons stand as they are, plus signs do not: S3 takes them for spaces.

    Some mirrors stored such files under the escapes themselves.
    """
    assert url_paths(path) == spellings


@pytest.mark.parametrize(
    ("listed", "canonical"),
    [
        ("a/b", "a/b"),
        ("./a", "a"),
        ("././a", "a"),
        ("/a/b", "a/b"),
        ("//a", "a"),
        ("/./a", "a"),
        ("a//b", "a/b"),
        ("a/./b", "a/b"),
        ("a/.//./b", "a/b"),
        ("a%20b", "a b"),
        ("./a%3Ab", "a:b"),
        (".a/b", ".a/b"),
    ],
)
def test_what_lists_write_carelessly_means_the_same(listed: str, canonical: str) -> None:
    assert listed_path(listed) == canonical


@pytest.mark.parametrize(
    "listed", ["", "/", ".", "./", "a/", "a/.", "..", "./../a", "/..", "a//../b", "%2e%2e/a"]
)
def test_what_names_no_file_stays_refused_in_lists(listed: str) -> None:
    with pytest.raises(PathError):
        listed_path(listed)


def test_what_was_escaped_twice_is_read_twice_where_that_makes_sense() -> None:
    assert unescaped("a%20b") == "a b"
    assert unescaped("100%") == "100%"
    assert unescaped("a%2F..%2Fb") == "a%2F..%2Fb"
