"""Which mirror a MAAS is connected to, and the URL and keyring that it gets for it."""

import sys
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

import click

from proxy.cli.options import UsageFault, chosen_mirrors
from proxy.config.config import Config
from proxy.config.keyrings import bundled_keyrings
from proxy.connect.plan import Target
from proxy.connect.record import Record
from proxy.connect.route import address_towards, host_name
from proxy.mirror import Mirror, Trust
from proxy.signatures.keyfile import read_keys

_PORTS = {"http": 80, "https": 443}
_ANY_HOST = {"0.0.0.0", "::"}  # noqa: S104 - compared with, not bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the options say of it; None is left to us."""

    proxy_url: str | None
    keyring: str | None
    source_id: int | None


def choose_mirror(config: Config, wanted: str | None, record: Record | None) -> Mirror:
    """Return the mirror that is named, was chosen before, or is the first that is signed."""
    mirrors = {one.name: one for one in config.mirrors}
    if wanted is not None:
        found = mirrors[chosen_mirrors(config, (wanted,))[0]]
        if found.trust is not Trust.GPG:
            raise UsageFault(f"mirror {found.name!r} is signed by nobody, and MAAS verifies signatures")
        return found
    if record is not None and record.mirror in mirrors:
        return mirrors[record.mirror]
    signed = [one for one in config.mirrors if one.trust is Trust.GPG]
    if not signed:
        raise UsageFault('no mirror is signed (trust = "gpg"), and MAAS verifies signatures')
    return signed[0]


def make_target(config: Config, base: str, mirror: Mirror, given: Given, record: Record | None) -> Target:
    """Return what the MAAS at `base` gets as its source for a mirror."""
    known = record.url if record is not None and record.mirror == mirror.name else None
    url = given.proxy_url or known or _guessed(config, base)
    if not url.rstrip("/").endswith(mirror.mount.rstrip("/")):
        url = url.rstrip("/") + mirror.mount
    keyring = ""
    if mirror.keyring not in bundled_keyrings() and not given.keyring:
        keyring = b64encode(read_keys(Path(mirror.keyring).read_bytes()).ring).decode()
    return Target(
        url=url if url.endswith("/") else f"{url}/",
        mirror=mirror.name,
        origins=mirror.origins,
        keyring_filename=given.keyring or "",
        keyring_data=keyring,
        source_id=given.source_id,
    )


def _guessed(config: Config, base: str) -> str:
    """Return the proxy's URL as MAAS probably sees it; asks where that cannot be known."""
    host, port = config.addresses[0]
    scheme = "http" if config.tls.certificate is None else "https"
    if host in _ANY_HOST:
        found = address_towards(base) if scheme == "http" else host_name()
    else:
        found = f"[{host}]" if ":" in host else host
    if found is None or port == 0:
        return _asked_url()
    return f"{scheme}://{found}" if port == _PORTS[scheme] else f"{scheme}://{found}:{port}"


def _asked_url() -> str:
    if not sys.stdin.isatty():
        raise UsageFault("which URL of this proxy MAAS sees is not clear: say it by --proxy-url")
    return str(click.prompt("The URL of this proxy, as MAAS sees it"))
