"""Finding fault with names: those that mirrors answer to besides their mounts, and those that are pinned."""

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from proxy.config.toml_reader import Fault
from proxy.config.wording import key_text, quoted
from proxy.mirror import ORIGINS, Mirror
from proxy.sources.addresses import name_server_of
from proxy.system.host_names import led_here
from proxy.web.authorities import Authority, of_url
from proxy.web.mounts import tidied

_NAME = re.compile(r"(?=.*[^\d.])[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\.?")

_Tree = tuple[Authority, str]


def answer_faults(mirrors: Sequence[Mirror]) -> Iterator[Fault]:
    """Judge the URLs that are written down; those of origins give way."""
    taken: dict[_Tree, Mirror] = {}
    for place, mirror in enumerate(mirrors):
        for index, url in enumerate(mirror.answer_to):
            tree = None if url == ORIGINS else _tree(url)
            if tree is None:
                continue
            if tree in taken:
                whose = "is written twice" if taken[tree] is mirror else f'is "{taken[tree].name}"\'s already'
                yield Fault(f"mirror[{place}].answer_to[{index}]", f"{quoted(url)} {whose}: remove one")
            taken.setdefault(tree, mirror)


def doubted_answers(mirrors: Sequence[Mirror]) -> Iterator[str]:
    """Yield which mirrors do not answer to a URL of theirs, because an earlier one does."""
    taken: dict[_Tree, Mirror] = {}
    for mirror in mirrors:
        for url in mirror.answered_urls:
            tree = _tree(url)
            first = mirror if tree is None else taken.setdefault(tree, mirror)
            if first is not mirror:
                yield (
                    f'mirrors "{first.name}" and "{mirror.name}" have both {_shown(url)}: by that name '
                    "the first one answers; write answer_to = [] into the one that is not to"
                )


def pin_faults(pinned: Mapping[str, Sequence[str]]) -> Iterator[Fault]:
    """Judge the addresses that are written down for names."""
    for name, addresses in pinned.items():
        at = f"upstream.resolve.{key_text(name)}"
        if not _NAME.fullmatch(name):
            yield Fault(at, f'{quoted(name)} is no name: write one such as "images.maas.io", without a port')
        if not addresses:
            yield Fault(at, 'is empty: write addresses, such as ["192.0.2.7"], or remove the line')
        for index, address in enumerate(addresses):
            try:
                ipaddress.ip_address(address)
            except ValueError:
                problem = f'write an address such as "192.0.2.7" or "2001:db8::7", not {quoted(address)}'
                yield Fault(f"{at}[{index}]", problem)


def resolver_faults(servers: Sequence[str]) -> Iterator[Fault]:
    """Judge the name servers that are to be asked."""
    for index, text in enumerate(servers):
        try:
            name_server_of(text)
        except ValueError as error:
            yield Fault(f"upstream.resolver[{index}]", f"{error}, not {quoted(text)}")


def unused_pins(
    pinned: Mapping[str, Sequence[str]], servers: Sequence[str], parent_proxy: str, bypassed: Sequence[str]
) -> Iterator[str]:
    """Yield that a parent proxy looks names up itself."""
    if servers and parent_proxy and not bypassed:
        yield (
            "upstream.resolver is asked for no origin's name: parent_proxy looks up itself the names of what "
            "goes through it; correct its name server, or name what is to be asked past it in no_proxy"
        )
    if pinned and parent_proxy and not bypassed:
        yield (
            "upstream.resolve is used for nothing: parent_proxy looks up itself the names of what goes "
            "through it; correct its name server, or name what is to be asked past it in no_proxy"
        )


def names_led_here(mirrors: Sequence[Mirror], pinned: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield which origins' names, at their usual ports, a file of this machine leads to itself. Blocks."""
    known = {name.lower().rstrip(".") for name in pinned}
    urls = [urlsplit(url) for mirror in mirrors for url in mirror.origin_urls]
    hosts = {(url.hostname or "").rstrip(".") for url in urls if url.port is None}
    for name, address in led_here(hosts - known - {"localhost"}):
        yield (
            f"/etc/hosts leads {name}, an origin's name, to {address}: if that is for clients, the proxy "
            "would ask itself; write the origin's own address into [upstream] resolve, or a name server into "
            "[upstream] resolver"
        )


def _tree(url: str) -> _Tree | None:
    """Return who is asked for a URL, and its path; None for what is none, which others tell."""
    try:
        parts = urlsplit(url if url.endswith("/") else f"{url}/")
        return of_url(parts), tidied(parts.path)
    except ValueError:
        return None


def _shown(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
