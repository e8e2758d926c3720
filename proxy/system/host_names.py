"""What this machine is called, by files of its own: no name server is asked, which might hang.

What a name server says of a name proves nothing: anybody may have a name lead here.
"""

import os
from collections.abc import Collection, Iterator
from pathlib import Path

_HOSTS = Path("/etc/hosts")
_RESOLVER = Path("/etc/resolv.conf")


def own_names(hosts: Path = _HOSTS, resolver: Path = _RESOLVER, node: str = "") -> frozenset[str]:
    """Return the names of this machine, in small letters; `node` is what the kernel calls it. Blocks."""
    own = (node or os.uname().nodename).lower().rstrip(".")
    short = own.partition(".")[0]
    names = {own, short, *(f"{short}.{domain}" for domain in _domains(resolver))}
    for line in _words(hosts):
        if own in line[1:] or short in line[1:]:
            names.update(line[1:])
    return frozenset(names)


def led_here(names: Collection[str], hosts: Path = _HOSTS) -> Iterator[tuple[str, str]]:
    """Yield those of some names that a file of this machine gives a loopback address, and that. Blocks."""
    wanted = {name.lower().rstrip(".") for name in names}
    for line in _words(hosts):
        if line[0].startswith("127.") or line[0] == "::1":
            yield from ((name, line[0]) for name in line[1:] if name in wanted)


def _domains(resolver: Path) -> Iterator[str]:
    """Yield the domains in which this machine looks for short names: it is in one of them."""
    for line in _words(resolver):
        if line[0] in {"search", "domain"}:
            yield from (word.strip(".") for word in line[1:] if word.strip("."))


def _words(file: Path) -> Iterator[list[str]]:
    try:
        text = file.read_text(errors="replace")
    except OSError:
        return
    for line in text.lower().splitlines():
        if words := line.partition("#")[0].split():
            yield words
