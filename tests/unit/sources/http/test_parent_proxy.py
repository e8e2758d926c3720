"""What goes past the site's proxy."""

import pytest
from yarl import URL

from proxy.config.addresses import bypass_problem
from proxy.sources.http.parent_proxy import ParentProxy

PARENT = "http://proxy.lan:3128"


@pytest.mark.parametrize(
    ("entry", "url", "is_past"),
    [
        ("mirror.lan", "http://mirror.lan/", True),
        ("mirror.lan", "http://MIRROR.lan.:8080/", True),
        ("mirror.lan", "http://a.mirror.lan/", True),
        ("mirror.lan", "http://othermirror.lan/", False),
        (".lan", "http://mirror.lan/", True),
        ("*.lan", "http://a.mirror.lan/", True),
        ("lan", "http://mirror.lan/", True),
        ("lan", "http://mirror.vlan/", False),
        ("mirror.lan:8080", "http://mirror.lan:8080/", True),
        ("mirror.lan:8080", "http://mirror.lan/", False),
        ("mirror.lan:80", "http://mirror.lan/", True),
        ("10.0.0.0/8", "http://10.1.2.3:8080/", True),
        ("10.0.0.0/8", "http://11.1.2.3/", False),
        ("10.1.2.3", "http://10.1.2.3/", True),
        ("10.1.2.3:81", "http://10.1.2.3:81/", True),
        ("10.1.2.3:81", "http://10.1.2.3/", False),
        ("fd00::/8", "http://[fd00::5]/", True),
        ("[fd00::5]", "http://[fd00::5]:8080/", True),
        ("10.0.0.0/8", "http://[::ffff:10.1.2.3]/", True),
        ("127.0.0.0/8", "http://localhost/", False),
        ("localhost", "http://localhost:8080/", True),
    ],
)
def test_hosts_domains_and_networks_are_asked_directly(entry: str, url: str, *, is_past: bool) -> None:
    assert bypass_problem(entry) is None
    found = ParentProxy(PARENT, [entry]).on_the_way_to(URL(url))
    assert found == (None if is_past else PARENT)


def test_without_a_parent_all_is_asked_directly() -> None:
    assert ParentProxy("", ["lan"]).on_the_way_to(URL("http://images.example/")) is None


@pytest.mark.parametrize(
    "entry", ["", "http://mirror.lan", "a b", "10.0.0.1/8", "10.0.0.0/33", "a,b", "*", "."]
)
def test_what_names_nothing_is_a_fault(entry: str) -> None:
    assert "such as" in (bypass_problem(entry) or "")
