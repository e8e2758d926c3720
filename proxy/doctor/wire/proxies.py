"""Which proxy the environment names for a URL, as curl and most clients read it. Pure."""

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit


def proxy_for(url: str, environ: Mapping[str, str]) -> str:
    """Return the proxy's URL, "" for none."""
    parts = urlsplit(url)
    if _is_past(parts.hostname or "", parts.port, _value(environ, "no_proxy")):
        return ""
    proxy = _value(environ, f"{parts.scheme}_proxy") or _value(environ, "all_proxy")
    if proxy and "://" not in proxy:
        proxy = f"http://{proxy}"
    return proxy


def _value(environ: Mapping[str, str], name: str) -> str:
    # HTTP_PROXY in capitals is what a CGI program gets of a header "Proxy:", so curl passes it over;
    # Go and Python read it outside of CGI.
    return (environ.get(name) or environ.get(name.upper()) or "").strip()


def _is_past(host: str, port: int | None, no_proxy: str) -> bool:
    host = host.lower().rstrip(".")
    for entry in (one.strip().lower() for one in no_proxy.split(",")):
        if not entry:
            continue
        if entry == "*" or _is_network_of(entry, host):
            return True
        name = entry.removeprefix("*").lstrip(".")
        if name.endswith(f":{port}"):
            name = name.rpartition(":")[0]
        if host == name or host.endswith(f".{name}"):
            return True
    return False


def _is_network_of(entry: str, host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")) in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return False
