"""Whether a MAAS really uses the proxy: each thing that can be otherwise is found."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proxy.connect.checking import Finding, check
from proxy.connect.maas_api.model import Choice, Site, Source, Version
from proxy.connect.plan import Target
from proxy.connect.proxy_side import ProxySide
from proxy.connect.route import address_towards, addresses_of
from proxy.counting.client_table import Visit
from proxy.counting.counters import Counters

NOW = 1_750_000_000.0
OURS = "http://proxy:8080/images/stable/"
TARGET = Target(url=OURS, mirror="maas-stable")
NOBLE, JAMMY = Choice("ubuntu", "noble", ("amd64",)), Choice("ubuntu", "jammy", ("amd64",))
UPSTREAM = Source(id=1, url="http://images.maas.io/s", keyring_filename="/k", priority=1, enabled=True)
PROXY = Source(id=2, url=OURS.rstrip("/"), keyring_filename="/k", priority=2, enabled=True)
NEW = Site(Version("3.8.0"), (UPSTREAM, PROXY), {1: (NOBLE,), 2: (NOBLE,)}, no_proxy=True)
OLD = Site(Version("3.4.1"), (replace(PROXY, priority=None, enabled=None),), {2: (NOBLE,)}, no_proxy=True)


@pytest.fixture
def counters(tmp_path: Path) -> Counters:
    """Return counters of which the region controller is one client."""
    counters = Counters(tmp_path, lambda: NOW - 60)
    counters.clients.ended(Visit("10.0.0.5", "maas-stable", "maas/3.4.1/g.1/uuid", "/x"), "hit", 1000)
    counters.mirror("maas-stable").ended("hit", 1000, 0.1, is_aborted=False)
    return counters


@pytest.fixture
def side(tmp_path: Path, counters: Counters) -> ProxySide:  # noqa: ARG001 - what it reads
    return ProxySide(tmp_path, "maas-stable", lambda: NOW)


def wrong(site: Site, side: ProxySide, *addresses: str) -> list[str]:
    return [one.text for one in findings(site, side, *addresses) if not one.is_good]


def findings(site: Site, side: ProxySide, *addresses: str) -> list[Finding]:
    return check(site, TARGET, side, addresses, NOW)


@pytest.mark.parametrize("site", [OLD, NEW])
def test_a_maas_that_uses_us_has_nothing_wrong(site: Site, side: ProxySide) -> None:
    assert wrong(site, side) == []
    assert "MAAS asked 1 min 0 s ago from 10.0.0.5" in findings(site, side)[-1].text


def changed(**values: Any) -> Site:
    return replace(NEW, sources=(UPSTREAM, replace(PROXY, **values)))


@pytest.mark.parametrize(
    ("site", "told"),
    [
        (replace(NEW, sources=(UPSTREAM,)), "no boot source of this MAAS is"),
        (changed(enabled=False), "is disabled"),
        (changed(skip_keyring_verification=True), "does not verify"),
        (changed(keyring_filename=""), "no keyring"),
        (changed(priority=0), "which has a higher priority"),
        (replace(NEW, choices={1: (NOBLE, JAMMY), 2: (NOBLE,)}), "ubuntu/jammy on amd64 comes from"),
        (replace(NEW, choices={}), "nothing is selected"),
        (replace(OLD, choices={}), "nothing is selected"),
        (replace(OLD, sources=(*OLD.sources, UPSTREAM)), "asks boot source 1 as well"),
    ],
)
def test_what_is_otherwise_is_found(side: ProxySide, site: Site, told: str) -> None:
    (found,) = wrong(site, side)
    assert told in found


def test_what_maas_does_not_tell_is_not_judged(side: ProxySide) -> None:
    assert wrong(replace(NEW, choices={}, are_choices_told=False), side) == []
    assert wrong(replace(OLD, choices={}, are_choices_told=False), side) == []


def test_only_requests_of_maas_itself_count(tmp_path: Path) -> None:
    counters = Counters(tmp_path, lambda: NOW)
    counters.clients.ended(Visit("10.0.0.9", "maas-stable", "Python/3.12 aiohttp/3.9", "/x"), "hit", 1)
    counters.clients.ended(Visit("10.0.0.5", "another", "maas/3.4.1", "/x"), "hit", 1)
    side = ProxySide(tmp_path, "maas-stable", lambda: NOW)

    (found,) = wrong(NEW, side, "10.0.0.5")

    assert "has not asked this proxy" in found
    assert "10.0.0.9" in found
    assert wrong(NEW, side, "10.0.0.9") == []


def test_where_clients_are_not_remembered_requests_of_anybody_count(tmp_path: Path) -> None:
    counters = Counters(tmp_path, lambda: NOW, remembers_clients=False)
    side = ProxySide(tmp_path, "maas-stable", lambda: NOW, are_clients_remembered=False)
    before = wrong(OLD, side)
    counters.mirror("maas-stable").ended("hit", 1, 0.1, is_aborted=False)

    assert "by whom is not remembered" in before[0]
    assert wrong(OLD, side) == []


def test_the_way_to_this_machine_is_this_machine() -> None:
    assert address_towards("http://127.0.0.1:5240/MAAS") == "127.0.0.1"
    assert "127.0.0.1" in addresses_of("http://127.0.0.1:5240/MAAS")
    assert addresses_of("http://name.invalid/MAAS") == set()
