"""A throw-away certificate authority and a server's certificate, as files and as contexts."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True)
class Certificate:
    """A server's certificate for some names and who vouches for it."""

    authority: Path
    """PEM: what a client must trust."""
    chain: Path
    """PEM: the certificate itself."""
    key: Path
    """PEM."""

    @property
    def server(self) -> ssl.SSLContext:
        """A context to serve with."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.chain, self.key)
        return context

    @property
    def client(self) -> ssl.SSLContext:
        """A context that trusts it."""
        return ssl.create_default_context(cafile=str(self.authority))


def make_certificate(folder: Path, *names: str) -> Certificate:
    """Issue a certificate for host names or addresses, 127.0.0.1 and localhost unless given."""
    authority = trustme.CA()
    issued = authority.issue_cert(*(names or ("127.0.0.1", "localhost")))
    certificate = Certificate(folder / "ca.crt", folder / "server.crt", folder / "server.key")
    authority.cert_pem.write_to_path(str(certificate.authority))
    issued.private_key_pem.write_to_path(str(certificate.key))
    certificate.key.chmod(0o600)
    certificate.chain.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    return certificate


def identified(trusting: ssl.SSLContext, folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Give a client's context a certificate of its own; return it and the file of its authority."""
    authority = trustme.CA()
    authority.issue_cert("client@example.test").configure_cert(trusting)
    path = folder / "client-ca.crt"
    authority.cert_pem.write_to_path(str(path))
    return trusting, path
