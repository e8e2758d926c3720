"""Who may be connected, by connections that are no sockets."""

from collections import Counter

import pytest

from proxy.web.client_options import ClientOptions
from proxy.web.wire.connection_limits import ConnectionLimits, client_of, connections_by_files


class Connection:
    """One that may be idle or busy."""

    def __init__(self, *, is_idle: bool = True) -> None:
        self.is_idle = is_idle
        self.heard_at_s = 0.0
        self.has_left = False

    def leave(self) -> None:
        self.has_left = True


class Door:
    """Limits, and what they counted."""

    def __init__(self, connections: int = 3, per_client: int = 100, most: int | None = None) -> None:
        self.met: Counter[str] = Counter()
        options = ClientOptions(connections=connections, connections_per_client=per_client)
        self.limits = ConnectionLimits(options, lambda limit: self.met.update([limit]), most)

    def come(self, address: str = "10.0.0.1", *, is_idle: bool = True) -> Connection | None:
        """Let one come; None when it is refused."""
        if self.limits.why_not(address) is not None:
            return None
        connection = Connection(is_idle=is_idle)
        self.limits.enter(connection, address)
        return connection


def test_an_idle_one_that_was_silent_makes_room() -> None:
    door = Door()
    first, second, third = (door.come() for _ in range(3))
    assert first
    assert second
    assert third
    first.heard_at_s = 1.0

    assert door.come()

    assert [one.has_left for one in (first, second, third)] == [False, True, False]
    assert door.met == {"idle_connections": 1}
    assert len(door.limits) == 3


def test_a_busy_one_is_never_closed_for_a_new_one() -> None:
    door = Door()
    busy = [door.come(is_idle=False) for _ in range(2)]
    idle = door.come()

    assert door.come(is_idle=False)
    assert door.come() is None

    assert idle
    assert idle.has_left
    assert not any(one.has_left for one in busy if one)
    assert door.met == {"idle_connections": 1, "connections": 1}


def test_an_idle_one_is_found_behind_many_busy_ones_in_the_end() -> None:
    """Only some are looked at for each newcomer, but not the same ones again."""
    door = Door(connections=1000, per_client=2000)
    for _ in range(999):
        door.come(is_idle=False)
    idle = door.come()

    tries = [door.come(is_idle=False) for _ in range(17)]

    assert idle
    assert idle.has_left
    assert tries.count(None) <= 16


def test_one_client_cannot_take_all_places() -> None:
    door = Door(connections=10, per_client=2)
    assert [door.come("10.0.0.1") is None for _ in range(4)] == [False, False, True, True]
    assert door.come("10.0.0.2")
    assert door.met == {"client_connections": 2}


def test_a_place_is_free_again_when_its_connection_is_gone() -> None:
    door = Door(connections=1, per_client=1)
    only = door.come(is_idle=False)
    assert only
    assert door.come() is None
    door.limits.left(only)
    door.limits.left(only)
    assert door.come()
    assert len(door.limits) == 1


def test_whoever_comes_by_a_local_socket_is_not_counted_as_one_client() -> None:
    door = Door(connections=50, per_client=1)
    assert all(door.come("") for _ in range(50))


def test_the_descriptors_that_there_are_bound_it_too() -> None:
    door = Door(connections=1000, most=2)
    for _ in range(2):
        assert door.come(is_idle=False)
    assert door.come() is None


@pytest.mark.parametrize(("files", "most"), [(1, 1), (64, 10), (1024, 170), (2048, 341), (10_024, 3000)])
def test_few_descriptors_are_enough_for_some(files: int, most: int) -> None:
    assert connections_by_files(files) == most


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:0:0:1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("not:an:address", "not:an:address"),
        ("", ""),
    ],
)
def test_a_client_is_an_address_or_a_network_of_64_bits(address: str, client: str) -> None:
    assert client_of(address) == client
