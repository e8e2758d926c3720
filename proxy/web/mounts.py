"""Where a request target leads: to which mirror, if to any.

Origin-form targets are matched by mount, absolute-form ones by origin, so that
the proxy also works as `http_proxy` for the mirrors it is configured for, and
for nothing else. What lies below a mount is the mirror's under any name: nobody
knows all those by which clients reach this machine. Whatever is found here,
no other server than the mirror's own origins is ever asked for it.
"""

import socket
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from proxy.mirror import Mirror
from proxy.sources.addresses import is_folder
from proxy.web.access.networks import parse_address

_DEFAULT_PORTS = {"http": 80, "https": 443}
_OUR_PAGES = "/-/"

_Authority = tuple[str, int]
"""Host and port."""


class Place(NamedTuple):
    """Where a request target leads."""

    mirror: Mirror | None = None
    """Whose it is; None for what is no mirror's."""
    url_path: str = ""
    """The rest of the target below the mirror's mount, percent-encoded as received."""
    is_ours: bool = True
    """Whether it is a path here, in either form, rather than another server's URL."""
    is_foreign: bool = False
    """Whether it is another server's URL that no configured mirror covers."""


class Mounts:
    """All mirrors by where clients find them."""

    def __init__(self, mirrors: Sequence[Mirror]) -> None:
        # The longest mount wins, so that one mirror may live below another.
        self._by_mount = sorted(mirrors, key=lambda mirror: len(mirror.mount), reverse=True)
        self._by_origin = sorted(
            ((_authority(urlsplit(origin)), tidied(urlsplit(origin).path), mirror)
             for mirror in mirrors for origin in mirror.origins if not is_folder(origin)),
            key=lambda entry: len(entry[1]),
            reverse=True,
        )  # fmt: skip

    def place(self, target: str, local_address: _Authority | None) -> Place:
        """Return where a request target leads; `local_address` is where the request arrived."""
        path = target.split("?", 1)[0]
        if path.startswith("/"):
            return self._below_mount(tidied(path))
        try:
            url = urlsplit(path)
            authority = _authority(url)
        except ValueError:
            return Place(is_ours=False, is_foreign=True)
        is_here = local_address is not None and _is_here(authority, local_address)
        return self._place_of_url(url, authority, local_address, is_here=is_here)._replace(
            is_ours=is_here and url.path.startswith("/")
        )

    def _place_of_url(
        self, url: SplitResult, authority: _Authority, local_address: _Authority | None, *, is_here: bool
    ) -> Place:
        path = tidied(url.path)
        for origin_authority, origin_path, mirror in self._by_origin:
            if authority == origin_authority and path.startswith(origin_path):
                return Place(mirror, path.removeprefix(origin_path))
        if is_here:
            return self._below_mount(path)
        if any(authority == origin_authority for origin_authority, _, _ in self._by_origin):
            # MAAS up to 3.7 asks beside the tree first when its URL lacks the slash, and needs a 404.
            return Place()
        below = self._below_mount(path) if url.scheme in _DEFAULT_PORTS and url.hostname else Place()
        if below.mirror is None or not _tells_apart(below.mirror.mount, authority, local_address):
            return Place(is_foreign=True)
        return below

    def _below_mount(self, path: str) -> Place:
        if path.startswith(_OUR_PAGES):
            return Place()
        for mirror in self._by_mount:
            if path.startswith(mirror.mount):
                return Place(mirror, path.removeprefix(mirror.mount))
        return Place()


def tidied(path: str) -> str:
    """Return a URL path without empty and "." segments, which clients write that join URLs carelessly.

    A slash at the end stays, and so does "..", which no path of a mirror has.
    """
    if "//" not in path and "/." not in path:
        return path
    *segments, last = path.split("/")
    kept = [one for one in segments if one not in {"", "."}]
    return "/".join([*([""] if path.startswith("/") else []), *kept, "" if last == "." else last])


def _authority(url: SplitResult) -> _Authority:
    """Return host and port; https and http count as one, for clients of a proxy ask by http."""
    host = (url.hostname or "").removesuffix(".")
    return host, _plain(url.port or _DEFAULT_PORTS.get(url.scheme, 0))


def _plain(port: int) -> int:
    return _DEFAULT_PORTS["http"] if port == _DEFAULT_PORTS["https"] else port


def _is_here(authority: _Authority, local_address: _Authority) -> bool:
    host, port = authority
    return port == _plain(local_address[1]) and _is_our_name(host, local_address[0])


def _is_our_name(host: str, local_host: str) -> bool:
    """Whether a host is this machine for certain; many other names may be."""
    if host in {local_host, "localhost"} or _is_loopback(host):
        return True
    machine, _, domain = host.partition(".")
    own, _, own_domain = socket.gethostname().lower().partition(".")
    return machine == own and (not own_domain or domain in {"", own_domain})


def _is_loopback(host: str) -> bool:
    address = parse_address(host)
    return address is not None and address.is_loopback


def _tells_apart(mount: str, authority: _Authority, local_address: _Authority | None) -> bool:
    """Whether a path below a mount tells a mirror of ours from another server's tree.

    Everything lies below "/": there the host must be ours, at whatever port it was mapped to.
    """
    return mount != "/" or (local_address is not None and _is_our_name(authority[0], local_address[0]))
