"""TLS towards clients: what they are shown, what they must show, and noticing that the files are new.

Owns the protocol's settings and the reading of PEM files; knows neither
listeners nor configuration files.
"""

import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from proxy.errors import ProxyError

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: forward secrecy and authenticated encryption only. Those of TLS 1.3 all have both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """What clients are shown when they connect; no certificate is plain HTTP."""

    certificate: Path | None = None
    """The certificate and its chain, PEM."""
    key: Path | None = None
    """The certificate's private key, PEM."""
    client_ca: Path | None = None
    """Authorities, PEM; clients without a certificate by one of them are refused. None asks for none."""
    check_every_s: float = 60.0
    """How often the files are looked at for a renewal; 0 is never."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that are read."""
        return tuple(path for path in (self.certificate, self.key, self.client_ca) if path is not None)


class BadCertificate(ProxyError):
    """A file of [tls] that cannot be used."""

    def __init__(self, key: str, path: Path, problem: str) -> None:
        self.key = key
        self.path = path
        super().__init__(f"[tls] {key}: {path} {problem}")


def tls_context(tls: Tls) -> ssl.SSLContext | None:
    """Return the context to serve with, None without a certificate. Raises BadCertificate. Blocks."""
    if tls.certificate is None or tls.key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    _load_certificate(context, tls.certificate, tls.key)
    if tls.client_ca is not None:
        _load_authorities(context, "client_ca", tls.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
        # Whoever stands in the file is believed, an intermediate authority too.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


class FileWatch:
    """Notices that files have changed since it was made.

    They must have stood still from one look to the next: a renewal writes several.
    """

    def __init__(self, files: Iterable[Path], every_s: float, now: float) -> None:
        self._files = tuple(files)
        self._every_s = every_s
        self._looked_at = now
        self._known = self._seen = self._stamps()

    def has_changed(self, now: float) -> bool:
        """Look, if it is time to; `now` in monotonic seconds. Blocks."""
        if not self._every_s or now - self._looked_at < self._every_s:
            return False
        self._looked_at = now
        seen, self._seen = self._seen, self._stamps()
        return self._known != self._seen == seen

    def _stamps(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(map(_stamp, self._files))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_ctime_ns


def _load_certificate(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    _load_authorities(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), "certificate", certificate)
    _check_readable("key", key)
    try:
        # An encrypted key would ask whoever sits at the terminal.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise BadCertificate("key", key, f"is not the key of {certificate}") from error
        if error.reason in {"EE_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"}:
            raise BadCertificate("certificate", certificate, f"is too weak ({error.reason})") from error
        raise BadCertificate("key", key, "holds no private key in PEM without a password") from error
    except ValueError as error:
        raise BadCertificate("key", key, "needs a password: store it without one") from error


def _load_authorities(context: ssl.SSLContext, key: str, path: Path) -> None:
    _check_readable(key, path)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise BadCertificate(key, path, "holds no whole certificate in PEM") from error


def _check_readable(key: str, path: Path) -> None:
    try:
        path.read_bytes()
    except OSError as error:
        raise BadCertificate(key, path, f"cannot be read: {error.strerror}") from error
