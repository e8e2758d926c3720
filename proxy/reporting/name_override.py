"""What a site's name servers are told so that clients find the proxy by origins' names. Pure.

Each form is what the program that reads it takes as it is: whatever else is to be said stands in comments.
"""

import shlex
from collections.abc import Callable, Iterable, Sequence

from yarl import URL

from proxy.mirror import Mirror
from proxy.system.ip_addresses import parse_address

_TTL_S = 300
_ZONE = "rpz.sstream-proxy"
_DAYS_OF_AUTHORITY, _DAYS_OF_CERTIFICATE = 3650, 825

Addresses = Sequence[str]


def answered_names(mirrors: Iterable[Mirror]) -> list[str]:
    """Return the host names that mirrors answer to, each once, in the order of the configuration."""
    hosts = [_host(URL(url)) for mirror in mirrors for url in mirror.answered_urls]
    return list(dict.fromkeys(host for host in hosts if host and not parse_address(host)))


def dns_name(text: str) -> str:
    """Return a name as name servers and certificates write it: in small letters, and of ASCII alone."""
    try:
        return _host(URL.build(scheme="http", host=text))
    except ValueError:
        return text


def ports_of(mirrors: Iterable[Mirror], name: str) -> list[int]:
    """Return the ports that clients of a name ask at: 80 for http and 443 for https, or its own."""
    found: set[int] = set()
    for mirror in mirrors:
        for url in map(URL, mirror.answered_urls):
            if _host(url) == name:
                found |= {url.explicit_port} if url.explicit_port else {80, 443}
    return sorted(found)


def dnsmasq(names: Sequence[str], addresses: Addresses) -> list[str]:
    """Return lines for dnsmasq.conf; no other name server is asked for anything about these names."""
    lines = []
    for name in names:
        lines += [f"local=/{name}/", f"host-record={name},{','.join(addresses)}"]
    return lines


def unbound(names: Sequence[str], addresses: Addresses) -> list[str]:
    """Return a part of unbound.conf."""
    lines = ["server:"]
    for name in names:
        lines.append(f'    local-zone: "{name}." static')
        lines += [f'    local-data: "{name}. {_TTL_S} IN {_type(one)} {one}"' for one in addresses]
    return lines


def bind(names: Sequence[str], addresses: Addresses) -> list[str]:
    """Return a response policy zone for BIND: other names in the same domains are looked up as ever."""
    lines = [
        f"; Save this as /etc/bind/db.{_ZONE}, and write into named.conf.options, in options {{ }}:",
        f';   response-policy {{ zone "{_ZONE}"; }} break-dnssec yes;',
        "; and into named.conf.local:",
        f';   zone "{_ZONE}" {{ type primary; file "/etc/bind/db.{_ZONE}"; allow-query {{ none; }}; }};',
        *_head_of_zone(),
    ]
    return lines + [f"{name} IN {_type(one)} {one}" for name in names for one in addresses]


def bind_zone(name: str, addresses: Addresses) -> list[str]:
    """Return a zone of its own for one name, for servers without response policies."""
    lines = [
        f"; Save this as /etc/bind/db.{name}, and write into named.conf.local:",
        f';   zone "{name}" {{ type primary; file "/etc/bind/db.{name}"; }};',
        *_head_of_zone(),
    ]
    return lines + [f"@ IN {_type(one)} {one}" for one in addresses]


def maas(names: Sequence[str], addresses: Addresses, profile: str = "admin") -> list[str]:
    """Return commands for MAAS's own DNS: each name becomes a domain, so that others beside it stay."""
    lines = []
    given = f"address_ttl={_TTL_S} ip_addresses={shlex.quote(' '.join(addresses))}"
    for name in names:
        lines += [
            f"maas {profile} domains create name={name} authoritative=true",
            f"maas {profile} dnsresources create name=@ domain={name} {given}",
        ]
    return lines


def hosts(names: Sequence[str], addresses: Addresses) -> list[str]:
    """Return lines for /etc/hosts of each client."""
    return [f"{address} {' '.join(names)}" for address in addresses if names]


FORMS: dict[str, Callable[[Sequence[str], Addresses], list[str]]] = {
    "dnsmasq": dnsmasq,
    "unbound": unbound,
    "bind": bind,
    "maas": maas,
    "hosts": hosts,
}
"""By what reads them."""

TITLES = {
    "dnsmasq": "dnsmasq: a file in /etc/dnsmasq.d/, then systemctl restart dnsmasq",
    "unbound": "unbound: a file in /etc/unbound/unbound.conf.d/, then systemctl restart unbound",
    "bind": "BIND, a response policy zone",
    "maas": "MAAS's own DNS, where the region controllers ask it; profile admin",
    "hosts": "/etc/hosts of each region controller or client",
}


def certificate_lines(names: Sequence[str], addresses: Addresses) -> list[str]:
    """Return commands that make a site's authority, and a certificate of the proxy for these names."""
    alternatives = ",".join([*(f"DNS:{name}" for name in names), *(f"IP:{one}" for one in addresses)])
    key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    limits = ("basicConstraints=critical,CA:TRUE,pathlen:0", "keyUsage=critical,keyCertSign,cRLSign")
    of_authority = " ".join(f"-addext {limit}" for limit in limits)
    of_server = f"-addext subjectAltName={alternatives} -addext extendedKeyUsage=serverAuth"
    make_authority = f"openssl req -x509 {key} -days {_DAYS_OF_AUTHORITY} -subj '/CN=Image cache CA'"
    sign = f"openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -days {_DAYS_OF_CERTIFICATE}"
    return [
        f"{make_authority} {of_authority} -keyout ca.key -out ca.crt",
        f"openssl req {key} -subj '/CN=sstream-proxy' {of_server} -keyout server.key -out server.csr",
        f"{sign} -CAcreateserial -copy_extensions copy -out server.crt",
    ]


def trust_lines() -> list[str]:
    """Return what makes a client believe such a certificate."""
    return [
        "install -m 644 ca.crt /usr/local/share/ca-certificates/image-cache.crt && update-ca-certificates",
        "systemctl restart incus || snap restart lxd",
    ]


def _head_of_zone() -> list[str]:
    return [
        f"$TTL {_TTL_S}",
        "@ IN SOA localhost. root.localhost. ( 1 3600 600 86400 300 )",
        "@ IN NS localhost.",
    ]


def _host(url: URL) -> str:
    return (url.raw_host or "").lower().rstrip(".")


def _type(address: str) -> str:
    return "AAAA" if ":" in address else "A"
