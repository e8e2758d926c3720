"""Addresses of origins and of name servers, as the configuration writes them.

An origin is a server (`http://`, `https://`) or a folder (`file://`, RFC 8089).
"""

import ipaddress
import os
import re
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

from yarl import URL

_SCHEME = "file:"
_BROKEN_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")
_NAME_SERVER = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<v4>[0-9.]+))(?::(?P<port>[0-9]{1,5}))?")
_DNS_PORT = 53
_LAST_PORT = 65535
_SHAPE = 'write it as "file:///srv/images/", with three slashes and the whole path'


def shown_url(url: str) -> str:
    """Return a URL without credentials."""
    return str(URL(url).with_user(None)) if "@" in url and not is_folder(url) else url


def authority_of(url: str) -> str:
    """Return host and port of a server's URL, without credentials."""
    return URL(url).authority.rpartition("@")[2]


def is_folder(url: str) -> bool:
    """Say whether a URL means a folder of this machine."""
    return url[: len(_SCHEME)].lower() == _SCHEME


def folder_of(url: str) -> Path:
    """Return the folder that a file URL names. Raises ValueError that says how to write it."""
    if any(not letter.isprintable() or letter.isspace() for letter in url):
        raise ValueError("holds spaces or control characters: write a space as %20")
    if "?" in url or "#" in url:
        raise ValueError('holds "?" or "#": write them as %3F and %23 if the folder is named so')
    if _BROKEN_ESCAPE.search(url):
        raise ValueError("holds a % that begins no escape: write it as %25")
    parts = urlsplit(url)
    if parts.netloc.lower() not in {"", "localhost"}:
        raise ValueError(f"names a host, and a folder is on this machine: {_SHAPE}")
    if not parts.path.startswith("/"):
        raise ValueError(f"is no whole path: {_SHAPE}")
    if re.search("%2f|%00", parts.path, re.IGNORECASE):
        raise ValueError("holds an escaped slash or zero byte: no folder can be named so")
    if not {b".", b".."}.isdisjoint(unquote_to_bytes(parts.path).split(b"/")):
        raise ValueError('holds "." or "..": write the path without them')
    return Path("/", os.fsdecode(unquote_to_bytes(parts.path.lstrip("/"))))


def name_server_of(text: str) -> tuple[str, int]:
    """Return address and port of a name server: `192.0.2.53`, `192.0.2.53:5353`, `2001:db8::53`, `[…]:5353`.

    Raises ValueError that says how to write it.
    """
    match = _NAME_SERVER.fullmatch(text)
    host, port = (match["v6"] or match["v4"], match["port"]) if match else (text, None)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    number = _DNS_PORT if port is None else int(port)
    if address is None or address.is_unspecified or address.is_multicast or not 0 < number <= _LAST_PORT:
        shape = '"192.0.2.53", "192.0.2.53:5353" or "[2001:db8::53]:53"'
        raise ValueError(f"write the address of a name server, such as {shape}")
    return str(address), number
