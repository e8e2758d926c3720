"""Addresses in a configuration: where to listen, of names, and of name servers."""

from pathlib import Path

import pytest
from support.config_files import faults, load

from proxy.config.addresses import split_address
from proxy.sources.addresses import name_server_of


def test_split_address_tells_how_to_write_it() -> None:
    """Its error can be shown as it is."""
    with pytest.raises(ValueError, match="write HOST:PORT such as"):
        split_address("8080")


def test_addresses_of_names_are_read(tmp_path: Path) -> None:
    toml = '[upstream.resolve]\n"images.maas.io" = ["192.0.2.7", "2001:db8::7"]\ncache = ["192.0.2.8"]\n'
    pinned = {"images.maas.io": ("192.0.2.7", "2001:db8::7"), "cache": ("192.0.2.8",)}
    assert load(tmp_path, toml).upstream.resolve == pinned
    assert load(tmp_path, "").upstream.resolve == {}


@pytest.mark.parametrize(
    ("resolve", "key"),
    [
        ('["192.0.2.7"]', "upstream.resolve"),
        ('"192.0.2.7"', "upstream.resolve"),
        ('{ "one.example" = "192.0.2.7" }', "upstream.resolve.'one.example'"),
        ('{ "one.example" = [7] }', "upstream.resolve.'one.example'[0]"),
        ('{ "one.example" = [] }', "upstream.resolve.'one.example'"),
        ('{ "one.example" = ["192.0.2.7:80"] }', "upstream.resolve.'one.example'[0]"),
        ('{ "one.example" = ["192.0.2.300"] }', "upstream.resolve.'one.example'[0]"),
        ('{ "one.example:80" = ["192.0.2.7"] }', "upstream.resolve.'one.example:80'"),
        ('{ "http://one.example/" = ["192.0.2.7"] }', "upstream.resolve.'http://one.example/'"),
        ('{ "192.0.2.8" = ["192.0.2.7"] }', "upstream.resolve.'192.0.2.8'"),
    ],
)
def test_what_is_no_address_of_a_name_is_a_fault(tmp_path: Path, resolve: str, key: str) -> None:
    assert faults(tmp_path, f"[upstream]\nresolve = {resolve}\n").keys() == {key}


def test_name_servers_are_read(tmp_path: Path) -> None:
    servers = ("9.9.9.9", "192.0.2.53:5353", "2620:fe::fe", "[2620:fe::fe]", "[2620:fe::fe]:5353")
    assert load(tmp_path, f"[upstream]\nresolver = {list(servers)}\n").upstream.resolver == servers
    assert load(tmp_path, "").upstream.resolver == ()
    assert [name_server_of(text) for text in servers] == [
        ("9.9.9.9", 53),
        ("192.0.2.53", 5353),
        ("2620:fe::fe", 53),
        ("2620:fe::fe", 53),
        ("2620:fe::fe", 5353),
    ]


@pytest.mark.parametrize(
    "server",
    [
        "",
        "dns.example.org",
        "localhost:53",
        "192.0.2.300",
        "192.0.2.53:",
        "192.0.2.53:0",
        "192.0.2.53:65536",
        "192.0.2.53:dns",
        "0.0.0.0",
        "224.0.0.251:5353",
        "[::]:53",
        "[2620:fe::fe",
        "udp://192.0.2.53",
    ],
)
def test_what_is_no_name_server_is_a_fault(tmp_path: Path, server: str) -> None:
    said = faults(tmp_path, f'[upstream]\nresolver = ["9.9.9.9", "{server}"]\n')
    assert said.keys() == {"upstream.resolver[1]"}
    assert '"192.0.2.53:5353"' in said["upstream.resolver[1]"]
    assert faults(tmp_path, f'[upstream]\nresolver = "{server}"\n').keys() == {"upstream.resolver"}
