"""Paths as simplestreams and HTTP write them, brought to one form.

Lists and request lines carry URL paths: `a%3Ab` and `a:b` name one file. The
canonical form is percent-decoded, relative, and free of anything that could
point outside a mirror's root. It is only ever a key or, quoted again, part of
an upstream URL; never a file name of ours.
"""

import re
from urllib.parse import quote, unquote

from proxy.errors import ProxyError

LONGEST_PATH = 2048

_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\]")
_SAFE_IN_URL = "/:@!$&'()*+,;=~"


class PathError(ProxyError):
    """A path that cannot name a file of a mirror."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"path {path!r:.200} {problem}")
        self.path = path
        self.problem = problem


def canonical_path(path: str) -> str:
    """Return the decoded, root-relative form of a URL path without leading slash.

    Raises PathError for an absolute path, `.` or `..` segments, empty segments,
    control characters, backslashes, broken UTF-8 and overlong input.
    """
    if len(path) > LONGEST_PATH:
        raise PathError(path, f"is longer than {LONGEST_PATH} characters")
    try:
        decoded = unquote(path, errors="strict") if "%" in path else path
        decoded.encode()
    except UnicodeError:
        raise PathError(path, "is not UTF-8") from None
    if not decoded:
        raise PathError(path, "names no file: a client begins with streams/v1/index.sjson")
    if decoded.startswith("/"):
        raise PathError(path, "is not relative to the mirror's root")
    if _FORBIDDEN.search(decoded):
        raise PathError(path, "holds a control character or backslash")
    if not {"", ".", ".."}.isdisjoint(decoded.split("/")):
        raise PathError(path, "has an empty, '.' or '..' segment")
    return decoded


def url_paths(path: str) -> tuple[str, ...]:
    """Return the ways to write a canonical path in a URL, likeliest first.

    Most mirrors publish `:` literally; some stored the file under `%3A`
    percent-encoded twice over, which only the second form reaches.
    """
    literal = quote(path, safe=_SAFE_IN_URL)
    if ":" not in path:
        return (literal,)
    return (literal, literal.replace(":", "%253A"))
