"""URLs of a MAAS and of its sources: how people write them, and which mean the same. Pure."""

import re
from urllib.parse import SplitResult, urlsplit, urlunsplit

from proxy.connect.errors import MaasFault

_INDEX = re.compile(r"streams/v1/[^/]*\.s?json\Z")
_PORTS = {"http": 80, "https": 443}
_MAAS = "/MAAS"


def maas_base(text: str) -> str:
    """Return the URL below which a MAAS answers, with its final slash; raises MaasFault.

    People copy it from a browser, with or without /MAAS and what follows.
    """
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError as error:
        raise MaasFault(f"this is no URL of a MAAS: {error}") from error
    if parts.scheme not in _PORTS or not parts.hostname:
        raise MaasFault(
            f"{text[:80]!r} is no URL of a MAAS: write it as http://HOST:5240/MAAS, as in your browser"
        )
    if parts.username is not None or parts.password is not None:
        raise MaasFault("the URL of MAAS holds a password: leave it out, and give the API key by --key-file")
    at = parts.path.upper().find(_MAAS)
    path = parts.path.rstrip("/") if at < 0 else parts.path[:at]
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    netloc = host if port in {None, _PORTS[parts.scheme]} else f"{host}:{port}"
    return urlunsplit((parts.scheme, netloc, f"{path}{_MAAS}/", "", ""))


def is_same_source(one: str, other: str) -> bool:
    """Whether MAAS would read the same tree by two URLs."""
    return _plain(one) == _plain(other)


def is_same_tree(one: str, other: str) -> bool:
    """Whether two URLs name the same tree of the same host, whatever way there is to it."""
    return _plain(one)[1:] == _plain(other)[1:]


def is_same_but_for_host(one: str, other: str) -> bool:
    """Whether two URLs name the same tree, were their hosts the same."""
    (scheme, _, port, path), (other_scheme, _, other_port, other_path) = _plain(one), _plain(other)
    return (scheme, port, path) == (other_scheme, other_port, other_path)


def _plain(url: str) -> tuple[str, str, int | None, str]:
    try:
        parts = urlsplit(url.strip())
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return ("", url, None, "")
    path = _INDEX.sub("", parts.path).rstrip("/")
    usual = _PORTS.get(parts.scheme)
    return (parts.scheme, (parts.hostname or "").lower(), None if port == usual else port, path)


def without_password(url: str) -> str:
    """Return a URL as it may be shown."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    if parts.password is None:
        return url
    return urlunsplit(SplitResult(parts.scheme, _masked(parts.netloc), *parts[2:]))


def _masked(netloc: str) -> str:
    credentials, _, host = netloc.rpartition("@")
    return f"{credentials.partition(':')[0]}:***@{host}"
