"""What tests of origins over HTTP share."""

from pathlib import Path

import pytest
from aiohttp import connector
from support.certificates import Certificate, make_certificate


@pytest.fixture
def trusted(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Certificate:
    """Return a certificate for 127.0.0.1 from an authority that this machine knows."""
    certificate = make_certificate(Path(tmp_path_factory.mktemp("certificate")))
    monkeypatch.setattr(connector, "_SSL_CONTEXT_VERIFIED", certificate.client)
    return certificate
