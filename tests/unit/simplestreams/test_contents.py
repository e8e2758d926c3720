"""What a list names as lines: by number, by words, and bounded, wherever a piece that is read ends."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from proxy.simplestreams import contents
from proxy.simplestreams.contents import Contents, ContentsDamaged, Line, pack_contents
from proxy.simplestreams.parse import parse_document

COUNT = 230


def packed(count: int = COUNT, **fields: Any) -> bytes:
    items = {
        f"i{number}": {
            "path": f"Noble/{number:05}/squashfs",
            "sha256": f"{number:064x}",
            "size": number,
            "ftype": "squashfs" if number % 2 else "boot-kernel",
            **fields,
        }
        for number in range(count)
    }
    product = {"release": "noble", "arch": "amd64", "versions": {"20250718": {"items": items}}}
    text = {"format": "products:1.0", "content_id": "c", "products": {"p": product}}
    return pack_contents(parse_document(json.dumps(text).encode()))  # type: ignore[arg-type]


def opened(data: bytes) -> Contents:
    return Contents(lambda start, stop: data[start:stop])


def numbers(lines: list[Line]) -> list[int]:
    return [line.size_bytes for line in lines]


@pytest.fixture(params=[100, 1000, 256 * 1024], autouse=True)
def pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read few bytes at a time, less than a line too."""
    monkeypatch.setattr(contents, "_READ_BYTES", request.param)


def anything(_: Line) -> bool:
    return True


def test_lines_are_had_by_number_in_the_order_of_paths() -> None:
    found = opened(packed())
    assert found.count == COUNT
    for start in (0, 1, 49, 50, 51, 229):
        assert numbers(found.lines(start, 3)) == list(range(start, min(start + 3, COUNT)))
    assert found.lines(COUNT, 3) == []
    assert found.lines(7, 1)[0] == Line(
        "Noble/00007/squashfs", "20250718", "p", "squashfs", "noble", "amd64", f"{7:064x}", 7  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "is_found"),
    [
        (["kernel"], lambda n: n % 2 == 0),
        (["NOBLE", "amd64", "boot-kernel"], lambda n: n % 2 == 0),
        (["/0002"], lambda n: 20 <= n < 30),
        ([f"{100:064x}"], lambda n: n == 100),
        (["arm64"], lambda _: False),
        ([], lambda _: True),
    ],
)
def test_files_are_found_by_words_in_any_of_their_fields(
    words: list[str], is_found: Callable[[int], bool]
) -> None:
    expected = [number for number in range(COUNT) if is_found(number)]
    found = opened(packed()).search(words, 0, COUNT, 10_000, anything)
    assert (numbers(found.lines), found.total, found.is_more) == (expected, len(expected), False)
    later = opened(packed()).search(words, 10, 5, 10_000, anything)
    assert (numbers(later.lines), later.total) == (expected[10:15], len(expected))


def test_a_search_ends_when_enough_is_counted() -> None:
    found = opened(packed()).search(["squashfs"], 0, 5, 20, lambda line: line.size_bytes >= 100)
    assert (numbers(found.lines), found.total, found.is_more) == ([100, 101, 102, 103, 104], 20, True)


def test_a_list_without_files_has_no_lines() -> None:
    found = opened(packed(0))
    assert (found.count, found.lines(0, 5), found.search(["x"], 0, 5, 5, anything).lines) == (0, [], [])


def test_tabs_and_line_feeds_in_names_end_no_field() -> None:
    (line,) = opened(packed(1, release="a\tb\nc")).lines(0, 1)
    assert line.release == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"


def test_a_file_of_several_products_is_told_of_once_with_all_of_them() -> None:
    item = {"path": "a/b", "sha256": "a" * 64, "size": 5}
    product = {"versions": {"1": {"items": {"i": item}}}}
    text = {"format": "products:1.0", "content_id": "c", "products": {"ga": product, "hwe": product}}
    (line,) = opened(pack_contents(parse_document(json.dumps(text).encode()))).lines(0, 9)  # type: ignore[arg-type]
    assert (line.path, line.product) == ("a/b", "ga, hwe")


@pytest.mark.parametrize("data", [b"", b"x" * 48, packed()[:-3000]])
def test_what_is_damaged_is_noticed(data: bytes) -> None:
    with pytest.raises((ContentsDamaged, ValueError)):
        opened(data).search([], 0, 5, 1000, anything)
