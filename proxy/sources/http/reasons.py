"""Why an origin cannot be asked, or what is wrong with its answer: who says so, and what to do.

Pure: it explains errors of aiohttp, of TLS and of the operating system. Their own
texts are numbers, names of functions, or misleading: "Operation not permitted" is a
certificate, "No route to host" a refused redirect. No text here is taken from a URL,
which may hold a password.
"""

import errno
import os
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientHttpProxyError,
    ClientOSError,
    ClientPayloadError,
    ClientProxyConnectionError,
    ClientResponseError,
    ConnectionTimeoutError,
    InvalidURL,
    ServerDisconnectedError,
    SocketTimeoutError,
)

from proxy.sources.errors import Cause

PARENT = "the site's proxy ([upstream] parent_proxy)"

_OURS = {
    errno.EMFILE: "this process has too many files open: raise LimitNOFILE, or lower [clients] connections",
    errno.ENFILE: "this machine has too many files open: raise fs.file-max",
    errno.ENOBUFS: "this machine has no buffers left for connections",
    errno.ENOMEM: "this machine has no memory left",
    errno.EADDRNOTAVAIL: "this machine has no port or address left to connect from",
    errno.EACCES: "this machine does not allow it: look at its firewall",
    errno.EPERM: "this machine does not allow it: look at its firewall",
}
"""Faults that no origin can help."""
_ON_THE_WAY = {
    errno.ECONNREFUSED: "nothing listens there (connection refused): is it running, is the port right?",
    errno.EHOSTUNREACH: "there is no way to that host: check the network, and the address",
    errno.ENETUNREACH: "there is no way to that network: check this machine's network and default route",
    errno.ENETDOWN: "this machine's network is down",
    errno.ETIMEDOUT: "it does not answer: check the address, and firewalls on the way",
    errno.ECONNRESET: "it reset the connection: is there a firewall on the way, or is it overloaded?",
    errno.EPIPE: "it closed the connection",
    errno.EAFNOSUPPORT: "this machine does not speak IPv6, or not IPv4: check its network",
}
_TRUST = "add the authority that signed it to this machine's (update-ca-certificates), or set SSL_CERT_FILE"
_CERTIFICATES = {
    9: "it is not valid yet: check this machine's clock first, then the certificate",
    10: "it has expired: whoever runs the server must renew it; check this machine's clock too",
    18: f"it is self-signed: {_TRUST}",
    19: f"it comes from an authority that this machine does not know: {_TRUST}",
    20: f"it comes from an authority that this machine does not know, or sends no intermediate one: {_TRUST}",
    21: f"it comes from an authority that this machine does not know, or sends no intermediate one: {_TRUST}",
    23: "it was revoked: whoever runs the server must renew it",
    62: "it is for another name: is the address right?",
    64: "it is not for that address: use the name that it is for",
    66: "its key is too weak for this machine: whoever runs the server must renew it",
    67: "an authority above it has a key too weak for this machine",
    68: "its signature is too weak for this machine: whoever runs the server must renew it",
}
"""By X509_V_ERR_…, openssl-verification-options(1)."""
_TLS = (
    ("WRONG_VERSION_NUMBER", "it does not speak TLS on that port: should the address begin with http://?"),
    ("RECORD_LAYER_FAILURE", "it does not speak TLS on that port: should the address begin with http://?"),
    ("HTTP_REQUEST", "it does not speak TLS on that port: should the address begin with http://?"),
    ("PROTOCOL", "it speaks only versions of TLS that are too old for this machine, or too new"),
    ("CERTIFICATE_REQUIRED", "it wants a certificate from its clients, which this proxy cannot show"),
    ("HANDSHAKE_FAILURE", "it shares no kind of encryption with this machine, or wants a certificate"),
    ("UNRECOGNIZED_NAME", "it serves nothing by that name: is the address right?"),
    ("DH_KEY_TOO_SMALL", "its encryption is too weak for this machine"),
    ("UNEXPECTED_EOF", "it hung up amid the TLS handshake: does it speak TLS on that port?"),
    ("INTERNAL_ERROR", "it failed amid the TLS handshake: look at its log"),
)
_ADVICE = {
    HTTPStatus.UNAUTHORIZED: "it wants a login: write it into the origin's URL, https://USER:PASSWORD@HOST/…",
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: "a proxy on the way wants a login",
    HTTPStatus.TOO_MANY_REQUESTS: "it is asked too often",
    HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS: "it may not serve that here",
    HTTPStatus.BAD_GATEWAY: "what lies behind it fails",
    HTTPStatus.SERVICE_UNAVAILABLE: "it is overloaded, or being worked at",
    HTTPStatus.GATEWAY_TIMEOUT: "what lies behind it does not answer",
    HTTPStatus.LOOP_DETECTED: (
        "it is this proxy itself, or a proxy that asks this one: if a name server gives this proxy's address "
        "for the origin's name, write the origin's own address into [upstream] resolve, or another name "
        "server into [upstream] resolver"
    ),
}
_CARETS = re.compile(r"[\s:]*\n.*", re.DOTALL)
"""A parser shows where in the answer it stumbled, in further lines."""


def explain(error: BaseException) -> str:
    """Say why a request failed."""
    error = _underlying(error)
    for kind, words in _KINDS:
        if isinstance(error, kind) and (said := words(error)):
            return said
    return str(error) or f"it failed ({type(error).__name__})"


def cause_of(error: BaseException) -> Cause:
    """Return what is at fault when there is no answer."""
    error = _underlying(error)
    if isinstance(error, ClientProxyConnectionError):
        return "site_proxy"
    if isinstance(error, (ClientConnectorCertificateError, ssl.SSLError)):
        return "tls"
    cause = error.os_error if isinstance(error, ClientConnectorError) else error
    if isinstance(cause, ssl.SSLError):
        return "tls"
    is_ours = isinstance(cause, OSError) and not isinstance(cause, socket.gaierror) and cause.errno in _OURS
    return "machine" if is_ours else "network"


def _underlying(error: BaseException) -> BaseException:
    """Return the error of TLS that aiohttp tells as one of the operating system, if it is one."""
    cause = error.__cause__
    return cause if type(error) is ClientOSError and isinstance(cause, ssl.SSLError) else error


def named_status(status: int) -> str:
    """Return a status with its name."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def explain_status(status: int, *, is_relayed: bool = False) -> str:
    """Say what a status of an origin means, where that helps; a parent proxy may have relayed it."""
    advice = _ADVICE.get(HTTPStatus(status)) if status in HTTPStatus.__members__.values() else None
    relayed = f"; {PARENT} relayed that, or said so itself" if is_relayed else ""
    return f"it answered with status {status}" + (f": {advice}" if advice else "") + relayed


def explain_parent_refusal(status: int, headers: Mapping[str, str], *, is_tunneled: bool) -> str | None:
    """Say what a reply means that a parent proxy has made itself; None for an origin's.

    Within a tunnel all is the origin's. Elsewhere 407 is always a proxy's; of the others
    those that say so.
    """
    if is_tunneled or status < HTTPStatus.BAD_REQUEST:
        return None
    is_proxys = status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED or _is_of_proxy(headers)
    if not is_proxys:
        return None
    return f"{PARENT} answered {named_status(status)}; {_parent_advice(status)}"


def _is_of_proxy(headers: Mapping[str, str]) -> bool:
    if "X-Squid-Error" in headers or "error=" in headers.get("Proxy-Status", ""):
        return True
    return bool(
        re.match(
            "(squid|tinyproxy|privoxy|bluecoat|mcafee|zscaler)", headers.get("Server", ""), re.IGNORECASE
        )
    )


def _parent_advice(status: int) -> str:
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return "it wants a login: write it there, http://USER:PASSWORD@HOST:PORT"
    if status == HTTPStatus.FORBIDDEN:
        return "it lets nobody ask for that: have the origin allowed there, or name it in [upstream] no_proxy"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "it cannot reach the origin"
    return "is it a proxy, and does it let this machine ask?"


def _explain_tunnel(error: Any) -> str:
    return f"{PARENT} answered {named_status(error.status)}; {_parent_advice(error.status)}"


def _explain_connection(error: Any) -> str:
    cause = error.os_error
    if error.ssl is not False and (cause.errno is None or isinstance(cause, ssl.SSLError)):
        return f"no TLS connection to {_place(error)}: {_explain_tls(cause)}"
    return f"cannot connect to {_place(error)}: {_explain_os(cause)}"


def _explain_timeout(error: Any) -> str:
    return str(error) or "no answer within [upstream] connect_timeout and stall_timeout together"


def _place(error: ClientConnectorError) -> str:
    return f"{error.host} port {error.port}"


def _explain_certificate(error: Exception) -> str:
    code = getattr(error, "verify_code", None)
    own = getattr(error, "verify_message", "") or str(error)
    return _CERTIFICATES.get(code or 0, own)


def _explain_tls(error: OSError) -> str:
    reason = getattr(error, "reason", None) or ""
    for part, words in _TLS:
        if part in reason:
            return words
    if error.errno is None:
        return "it hung up amid the handshake: does it speak TLS on that port?"
    if isinstance(error, ssl.SSLError):
        return f"OpenSSL says {reason.replace('_', ' ').lower() or error.strerror}"
    return _explain_os(error)


def _explain_os(error: OSError) -> str:
    """Say what the operating system means."""
    number = error.errno
    if number in _OURS:
        return _OURS[number]
    if number in _ON_THE_WAY:
        return _ON_THE_WAY[number]
    if number is None or isinstance(error, socket.gaierror):
        return str(error.strerror or error) or "no reason is given"
    return os.strerror(number)


_KINDS: tuple[tuple[type[BaseException], Callable[[Any], str]], ...] = (
    (ClientHttpProxyError, _explain_tunnel),
    (ClientConnectorDNSError, lambda error: error.os_error.strerror or str(error.os_error)),
    (
        ClientConnectorCertificateError,
        lambda error: f"its certificate is not trusted: {_explain_certificate(error.certificate_error)}",
    ),
    (
        ClientProxyConnectionError,
        lambda error: f"cannot connect to {PARENT}: {_explain_os(error.os_error)}",
    ),
    (ClientConnectorError, _explain_connection),
    (
        ConnectionTimeoutError,
        lambda _: "no connection within [upstream] connect_timeout: check its address, and firewalls between",
    ),
    (SocketTimeoutError, lambda _: "no byte for as long as [upstream] stall_timeout"),
    (ServerDisconnectedError, lambda _: "it closed the connection without an answer (Server disconnected)"),
    (ClientPayloadError, lambda _: "the connection ended before the answer did"),
    (InvalidURL, lambda _: "it names a host that cannot be"),
    # Its own text has the URL in it.
    (ClientResponseError, lambda error: f"what it sent is no HTTP: {_CARETS.sub('', error.message)}"),
    (ssl.SSLError, lambda error: f"the TLS connection broke: {_explain_tls(error)}"),
    (TimeoutError, _explain_timeout),
    (OSError, lambda error: _explain_os(error) if error.errno else ""),
)
"""The first that fits, and has something to say, is taken."""
