"""Paths: one form for all spellings, and nothing that leads out of a mirror."""

import pytest

from proxy.simplestreams.paths import LONGEST_PATH, PathError, canonical_path, url_paths

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
        ("a b", ("a%20b",)),
        ("a%3Ab", ("a%253Ab",)),
        ("a?b#c", ("a%3Fb%23c",)),
        ("hülle", ("h%C3%BClle",)),
        ("a+b~c,d=e@f(g)", ("a+b~c,d=e@f(g)",)),
    ],
)
def test_an_origin_is_asked_for_the_likeliest_spelling_first(path: str, spellings: tuple[str, ...]) -> None:
    """Colons stand as they are; some mirrors stored such files under a literal `%3A`."""
    assert url_paths(path) == spellings
