"""Before anything is asked of the mirror: its name, the addresses of it, and proxies on the way."""

from urllib.parse import urlsplit

from proxy.doctor.exchange import Trouble, without_credentials
from proxy.doctor.steps.context import Context
from proxy.doctor.wire.asking import PORTS
from proxy.doctor.wire.names import look_up, try_addresses
from proxy.doctor.wire.reading import Broken
from proxy.system.ip_addresses import parse_address

_WITHIN_S = 3.0
_PRIVATE_SUFFIXES = (".lan", ".local", ".internal", ".home.arpa", ".test")


async def look_around(context: Context) -> None:
    """Say what is wrong before the mirror is reached; that it is not reached says the first request."""
    parts = urlsplit(context.url)
    host = parts.hostname or ""
    voice = context.voice
    if context.client.needs_https and parts.scheme != "https":
        context.found([voice.fault("https-needed", url=context.shown_url)])
    if proxy := context.asker.proxy_for(context.url):
        say = voice.warning if _is_near(host) else voice.note
        context.found([say("proxy-used", host=host, proxy=without_credentials(proxy))])
        return
    if context.asker.is_pinned:
        return
    port = parts.port or PORTS[parts.scheme]
    try:
        addresses = await look_up(host, port)
    except Broken:
        return
    if not parse_address(host) and host != "localhost" and any(map(_is_loopback, addresses)):
        context.found([voice.warning("here", host=host, addresses=", ".join(addresses))])
    if len(addresses) > 1:
        tried = await try_addresses(addresses, port, _WITHIN_S)
        dead = [one.text for one in tried if one.trouble is Trouble.CONNECT_TIMEOUT]
        if dead and len(dead) < len(tried):
            facts = {"addresses": ", ".join(addresses), "dead": ", ".join(dead)}
            context.found([voice.warning("address-dead", host=host, **facts)])


def _is_near(host: str) -> bool:
    """Whether a host is one that nobody reaches through a proxy to the Internet."""
    address = parse_address(host)
    if address is None:
        return "." not in host or host.endswith(_PRIVATE_SUFFIXES)
    return address.is_private


def _is_loopback(host: str) -> bool:
    address = parse_address(host)
    return address is not None and address.is_loopback
