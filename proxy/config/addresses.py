"""How addresses are written: what clients connect to, mounts, and URLs of origins.

Knows texts only; resolves and opens nothing. Each `..._problem` returns None,
or in plain words what to write instead, without any credentials.
"""

import ipaddress
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from proxy.config.wording import quoted
from proxy.sources.addresses import folder_of, is_folder
from proxy.system.ip_addresses import parse_address

_ADDRESS = re.compile(
    r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<host>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)):(?P<port>[0-9]+)"
)
_LAST_PORT = 65535
_PLAIN = "http://"


def is_plain(text: str) -> bool:
    """Whether no TLS is to be spoken at an address, whatever else is configured."""
    return text.startswith(_PLAIN)


def split_address(text: str) -> tuple[str, int]:
    """Return (host, port) of HOST:PORT or [IPV6]:PORT, with http:// before it or not.

    Raises ValueError that says how to write it.
    """
    match = _ADDRESS.fullmatch(text.removeprefix(_PLAIN))
    try:
        if match and match["v6"]:
            return str(ipaddress.IPv6Address(match["v6"])), _port(match["port"])
        if match and set(match["host"]) <= set("0123456789."):
            return str(ipaddress.IPv4Address(match["host"])), _port(match["port"])
        if match:
            return match["host"].lower(), _port(match["port"])
    except ValueError:
        pass
    shape = '"0.0.0.0:8080", "localhost:8080" or "[::]:8080", with a port from 0 to 65535'
    raise ValueError(f"write HOST:PORT such as {shape}, not {quoted(text)}")


def join_address(address: tuple[str, int]) -> str:
    """Write an address as `split_address` reads it."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def covers(address: tuple[str, int], other: tuple[str, int]) -> bool:
    """Whether one address is all of a machine's, of one family, and the other is one of those."""
    (host, port), (other_host, other_port) = address, other
    is_all = host == ("::" if ":" in other_host else "0.0.0.0")  # noqa: S104 - compared with, not bound
    return is_all and port == other_port != 0


def _port(digits: str) -> int:
    if len(digits) > len(str(_LAST_PORT)) or int(digits) > _LAST_PORT:
        raise ValueError(digits)
    return int(digits)


_MOUNT = re.compile(r"/[A-Za-z0-9._~+:@,=/-]*")
_HOST = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
_RESERVED = "/-/"
_A_URL = "write an absolute URL that starts with http:// or https://"


def mount_problem(mount: str) -> str | None:
    """Judge the URL path, slash at its end, below which clients find a mirror."""
    if not mount.startswith("/"):
        return f"is {quoted(mount)}: begin it with a slash"
    if "//" in mount:
        return 'holds "//": write single slashes'
    if not {".", ".."}.isdisjoint(mount.split("/")):
        return 'holds "." or "..": write the path without them'
    if mount.startswith(_RESERVED):
        return f'is at or below "{_RESERVED}", where the proxy\'s own pages are: choose another path'
    if not _MOUNT.fullmatch(mount):
        return f"is {quoted(mount)}: write only letters, digits, slashes and any of . _ ~ + : @ , = -"
    return None


def network_problem(network: str) -> str | None:
    """Judge a network: ADDRESS/BITS, or an address alone."""
    try:
        found = ipaddress.ip_network(network, strict=False)
    except ValueError:
        return f'is {quoted(network)}: write a network such as "10.0.0.0/8", "192.0.2.7" or "fd00::/8"'
    first = found.network_address
    if isinstance(first, ipaddress.IPv6Address) and first.ipv4_mapped is not None:
        return f"is {quoted(network)}, which is IPv4: write it without ::ffff:"
    if "/" in network and ipaddress.ip_address(network.partition("/")[0]) != first:
        return f'is {quoted(network)}, an address inside a network: write "{found}"'
    return None


def bypass_problem(entry: str) -> str | None:
    """Judge what is to be asked past a proxy: a host or domain, with a port or not, or a network."""
    if network_problem(entry) is None or _HOST.fullmatch(entry.removeprefix("*").removeprefix(".")):
        return None
    return f'write a domain such as "example.org", or a network such as "10.0.0.0/8", not {quoted(entry)}'


def host_problem(host: str) -> str | None:
    """Judge what should be a host, or a host and a port."""
    if _HOST.fullmatch(host):
        return None
    return f'write only a host or host:port, such as "cdn.example.org", not {quoted(host)}'


def url_problem(url: str) -> str | None:
    """Judge an absolute HTTP URL."""
    if any(letter.isspace() or not letter.isprintable() for letter in url):
        return "holds spaces or control characters: remove them"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        return f"has a host or port that cannot be: {_A_URL}, with a port from 1 to 65535 if any"
    return None if usable else f"{_A_URL}, not {quoted(url)}"


def _folder_problem(url: str) -> str | None:
    try:
        folder_of(url)
    except ValueError as error:
        return str(error)
    return None


def overlap_problem(url: str, data_dir: Path) -> str | None:
    """Judge a folder that is an origin by where the proxy's own files are."""
    try:
        folder = Path(os.path.normpath(folder_of(url)))
    except ValueError:
        return None
    place = Path(os.path.normpath(data_dir))
    if folder == place:
        return "is the data_dir: the proxy's own files are no tree"
    if folder.is_relative_to(place):
        return f"lies inside data_dir, {place}, where the proxy keeps its own files: move the tree"
    if place.is_relative_to(folder):
        return f"holds data_dir, {place}: name the folder that holds streams/v1/, and keep data_dir outside"
    return None


def base_url_problem(url: str) -> str | None:
    """Judge the URL that a tree's paths, from streams/v1/ on, are appended to."""
    if problem := _folder_problem(url) if is_folder(url) else url_problem(url):
        is_url = "://" in url
        return (
            problem
            if is_url or is_folder(url)
            else f'{problem}; a folder is written as "file:///srv/images/"'
        )
    if "?" in url or "#" in url:
        return 'holds "?" or "#": give the base URL without query and fragment'
    path = urlsplit(url).path
    if path.endswith((".json", ".sjson", ".json.gpg")) or path.rstrip("/").endswith("/streams/v1"):
        return "points into the stream: give the base URL, which is what precedes streams/v1/"
    return None


def answered_problem(url: str) -> str | None:
    """Judge a URL that a mirror is to answer to besides its mount."""
    if is_folder(url) or "://" not in url:
        return f'{_A_URL}, such as "http://images.example.org/stable/", or "origins", not {quoted(url)}'
    if "@" in url:
        return "holds a user or password: write what clients ask for, without them"
    return base_url_problem(url)


def unproved_problem(url: str) -> str | None:
    """Judge a URL whose only proof is the origin's certificate."""
    if is_folder(url):
        return (
            "is a folder, which shows no certificate, so that nothing would prove its stream: "
            'write trust = "gpg" with the keyring that signs it'
        )
    parts = urlsplit(url)
    if parts.scheme == "https" or _is_loopback(parts.hostname or ""):
        return None
    return (
        "with plain http anyone on the way can change the stream: "
        'write https://, or trust = "gpg" with the keyring that signs it'
    )


def _is_loopback(host: str) -> bool:
    address = parse_address(host)
    return host == "localhost" or (address is not None and address.is_loopback)
