"""What clients are told to do, by the mirrors there are and the address at which somebody looks."""

import pytest

from proxy.mirror import Mirror, Trust
from proxy.web.admin.views.visit import by_address, usable_address
from proxy.web.recipes import recipes

MAAS = Mirror(
    name="stable",
    mount="/images/ephemeral-v3/stable/",
    origins=("https://images.maas.io/ephemeral-v3/stable/",),
)
CLOUD = Mirror(
    name="cloud",
    mount="/cloud/",
    origins=("https://cloud-images.ubuntu.com/releases/", "http://192.0.2.1/x/"),
    keyring="/etc/keys/own.gpg",
)
UNSIGNED = Mirror(
    name="lxc", mount="/lxc/", origins=("https://images.linuxcontainers.org/",), trust=Trust.TLS
)
OTHERS = ["LXD", "Incus", "Juju", "Multipass", "sstream-mirror", "Without touching clients"]


def lines(client: str, *mirrors: Mirror, base: str = "https://cache.test:8443") -> str:
    (recipe,) = (one for one in recipes(mirrors, base) if one.client == client)
    return "\n".join(f"{step.text}\n{step.lines}" for step in recipe.steps)


def test_only_clients_for_which_there_is_a_mirror_are_told_of() -> None:
    assert [one.client for one in recipes([MAAS], "http://h")] == ["MAAS", *OTHERS[-2:]]
    assert [one.client for one in recipes([CLOUD], "http://h")] == OTHERS
    assert [one.client for one in recipes([MAAS, CLOUD], "http://h")] == ["MAAS", *OTHERS]


def test_maas_is_given_address_and_keyring() -> None:
    told = lines("MAAS", MAAS, base="http://h:8080")
    assert "http://h:8080/images/ephemeral-v3/stable/\n" in told
    assert "/usr/share/keyrings/ubuntu-cloudimage-keyring.gpg" in told
    assert "sstream-proxy connect maas http://MAAS:5240/MAAS --key-file KEY-FILE --mirror stable" in told


def test_remotes_are_https_and_plain_http_is_told_of() -> None:
    assert "https://cache.test:8443/cloud/ --protocol simplestreams" in lines("LXD", CLOUD)
    assert "https only" not in lines("Incus", CLOUD)
    assert "https only" in lines("Incus", CLOUD, base="http://cache.test:8080")


def test_the_keyring_is_that_of_the_mirror() -> None:
    told = lines("sstream-mirror", MAAS, CLOUD, UNSIGNED)
    assert "--keyring=/etc/keys/own.gpg --max=1 https://cache.test:8443/cloud/" in told
    assert "--no-verify --max=1 https://cache.test:8443/lxc/" in told


def test_names_are_those_of_the_origins_and_addresses_are_none() -> None:
    told = lines("Without touching clients", MAAS, CLOUD)
    assert "images.maas.io, cloud-images.ubuntu.com;" in told
    assert "host-record=images.maas.io,ADDRESS-OF-THIS-PROXY" in told
    assert "192.0.2.1" not in told
    (recipe,) = (one for one in recipes([MAAS], "http://h", "192.0.2.7") if one.client == OTHERS[-1])
    assert "host-record=images.maas.io,192.0.2.7" in recipe.steps[0].lines


@pytest.mark.parametrize(
    ("name", "address"),
    [
        (("192.0.2.7", 80), "192.0.2.7"),
        (("::ffff:192.0.2.7", 80, 0, 0), "192.0.2.7"),
        (("127.0.0.1", 80), ""),
        (("fe80::1%eth0", 80, 0, 3), ""),
        ("/run/socket", ""),
        (None, ""),
    ],
)
def test_the_address_to_give_is_one_that_others_reach(name: object, address: str) -> None:
    assert usable_address(name) == address


@pytest.mark.parametrize(
    ("name", "url"),
    [
        (("192.0.2.7", 8080), "http://192.0.2.7:8080/-/pins"),
        (("2001:db8::7", 80, 0, 0), "http://[2001:db8::7]:80/-/pins"),
        (("::ffff:192.0.2.7", 8080, 0, 0), "http://192.0.2.7:8080/-/pins"),
        (("127.0.0.1", 8080), ""),
        ("/run/socket", ""),
    ],
)
def test_a_page_is_found_by_the_address_that_was_asked(name: object, url: str) -> None:
    assert by_address("http", name, "/-/pins") == url
