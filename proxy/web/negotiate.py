"""What a request's headers mean for a target: a pure decision.

Everything here is known before a byte of the body is: the digest is the entity
tag, the size comes from the signed list (RFC 9110 sections 13 and 14).
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple

from proxy.simplestreams.model import Item
from proxy.web.ranges import Unsatisfiable, parse_range

_ENTITY_TAG = re.compile(r'"[^"]*"')
"""Without the W/ of a weak one. It may have commas and stars in it."""


class Answer(NamedTuple):
    """Status, the part of the body to send, and the headers that follow from them."""

    status: HTTPStatus
    start: int
    stop: int
    headers: dict[str, str]


def entity_tag(item: Item) -> str:
    """Return the strong entity tag of an item: its digest."""
    return f'"{item.digest}"'


def negotiate(item: Item, request_headers: Mapping[str, str], method: str = "GET") -> Answer:
    """Return 304, 416, 206 or 200 for a GET or HEAD of `item`; ranges are for GET alone."""
    tag = entity_tag(item)
    headers = {"ETag": tag, "Accept-Ranges": "bytes"}
    if_none_match = request_headers.get("If-None-Match")
    if if_none_match is not None and _names(if_none_match, tag):
        return Answer(HTTPStatus.NOT_MODIFIED, 0, 0, headers)
    range_header = request_headers.get("Range") if method == "GET" else None
    if range_header is not None and request_headers.get("If-Range", tag) == tag:
        try:
            part = parse_range(range_header, item.size_bytes)
        except Unsatisfiable:
            headers |= {"Content-Range": f"bytes */{item.size_bytes}", "Content-Length": "0"}
            return Answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, 0, 0, headers)
        if part is not None:
            headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{item.size_bytes}"
            headers["Content-Length"] = str(part.stop - part.start)
            return Answer(HTTPStatus.PARTIAL_CONTENT, part.start, part.stop, headers)
    headers["Content-Length"] = str(item.size_bytes)
    return Answer(HTTPStatus.OK, 0, item.size_bytes, headers)


def _names(if_none_match: str, tag: str) -> bool:
    """Whether an If-None-Match list names `tag`; comparison is weak (RFC 9110 section 13.1.2)."""
    return if_none_match.strip() == "*" or tag in _ENTITY_TAG.findall(if_none_match)
