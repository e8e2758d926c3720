"""Where our own mirrors are found on this machine."""

import platform
from pathlib import Path

import pytest

from proxy.config.config import Config
from proxy.config.own_urls import own_urls
from proxy.config.tls import Tls
from proxy.mirror import Mirror

MIRROR = Mirror(name="m", mount="/m/", origins=("http://127.0.0.1:1/",))
TLS = Tls(certificate=Path("/c.pem"), key=Path("/k.pem"))


@pytest.mark.parametrize(
    ("listen", "tls", "wants_tls", "url", "address"),
    [
        (("0.0.0.0:8080",), Tls(), False, "http://127.0.0.1:8080/m/", "127.0.0.1"),
        (("[::]:8080",), Tls(), True, "http://[::1]:8080/m/", "::1"),
        (("192.0.2.7:80",), Tls(), False, "http://192.0.2.7:80/m/", "192.0.2.7"),
        (("0.0.0.0:8443",), TLS, False, f"https://{platform.node()}:8443/m/", "127.0.0.1"),
        (("http://0.0.0.0:80", "0.0.0.0:443"), TLS, False, "http://127.0.0.1:80/m/", "127.0.0.1"),
        (("http://0.0.0.0:80", "0.0.0.0:443"), TLS, True, f"https://{platform.node()}:443/m/", "127.0.0.1"),
    ],
)
def test_a_mirror_is_found_at_the_address_that_suits_the_client(
    listen: tuple[str, ...], tls: Tls, *, wants_tls: bool, url: str, address: str
) -> None:
    config = Config(data_dir=Path("/d"), listen=listen, tls=tls, mirrors=(MIRROR,))

    assert list(own_urls(config, wants_tls=wants_tls)) == [(MIRROR, url, address)]


def test_a_port_that_only_a_running_server_knows_is_of_no_use() -> None:
    config = Config(data_dir=Path("/d"), listen=("127.0.0.1:0",), mirrors=(MIRROR,))

    assert not list(own_urls(config))
