"""The table of clients: who asked what of which mirror, kept over restarts and bounded."""

import sys
from pathlib import Path

import pytest
from support.running import Clock

from proxy.counting.client_table import FORGOTTEN_AFTER_S, ClientTable, Visit, read_clients
from proxy.counting.counters import Counters

NOW = 1_750_000_000.0
REGION = Visit("10.0.0.5", "maas-stable", "maas/3.4.1/abc", "/images/streams/v1/index.sjson")


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def slot(tmp_path: Path) -> Path:
    folder = tmp_path / "stats" / "0"
    folder.mkdir(parents=True)
    return folder


def test_a_row_tells_what_a_client_did(slot: Path, clock: Clock) -> None:
    table = ClientTable(slot, clock)
    table.ended(REGION, "miss", 100)
    clock.now += 7
    table.ended(REGION._replace(agent="Wget", path="/images/b"), "hit", 60, 3)
    table.ended(REGION, "error", 5, is_cut=True)
    table.ended(REGION, "miss", 0, is_left=True)

    (client,) = read_clients(slot.parent, clock.now)

    assert (client.address, client.mirror, client.agent) == REGION[:3]
    assert client.path == REGION.path
    assert (client.first_at, client.last_at) == (NOW, NOW + 7)
    assert client.requests == {"hit": 3, "miss": 2, "error": 1}
    assert (client.total, client.hits) == (6, 3)
    assert (client.sent_bytes, client.hit_bytes) == (165, 60)
    assert (client.left, client.cut, client.broken_at) == (1, 1, int(NOW) + 7)


def test_what_several_processes_saw_is_one_client_for_each_mirror(slot: Path, clock: Clock) -> None:
    other = slot.parent / "1"
    other.mkdir()
    ClientTable(slot, clock).ended(REGION, "hit", 10)
    clock.now += 1
    ClientTable(other, clock).ended(REGION._replace(agent="newer"), "hit", 20)
    ClientTable(other, clock).ended(REGION._replace(mirror="lxc"), "miss", 1)

    found = {one.mirror: one for one in read_clients(slot.parent, clock.now)}

    assert found["maas-stable"].sent_bytes == 30
    assert found["maas-stable"].agent == "newer"
    assert found["lxc"].requests == {"miss": 1}


def test_the_next_process_goes_on_with_the_table(slot: Path, clock: Clock) -> None:
    first = ClientTable(slot, clock)
    first.ended(REGION, "hit", 10)
    first.close()
    second = ClientTable(slot, clock)
    second.ended(REGION, "hit", 10)
    second.ended(REGION._replace(client="10.0.0.6"), "hit", 1)

    found = {one.address: one.sent_bytes for one in read_clients(slot.parent, clock.now)}

    assert found == {"10.0.0.5": 20, "10.0.0.6": 1}


def test_many_clients_take_the_rows_of_those_seen_longest_ago(slot: Path, clock: Clock) -> None:
    table = ClientTable(slot, clock)
    size = (slot / "clients.1").stat().st_size
    for number in range(1000):
        clock.now += 1
        table.ended(REGION._replace(client=f"10.0.{number // 256}.{number % 256}"), "hit", 1)

    found = read_clients(slot.parent, clock.now)

    assert [one.address for one in found[:2]] == ["10.0.3.231", "10.0.3.230"]
    assert len(found) == 256
    assert all(one.total == 1 for one in found)
    assert (slot / "clients.1").stat().st_size == size


def test_whoever_asks_again_keeps_its_row_also_over_a_restart(slot: Path, clock: Clock) -> None:
    table = ClientTable(slot, clock)
    for number in range(256):
        clock.now += 1
        table.ended(REGION._replace(client=f"10.0.0.{number}"), "hit", 1)
    clock.now += 1
    table.ended(REGION._replace(client="10.0.0.0"), "hit", 1)
    table.close()
    table = ClientTable(slot, clock)
    for number in range(255):
        table.ended(REGION._replace(client=f"10.9.0.{number}"), "hit", 1)

    found = {one.address: one.total for one in read_clients(slot.parent, clock.now)}

    assert {one: count for one, count in found.items() if one.startswith("10.0.")} == {"10.0.0.0": 2}
    assert len(found) == 256


def test_a_new_client_costs_as_little_when_all_rows_are_taken(slot: Path, clock: Clock) -> None:
    table = ClientTable(slot, clock)
    for number in range(256):
        table.ended(REGION._replace(client=f"10.0.0.{number}"), "hit", 1)
    calls = []
    sys.setprofile(lambda _, event, __: calls.append(event))
    table.ended(REGION._replace(client="10.9.0.0"), "hit", 1)
    sys.setprofile(None)

    assert len(calls) < 150


@pytest.mark.parametrize("odd", ["", "é" * 500, "\ud800", "\0\0", "x" * 10_000], ids=ascii)
def test_whatever_a_client_says_has_its_place(slot: Path, clock: Clock, odd: str) -> None:
    table = ClientTable(slot, clock)
    for _ in range(2):
        table.ended(Visit("::1", odd, odd, odd), "absent", 0)

    (client,) = read_clients(slot.parent, clock.now)

    assert client.requests == {"absent": 2}
    assert len(client.agent) <= 160


def test_a_client_that_is_long_gone_is_not_told_of(slot: Path, clock: Clock) -> None:
    ClientTable(slot, clock).ended(REGION, "hit", 1)

    assert read_clients(slot.parent, clock.now + FORGOTTEN_AFTER_S + 1) == []


def test_damaged_tables_are_passed_over(slot: Path, clock: Clock) -> None:
    ClientTable(slot, clock).ended(REGION, "hit", 1)
    other = slot.parent / "1"
    other.mkdir()
    (other / "clients.1").write_bytes(b"\1short")

    assert [one.address for one in read_clients(slot.parent, clock.now)] == [REGION.client]


@pytest.mark.parametrize(
    ("word", "damage"), [(2, b"\0\0\0\0\0\0\xf0\x7f"), (3, b"\xff" * 8), (15, b"\xff" * 8)]
)
def test_a_damaged_row_is_passed_over_and_used_again(
    slot: Path, clock: Clock, word: int, damage: bytes
) -> None:
    """An infinite moment, and counts that have no room for one more."""
    first = ClientTable(slot, clock)
    first.ended(REGION, "hit", 1)
    first.close()
    with (slot / "clients.1").open("r+b") as file:
        file.seek(8 * word)
        file.write(damage)

    assert read_clients(slot.parent, clock.now) == []
    ClientTable(slot, clock).ended(REGION, "hit", 7, is_left=True)
    assert [(one.total, one.sent_bytes) for one in read_clients(slot.parent, clock.now)] == [(1, 7)]


def test_the_counters_of_a_process_have_its_clients(tmp_path: Path, clock: Clock) -> None:
    counters = Counters(tmp_path, clock)
    counters.clients.ended(REGION, "hit", 9)
    counters.close()

    assert [one.sent_bytes for one in read_clients(tmp_path, clock.now)] == [9]
