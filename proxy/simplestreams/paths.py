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
_SAFE_IN_URL = "/:@!$&'()*,;=~"


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


def unescaped(path: str) -> str:
    """Return what a canonical path that was escaped twice over means, and any other as it is."""
    try:
        return canonical_path(path)
    except PathError:
        return path


def listed_path(path: str) -> str:
    """Return the canonical form of a path as a list writes it.

    There may be a slash before it, and empty or "." segments in it: clients put it behind
    the mirror's URL, and servers of files pass over them. Raises PathError.
    """
    if path.startswith(("/", "./")) or "//" in path or "/./" in path:
        *folders, name = path.split("/")
        path = "/".join([*(one for one in folders if one not in {"", "."}), name])
    return canonical_path(path)


def url_paths(path: str) -> tuple[str, ...]:
    """Return the ways to write a canonical path in a URL, likeliest first.

    `+` is encoded first: every server decodes it, but S3 takes a literal one for a space. Most
    mirrors publish `:` literally; some stored the file under `%3A` percent-encoded twice over,
    or whatever else needs an escape under the escape itself.
    """
    encoded = quote(path, safe=_SAFE_IN_URL)
    spellings = [encoded, encoded.replace("%2B", "+"), encoded.replace(":", "%253A")]
    if "%" not in path:
        spellings.append(quote(path, safe=_SAFE_IN_URL.replace(":", "+")).replace("%", "%25"))
    return tuple(dict.fromkeys(spellings))
