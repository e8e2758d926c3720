"""Requests to a MAAS over HTTP, and what their failures mean.

Redirects are not followed: with each request goes a secret. Proxies of the environment
are not used, for MAAS is on the same site.
"""

import json
import os
import re
import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientSSLError,
    ClientTimeout,
    DummyCookieJar,
    FormData,
    TCPConnector,
)

from proxy.connect.addresses import maas_base
from proxy.connect.errors import KeyFault, MaasFault, MaasLacks, MaasRefused, MaasUnreachable

_TIMEOUT_S = 60.0
_CONNECT_S = 10.0
_LARGEST_BYTES = 32 * 1024 * 1024
_LONGEST_REASON = 400
_SHORTEST_SECRET = 4
_STARTING = {502, 503, 504}
_GONE = 410
_TAGS = re.compile(r"<[^>]*>")


class Reply(NamedTuple):
    """What MAAS says."""

    status: int
    content_type: str
    body: bytes

    def text(self) -> str:
        """Return its body as one line that may be shown."""
        text = self.body.decode(errors="replace")
        if "html" in self.content_type:
            text = _TAGS.sub(" ", text)
        return " ".join(text.split())[:_LONGEST_REASON]

    def reasons(self) -> str:
        """Return what it says is wrong: version 2 by field, version 3 in details, or any text."""
        try:
            told = json.loads(self.body)
        except ValueError:
            return self.text()
        match told:
            case {"details": [*details]}:
                said = [str(one.get("message", one)) for one in details if isinstance(one, dict)]
            case {"message": str(message)}:
                said = [message]
            case dict():
                said = [f"{name}: {_joined(value)}" for name, value in told.items()]
            case _:
                return self.text()
        return " ".join("; ".join(said).split())[:_LONGEST_REASON]


class MaasHttp:
    """A connection to one MAAS."""

    def __init__(self, base: str, ca: Path | None = None, timeout_s: float = _TIMEOUT_S) -> None:
        """Know where it is, and by which authorities its certificate may be; the system's if none is given.

        Raises MaasFault when the file of authorities cannot be read. Blocks.
        """
        self.base = base
        self._timeout_s = timeout_s
        self._tls = _tls(ca) if base.startswith("https:") else None
        self._session: ClientSession | None = None
        self._secrets: list[str] = []

    def hide(self, *secrets: str) -> None:
        """Keep secrets out of what is told of MAAS's answers, which may repeat them."""
        self._secrets += [one for one in secrets if len(one) >= _SHORTEST_SECRET]

    def _shown(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    async def __aenter__(self) -> Self:
        self._session = ClientSession(
            connector=TCPConnector(ssl=True if self._tls is None else self._tls),
            timeout=ClientTimeout(total=self._timeout_s, sock_connect=_CONNECT_S),
            cookie_jar=DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def ask(
        self,
        method: str,
        path: str,
        what: str,
        *,
        headers: Mapping[str, str],
        parts: Iterable[tuple[str, str | bytes]] | None = None,
        form: Mapping[str, str] | None = None,
        values: Any = None,
    ) -> Reply:
        """Return what MAAS answers; `what` says in words what is wanted, for errors.

        `parts` go as multipart/form-data, `form` as a plain form, `values` as JSON.
        """
        assert self._session is not None  # noqa: S101 - entered before
        data: Any = form if parts is None else _multipart(parts)
        try:
            async with self._session.request(
                method,
                self.base + path,
                headers=headers,
                data=data,
                json=values,
                allow_redirects=False,
            ) as response:
                reply = Reply(response.status, response.content_type, await _body(response))
                location = response.headers.get("Location", "")
        except (ClientError, OSError, ValueError) as error:
            raise self._unreachable(error) from error
        self._check(reply, location, what)
        return reply

    async def ask_json(self, method: str, path: str, what: str, **how: Any) -> Any:
        """Return the JSON value that MAAS answers."""
        reply = await self.ask(method, path, what, **how)
        try:
            return json.loads(reply.body)
        except ValueError as error:
            kind = "a web page" if "html" in reply.content_type else f"{self._shown(reply.text())[:80]!r}"
            raise MaasFault(
                f"{self.base} answers with {kind} where MAAS's API gives JSON: is that the URL of MAAS "
                "itself, as in http://HOST:5240/MAAS?"
            ) from error

    def _check(self, reply: Reply, location: str, what: str) -> None:
        match reply.status:
            case 303:
                return  # Version 3 points at what it is doing already.
            case status if 300 <= status < 400:  # noqa: PLR2004 - redirects
                raise MaasFault(self._moved(location))
            case status if status in _STARTING:
                raise MaasUnreachable(
                    f"{self.base} answers HTTP {status}: MAAS is still starting, or its "
                    "region controller is down"
                )
            case 401:
                # MAAS's own words may repeat a part of the key.
                raise KeyFault(
                    "MAAS does not accept the key or password (HTTP 401), or knows it no longer: make a new "
                    "key in MAAS below your name, API keys, or by `sudo maas apikey --username NAME`"
                )
            case 403:
                raise KeyFault(
                    f"whoever the key belongs to may not {what} (HTTP 403): use an administrator's key"
                )
            case 404 | 405 | 410 | 501:
                raise MaasLacks(what, reply.status, self._lacking(reply))
            case status if status >= 500:  # noqa: PLR2004 - server errors
                raise MaasFault(f"MAAS failed to {what} (HTTP {status}): {self._shown(reply.text())}")
            case status if status >= 400:  # noqa: PLR2004 - client errors
                raise MaasRefused(what, status, self._shown(reply.reasons()))

    def _lacking(self, reply: Reply) -> str:
        is_page = "html" in reply.content_type or reply.status == _GONE
        return self.no_api if is_page else self._shown(reply.reasons())

    @property
    def no_api(self) -> str:
        """What it means that a path is not there which every MAAS has."""
        return (
            f"{self.base} has no such API: is that the URL of MAAS itself, as in http://HOST:5240/MAAS, and "
            "is it new enough?"
        )

    def _moved(self, location: str) -> str:
        try:
            there = maas_base(location)
        except MaasFault:
            return f"{self.base} redirects to a place that is no MAAS: is that the URL of MAAS itself?"
        if there == self.base:
            return f"{self.base} redirects to {self._shown(location)[:200]}, which is no place of MAAS's API"
        return f"MAAS is at {there}, where {self.base} redirects to: use that URL"

    def _unreachable(self, error: Exception) -> MaasFault:
        match error:
            case ClientConnectorCertificateError() | ClientSSLError():
                return MaasFault(
                    f"the certificate of {self.base} is by no authority that is trusted here "
                    f"({_short(error)}): name the file of its authority by --ca FILE"
                )
            case TimeoutError():
                problem = f"{self.base} gives no answer within {self._timeout_s:.0f} seconds"
            case ClientConnectorError(os_error=ConnectionRefusedError()):
                problem = f"{self.base} cannot be reached: nothing listens there (connection refused)"
                problem += ": does MAAS run, and is the port right?"
            case ClientConnectorError(os_error=OSError(errno=int(number))) if number > 0:
                # aiohttp's own text has the address in the reason's place.
                problem = f"{self.base} cannot be reached ({os.strerror(number)})"
            case ClientConnectorError():
                problem = f"{self.base} cannot be reached ({_short(error)})"
            case _:
                problem = f"{self.base} broke off ({_short(error)})"
        named = [name for name in ("http_proxy", "https_proxy") if os.environ.get(name)]
        if named:
            problem += f"; it is asked directly, not through ${named[0]}"
        return MaasUnreachable(problem)


def _joined(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


async def _body(response: ClientResponse) -> bytes:
    body = bytearray()
    async for part in response.content.iter_any():
        body += part
        if len(body) > _LARGEST_BYTES:
            raise ValueError("the answer is larger than any of MAAS's")
    return bytes(body)


def _short(error: Exception) -> str:
    cause = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error
    text = getattr(cause, "verify_message", None) or getattr(cause, "strerror", None) or str(cause)
    return text or type(error).__name__


def _tls(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if ca is None else str(ca))
    except (OSError, ssl.SSLError) as error:
        raise MaasFault(f"--ca {ca}: it holds no certificates in PEM that can be read: {error}") from error


def _multipart(parts: Iterable[tuple[str, str | bytes]]) -> FormData:
    """Return a body of parts; bytes are sent as a file, as MAAS wants its keyrings."""
    form = FormData(default_to_multipart=True)
    for name, value in parts:
        if isinstance(value, bytes):
            form.add_field(name, value, filename="keyring.gpg", content_type="application/octet-stream")
        else:
            form.add_field(name, value)
    return form
