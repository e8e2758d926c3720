"""What a request's headers mean: 200, 206, 304 or 416, and the headers that belong to each."""

import pytest

from proxy.digest import Digest
from proxy.simplestreams.model import Item
from proxy.web.negotiate import Answer, entity_tag, negotiate

ITEM = Item("a/file", Digest("ab" * 32), 10)
TAG = f'"{ITEM.digest}"'
OTHER = f'"{"cd" * 32}"'


def answer(**headers: str) -> Answer:
    """Negotiate with these request headers, underscores for dashes."""
    return negotiate(ITEM, {name.replace("_", "-"): value for name, value in headers.items()})


def test_the_entity_tag_is_the_digest_and_strong() -> None:
    assert entity_tag(ITEM) == TAG


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, (200, 0, 10)),
        ({"Range": "bytes=2-4"}, (206, 2, 5)),
        ({"Range": "bytes=0-"}, (206, 0, 10)),
        ({"Range": "bytes=-3"}, (206, 7, 10)),
        ({"Range": "bytes=10-"}, (416, 0, 0)),
        ({"Range": "bytes=0-1,3-4"}, (200, 0, 10)),
        ({"Range": "nonsense"}, (200, 0, 10)),
        # validators of a cache
        ({"If_None_Match": TAG}, (304, 0, 0)),
        ({"If_None_Match": f"W/{TAG}"}, (304, 0, 0)),
        ({"If_None_Match": "*"}, (304, 0, 0)),
        ({"If_None_Match": f"{OTHER}, {TAG}"}, (304, 0, 0)),
        ({"If_None_Match": f"{OTHER},W/{TAG} , {OTHER}"}, (304, 0, 0)),
        ({"If_None_Match": OTHER}, (200, 0, 10)),
        ({"If_None_Match": '"a,*,b"'}, (200, 0, 10)),
        ({"If_None_Match": f'"a,{ITEM.digest},b", W/"*"'}, (200, 0, 10)),
        ({"If_None_Match": f'"a,b" , {TAG}'}, (304, 0, 0)),
        ({"If_None_Match": ITEM.digest}, (200, 0, 10)),
        ({"If_None_Match": ""}, (200, 0, 10)),
        ({"If_Modified_Since": "Fri, 04 Nov 2016 03:33:58 GMT"}, (200, 0, 10)),
        ({"If_None_Match": TAG, "Range": "bytes=2-4"}, (304, 0, 0)),
        ({"If_None_Match": TAG, "Range": "bytes=10-"}, (304, 0, 0)),
        ({"If_None_Match": OTHER, "Range": "bytes=2-4"}, (206, 2, 5)),
        # a part only of what the client already has
        ({"If_Range": TAG, "Range": "bytes=2-4"}, (206, 2, 5)),
        ({"If_Range": TAG, "Range": "bytes=10-"}, (416, 0, 0)),
        ({"If_Range": OTHER, "Range": "bytes=2-4"}, (200, 0, 10)),
        ({"If_Range": OTHER, "Range": "bytes=10-"}, (200, 0, 10)),
        ({"If_Range": f"W/{TAG}", "Range": "bytes=2-4"}, (200, 0, 10)),
        ({"If_Range": "Fri, 04 Nov 2016 03:33:58 GMT", "Range": "bytes=2-4"}, (200, 0, 10)),
        ({"If_Range": TAG}, (200, 0, 10)),
    ],
)
def test_headers_decide_status_and_part(headers: dict[str, str], expected: tuple[int, int, int]) -> None:
    found = answer(**headers)
    assert (found.status, found.start, found.stop) == expected


@pytest.mark.parametrize(
    ("headers", "described"),
    [
        ({}, {"Content-Length": "10"}),
        ({"Range": "bytes=2-4"}, {"Content-Length": "3", "Content-Range": "bytes 2-4/10"}),
        ({"Range": "bytes=9-"}, {"Content-Length": "1", "Content-Range": "bytes 9-9/10"}),
        ({"Range": "bytes=10-"}, {"Content-Length": "0", "Content-Range": "bytes */10"}),
        ({"If_None_Match": TAG}, {}),
    ],
)
def test_the_headers_say_what_is_sent(headers: dict[str, str], described: dict[str, str]) -> None:
    assert answer(**headers).headers == {"ETag": TAG, "Accept-Ranges": "bytes"} | described


def test_an_empty_item_is_sent_whole() -> None:
    found = negotiate(ITEM._replace(size_bytes=0), {})
    assert (found.status, found.start, found.stop, found.headers["Content-Length"]) == (200, 0, 0, "0")
