"""Where a request target leads: to which mirror, if to any.

A path belongs to the mirror that is mounted above it, whatever Host says: nobody knows all
names by which clients reach this machine. Two things come before that. A Host that is an origin's
makes it a path of that origin, so that a name server which gives our address for the origin's name is all
that a site needs; and absolute-form targets are matched by origin, so that the proxy also works as
`http_proxy`. Both hold for the mirrors that are configured, and for nothing else. Whatever
is found here, no other server than the mirror's own origins is ever asked for it.
"""

import socket
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from yarl import URL

from proxy.mirror import Mirror
from proxy.system.ip_addresses import parse_address
from proxy.web.authorities import DEFAULT_PORTS, Authority, of_header, of_url, plain

_OUR_PAGES = "/-/"
_REMEMBERED = 256

_Address = tuple[str, int]
"""Host and port that a request arrived at."""
_Trees = Mapping[Authority, Sequence[tuple[str, Mirror]]]
"""By who is asked: the trees there, by their path, the longest first."""


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
        self._by_host = _trees((url, mirror) for mirror in mirrors for url in mirror.answered_urls)
        self._by_url = _trees(
            (url, mirror)
            for mirror in mirrors
            for url in dict.fromkeys((*mirror.origin_urls, *mirror.answered_urls))
        )
        self._names = {authority.host for authority in self._by_url if not parse_address(authority.host)}
        """What servers of others are called, whatever port they are asked at."""

    def place(self, target: str, local_address: _Address | None, host: str = "") -> Place:
        """Return where a request target leads.

        `local_address` is where the request arrived, `host` what its Host header says.
        """
        path = target.split("?", 1)[0]
        if path.startswith("/"):
            return self._place_of_path(tidied(path), of_header(host), local_address)
        try:
            url = urlsplit(path)
            authority = of_url(url)
        except ValueError:
            return Place(is_ours=False, is_foreign=True)
        is_here = local_address is not None and _is_here(authority, local_address)
        return self._place_of_url(url, authority, local_address, is_here=is_here)._replace(
            is_ours=is_here and url.path.startswith("/")
        )

    def _place_of_path(self, path: str, asked: Authority, local_address: _Address | None) -> Place:
        trees = self._by_host.get(asked)
        if trees is None and asked.host not in self._names:
            return self._below_mount(path)  # As nearly all are.
        found = _below(trees or (), path)
        if _is_certainly_ours(asked.host, local_address):
            below = self._below_mount(path)
            is_taken = below.mirror is not None or path.startswith(_OUR_PAGES)
            return below if found is None or is_taken else found
        if found is not None or trees:
            # MAAS up to 3.7 asks beside the tree first when its URL lacks the slash, and needs a 404.
            return (found or Place())._replace(is_ours=False)
        if unquote(path).startswith(_OUR_PAGES):
            return Place(is_ours=False)
        return self._below_mount(path)

    def _place_of_url(
        self, url: SplitResult, authority: Authority, local_address: _Address | None, *, is_here: bool
    ) -> Place:
        path = tidied(url.path)
        trees = self._by_url.get(authority)
        if trees is not None and (found := _below(trees, path)):
            return found
        if is_here:
            return self._below_mount(path)
        if trees is not None:
            # MAAS up to 3.7 asks beside the tree first when its URL lacks the slash, and needs a 404.
            return Place()
        below = self._below_mount(path) if url.scheme in DEFAULT_PORTS and url.hostname else Place()
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


def _trees(urls: Iterable[tuple[str, Mirror]]) -> _Trees:
    """Sort trees by who is asked for them; of two at one URL, the first is meant."""
    found: defaultdict[Authority, list[tuple[str, Mirror]]] = defaultdict(list)
    for authority, path, mirror in _split(urls):
        found[authority].append((path, mirror))
    return {
        authority: sorted(trees, key=lambda tree: len(tree[0]), reverse=True)
        for authority, trees in found.items()
    }


def _split(urls: Iterable[tuple[str, Mirror]]) -> Iterator[tuple[Authority, str, Mirror]]:
    for url, mirror in urls:
        parts = urlsplit(url)
        # Many clients write a path in its normal form whatever they were given: "~" for "%7E".
        for path in dict.fromkeys((parts.path, URL(url).raw_path)):
            yield of_url(parts), tidied(path), mirror


def _below(trees: Sequence[tuple[str, Mirror]], path: str) -> Place | None:
    """Return the place of a path in the first tree that it lies in."""
    for above, mirror in trees:
        if path.startswith(above):
            return Place(mirror, path.removeprefix(above))
    return None


def _is_here(authority: Authority, local_address: _Address) -> bool:
    host, port = authority
    return port == plain(local_address[1]) and _is_our_name(host, local_address[0])


def _is_certainly_ours(host: str, local_address: _Address | None) -> bool:
    return local_address is not None and _is_our_name(host, local_address[0])


@lru_cache(_REMEMBERED)
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


def _tells_apart(mount: str, authority: Authority, local_address: _Address | None) -> bool:
    """Whether a path below a mount tells a mirror of ours from another server's tree.

    Everything lies below "/": there the host must be ours, at whatever port it was mapped to.
    """
    return mount != "/" or _is_certainly_ours(authority.host, local_address)
