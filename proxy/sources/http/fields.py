"""The values of an origin's header fields, read strictly: a value that is not as it should be is none.

Pure, bounded, and never raising, whatever the text is. What comes out may be
logged, stored as JSON, and sent to an origin again.
"""

import re
from email.utils import mktime_tz, parsedate_tz

_LONGEST_VALIDATOR = 256
"""Real ones have some 40 characters; origins refuse requests with very long ones."""

_LENGTH = re.compile(r"[0-9]{1,18}")
_CONTENT_RANGE = re.compile(r"bytes[ \t]+([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", re.IGNORECASE)
_ETAG = re.compile(r'(?:W/)?"[!#-~]*"')
_BARE_ETAG = re.compile(r"[!#-~]+")
_DATE = re.compile(r"[0-9A-Za-z ,:+-]{8,40}")
_LOCATION = re.compile(r"[\x20-\x7e]{1,4096}")
_CODING = re.compile(r"[a-z0-9-]{1,20}")
_LONGEST_CODINGS = 60
_UNCONFIRMED = re.compile(r"11[012]\b")


def length(text: str | None) -> int | None:
    """Return what Content-Length says."""
    return int(text) if text is not None and _LENGTH.fullmatch(text) else None


def content_range(text: str | None) -> tuple[int, int | None] | None:
    """Return where a part starts and how long the whole is, if it says so (RFC 9110 section 14.4)."""
    found = None if text is None else _CONTENT_RANGE.fullmatch(text)
    if found is None:
        return None
    start, last = int(found[1]), int(found[2])
    total = None if found[3] == "*" else int(found[3])
    if last < start or (total is not None and last >= total):
        return None
    return start, total


def etag(text: str | None) -> str | None:
    """Return an entity tag that can be sent again. Some servers leave its quotes out."""
    if text is None or len(text) > _LONGEST_VALIDATOR:
        return None
    return text if _ETAG.fullmatch(text) or _BARE_ETAG.fullmatch(text) else None


def date(text: str | None) -> str | None:
    """Return a date that can be sent again, unread: only whoever wrote it has to understand it."""
    return text if text is not None and _DATE.fullmatch(text) else None


def pause_s(retry_after: str | None, date: str | None) -> float | None:
    """Return for how many seconds a server does not want to be asked (RFC 9110 section 10.2.3).

    A moment is seen by the server's own clock, its Date.
    """
    if retry_after is None:
        return None
    if _LENGTH.fullmatch(retry_after):
        return float(retry_after)
    moments = [parsedate_tz(text or "") for text in (retry_after, date)]
    if None in moments:
        return None
    later, now = (mktime_tz(moment) for moment in moments if moment is not None)
    return float(max(0, later - now))


def location(text: str | None) -> str | None:
    """Return where a redirect leads, as written."""
    return text if text is not None and _LOCATION.fullmatch(text) else None


def is_page(content_type: str | None) -> bool:
    """Whether a Content-Type says that the body is a page for people to read."""
    return content_type is not None and content_type.partition(";")[0].strip().lower() == "text/html"


def is_unconfirmed(warning: str | None) -> bool:
    """Whether a cache says that it answers from memory, for it could not ask (RFC 7234 section 5.5)."""
    return warning is not None and _UNCONFIRMED.match(warning) is not None


def codings(content_encoding: str | None) -> tuple[str, ...]:
    """Return how a body is encoded, in the order in which that was done; a few at most."""
    words = re.split(r"[,\s]+", (content_encoding or "")[:_LONGEST_CODINGS].lower())
    known = [one.removeprefix("x-") for one in words if _CODING.fullmatch(one)]
    return tuple(one for one in known if one != "identity")
