"""Making requests: to where, through which proxy, with which trust, and within which bounds."""

import asyncio
import base64
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from proxy.doctor.bounds import Bounds
from proxy.doctor.exchange import Ask, Exchange, Trouble, legal_url, without_credentials
from proxy.doctor.wire.names import connect, look_up
from proxy.doctor.wire.proxies import proxy_for
from proxy.doctor.wire.reading import HEAD_BYTES, Broken, Clock, read_exchange, read_head
from proxy.errors import ProxyError

PORTS = {"http": 80, "https": 443}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_OK = 200
_CLOSING_S = 0.2

Progress = Callable[[Exchange], None]


class NoAuthorities(ProxyError):
    """A file that holds no certificates of authorities."""


class Asker:
    """Makes requests, as few as it may, and counts them."""

    def __init__(
        self,
        bounds: Bounds,
        *,
        environ: Mapping[str, str],
        authority: Path | None = None,
        connect_to: str = "",
        clock: Clock = time.monotonic,
        progress: Progress | None = None,
    ) -> None:
        """Trust the system's authorities or a file's; `connect_to` is an address in place of all names."""
        self._bounds = bounds
        self._environ = environ
        self._connect_to = connect_to
        self._clock = clock
        self._progress = progress
        self._addresses: dict[tuple[str, int], list[str]] = {}
        self._trusting = _trusting(authority)
        self._blind = _blind()
        self._distrusted: dict[str, Broken] = {}
        self.certificates: dict[str, Mapping[str, object]] = {}
        """What trusted certificates say, by host and port."""
        self._ends_at = clock() + bounds.seconds
        self.requests = 0
        self.bytes = 0

    @property
    def has_time(self) -> bool:
        """Whether the examination may go on."""
        return self._bounds.is_full or self._clock() < self._ends_at

    def proxy_for(self, url: str) -> str:
        """Return the proxy on the way to a URL, "" without one."""
        return "" if self._connect_to else proxy_for(url, self._environ)

    @property
    def is_pinned(self) -> bool:
        """Whether names are not looked up, because the address is known."""
        return bool(self._connect_to)

    def ends_at(self, url: str) -> float | None:
        """Return when a certificate that was met expires, in Unix seconds."""
        said = self.certificates.get(_place(url), {}).get("notAfter")
        return ssl.cert_time_to_seconds(said) if isinstance(said, str) else None

    def distrust(self, url: str) -> Broken | None:
        """Return why the certificate of a URL's host is not trusted, as far as it was met."""
        return self._distrusted.get(_place(url))

    async def follow(self, ask: Ask, most: int) -> list[Exchange]:
        """Make a request and those that its replies redirect to; return all exchanges, the last one last."""
        made = [await self.ask(ask)]
        seen = {ask.url}
        while made[-1].status in _REDIRECTS and (place := made[-1].header("Location")) and len(made) <= most:
            url = _joined(ask.url, place)
            if url is None or url in seen:
                break
            seen.add(url)
            ask = replace(ask, url=url)
            made.append(await self.ask(ask))
        return made

    async def ask(self, ask: Ask) -> Exchange:
        """Make a request; whatever comes of it is an exchange."""
        exchange = await self._made(ask)
        self.bytes += exchange.body_bytes
        if self._progress is not None:
            self._progress(exchange)
        return exchange

    async def _made(self, ask: Ask) -> Exchange:
        began = self._clock()
        if self.requests >= self._bounds.requests or not self.has_time:
            return _failed(ask, Broken(Trouble.BOUND, "the doctor's own bounds are reached"), "", 0.0)
        self.requests += 1
        proxy = self.proxy_for(ask.url)
        try:
            try:
                parts = urlsplit(legal_url(ask.url))
                port = parts.port or PORTS[parts.scheme]
            except ValueError as error:
                raise Broken(Trouble.NAME, f"it is no URL: {error}") from None
            reader, writer = await self._connected(parts, port, proxy, ask)
        except Broken as broken:
            return _failed(ask, broken, without_credentials(proxy), self._clock() - began)
        try:
            return await self._conversed(reader, writer, ask, parts, proxy)
        finally:
            writer.transport.abort()

    async def _conversed(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        ask: Ask,
        parts: SplitResult,
        proxy: str,
    ) -> Exchange:
        request = _request(ask, parts, is_absolute=bool(proxy) and parts.scheme == "http", proxy=proxy)
        began = self._clock()
        writer.write(request)
        exchange = await read_exchange(reader, ask, began, self._clock)
        if ask.stray and exchange.is_whole and not reader.at_eof():
            writer.write(ask.stray + request)
            again = await read_exchange(reader, replace(ask, stray=b""), self._clock(), self._clock)
            exchange = replace(exchange, again=again)
        return replace(exchange, proxy=without_credentials(proxy))

    async def _connected(
        self, parts: SplitResult, port: int, proxy: str, ask: Ask
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host = parts.hostname or ""
        if not host:
            raise Broken(Trouble.NAME, "the URL names no host")
        if not proxy:
            reader, writer = await self._dialled(host, port, ask)
        else:
            reader, writer = await self._through(
                proxy, f"{host}:{port}", ask, is_tunnel=parts.scheme == "https"
            )
        if parts.scheme == "https":
            return await self._secured(reader, writer, parts, ask)
        return reader, writer

    async def _dialled(
        self, host: str, port: int, ask: Ask
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._connect_to:
            return await connect(self._connect_to, port, ask.patience.connect_s, HEAD_BYTES)
        addresses = self._addresses.get((host, port)) or await look_up(host, port)
        last: Broken | None = None
        for number, address in enumerate(addresses):
            try:
                opened = await connect(address, port, ask.patience.connect_s, HEAD_BYTES)
            except Broken as broken:
                last = last or broken
                continue
            # The others are passed over from now on: a dead one would cost its time with each request.
            self._addresses[host, port] = addresses[number:]
            return opened
        raise last or Broken(Trouble.NAME, "the name has no address")

    async def _through(
        self, proxy: str, target: str, ask: Ask, *, is_tunnel: bool
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            parts = urlsplit(proxy)
            port = parts.port or PORTS.get(parts.scheme, 3128)
        except ValueError as error:
            raise Broken(Trouble.PROXY, f"the proxy's address is no URL: {error}") from None
        if parts.scheme != "http" or not parts.hostname:
            raise Broken(Trouble.PROXY, "the doctor speaks to proxies over http:// only")
        try:
            reader, writer = await self._dialled(parts.hostname, port, ask)
        except Broken as broken:
            raise Broken(Trouble.PROXY, f"the proxy cannot be reached: {broken.detail}") from None
        if is_tunnel:
            try:
                await _tunnel(reader, writer, target, _credentials("Proxy-Authorization", parts), ask)
            except Broken:
                writer.transport.abort()
                raise
        return reader, writer

    async def _secured(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, parts: SplitResult, ask: Ask
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Begin TLS; where the certificate is not trusted, remember that, and go on without trust."""
        host, place = parts.hostname or "", _place(ask.url)
        context = self._blind if place in self._distrusted else self._trusting
        try:
            async with asyncio.timeout(ask.patience.connect_s):
                await writer.start_tls(context, server_hostname=host)
        except ssl.SSLCertVerificationError as error:
            broken = Broken(Trouble.CERTIFICATE, error.verify_message or str(error))
            self._distrusted[place] = broken
            writer.transport.abort()
            return await self._connected(parts, parts.port or PORTS["https"], self.proxy_for(ask.url), ask)
        except TimeoutError:
            writer.transport.abort()
            raise Broken(Trouble.TLS, f"no TLS handshake within {ask.patience.connect_s:g} s") from None
        except (OSError, ValueError) as error:
            writer.transport.abort()
            detail = getattr(error, "reason", "") or getattr(error, "strerror", "") or str(error)
            raise Broken(Trouble.TLS, str(detail) or "the server closed the connection") from None
        self.certificates.setdefault(place, writer.get_extra_info("peercert") or {})
        return reader, writer


async def _tunnel(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: str, credentials: str, ask: Ask
) -> None:
    """Have a proxy connect to a target. Raises Broken."""
    request = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{credentials}\r\n"
    writer.write(request.encode("latin-1", "replace"))
    try:
        async with asyncio.timeout(ask.patience.first_byte_s):
            head = await read_head(reader)
    except TimeoutError:
        raise Broken(Trouble.PROXY, "the proxy does not answer") from None
    except Broken as broken:
        raise Broken(Trouble.PROXY, f"the proxy makes no sense: {broken.detail}") from None
    if head.status != _OK:
        raise Broken(Trouble.PROXY, f"the proxy answers CONNECT {target} with {head.status} {head.reason}")


def _joined(url: str, place: str) -> str | None:
    """Return where a redirect leads, None where no client goes."""
    try:
        joined = urljoin(url, place)
        return joined if urlsplit(joined).scheme in PORTS else None
    except ValueError:
        return None


def _place(url: str) -> str:
    """Return host and port of a URL, as written."""
    return urlsplit(url).netloc.rpartition("@")[2]


def _failed(ask: Ask, broken: Broken, proxy: str, took_s: float) -> Exchange:
    return Exchange(
        method=ask.method,
        url=without_credentials(ask.url),
        trouble=broken.trouble,
        detail=broken.detail,
        proxy=proxy,
        took_s=took_s,
    )


def _request(ask: Ask, parts: SplitResult, *, is_absolute: bool, proxy: str) -> bytes:
    place = parts.netloc.rpartition("@")[2]
    target = parts.path or "/"
    if parts.query:
        target += f"?{parts.query}"
    if is_absolute:
        target = f"http://{place}{target}"
    lines = [f"{ask.method} {target} HTTP/1.1", f"Host: {place}"]
    lines += [f"{name}: {value}" for name, value in ask.headers if value]
    text = "\r\n".join(lines) + "\r\n" + _credentials("Authorization", parts)
    if is_absolute:
        text += _credentials("Proxy-Authorization", urlsplit(proxy))
    return (text + "\r\n").encode("latin-1", "replace")


def _credentials(name: str, parts: SplitResult) -> str:
    if parts.username is None:
        return ""
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"{name}: Basic {base64.b64encode(pair.encode()).decode()}\r\n"


def _trusting(authority: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=None if authority is None else str(authority))
    except OSError as error:
        raise NoAuthorities("no certificates in PEM form can be read from it") from error
    # Go, and what MAAS is built with, look at alternative names only.
    context.hostname_checks_common_name = False
    return context


def _blind() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
