"""What a recording takes, and how it may be called."""

import pytest

from proxy.recordings.recording import RECORDING, Recording, RecordingRefused, check_name
from proxy.store.schema import Unreadable


def recording(**changes: object) -> Recording:
    values: dict[str, object] = {"name": "lab", "since": 100.0, "begun_at": 90.0, **changes}
    return Recording(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "first", "last", "is_taken"),
    [
        ({}, 100.0, 100.0, True),
        ({}, 99.0, 99.9, False),
        ({}, 99.0, 100.1, True),
        # It began at once: what comes earlier by far shows that the clock was set back meanwhile.
        ({"begun_at": 100.0}, 40.0, 41.0, True),
        ({"begun_at": 100.0}, 99.0, 99.9, False),
        ({}, 40.0, 41.0, False),
        ({"until": 200.0}, 200.0, 300.0, True),
        ({"until": 200.0}, 200.04, 200.04, True),
        ({"until": 200.0}, 200.1, 200.1, False),
        ({"mirrors": ("maas",)}, 100.0, 100.0, True),
        ({"mirrors": ("other",)}, 100.0, 100.0, False),
        ({"clients": ("10.0.0.0/24",)}, 100.0, 100.0, True),
        ({"clients": ("192.0.2.7", "10.0.0.7")}, 100.0, 100.0, True),
        ({"clients": ("10.0.1.0/24",)}, 100.0, 100.0, False),
        ({"clients": ("fd00::/8",)}, 100.0, 100.0, False),
    ],
)
def test_it_takes_what_is_asked_in_its_time_by_its_clients_of_its_mirrors(
    changes: dict[str, object], first: float, last: float, is_taken: bool
) -> None:
    assert recording(**changes).takes("maas", "10.0.0.7", first, last) is is_taken
    # As an IPv6 socket shows the same client.
    assert recording(**changes).takes("maas", "::ffff:10.0.0.7", first, last) is is_taken


def test_a_client_without_an_address_belongs_to_no_network() -> None:
    assert recording().takes("maas", "local", 100.0, 100.0)
    assert not recording(clients=("0.0.0.0/0", "::/0")).takes("maas", "local", 100.0, 100.0)


@pytest.mark.parametrize("name", ["lab", "Lab-2.b_c", "a" * 64, "0"])
def test_names(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", ".lab", "a/b", "a" * 65, "a b", "lab\n", "ä", "-lab"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(RecordingRefused):
        check_name(name)
    assert isinstance(RECORDING.decode({"name": name, "since": 1.0, "begun_at": 1.0}), Unreadable)


def test_it_is_read_as_it_was_written_and_a_later_form_is_not_guessed_at() -> None:
    one = recording(until=5.0, clients=("10.0.0.0/8",), mirrors=("a", "b"), begun_by="user")
    value = RECORDING.encode(one)
    assert RECORDING.decode({**value, "hint": 1}) == one
    assert isinstance(RECORDING.decode({**value, "version": 2}), Unreadable)
    assert isinstance(RECORDING.decode({**value, "clients": ["nobody"]}), Unreadable)
