"""Where files came from and who asked: over processes and restarts, bounded, and only if that is wanted."""

from pathlib import Path

import pytest

from proxy.counting import file_table
from proxy.counting.client_table import Visit, read_clients
from proxy.counting.counters import Counters
from proxy.counting.file_table import FileTable, read_stories

A, B = "a" * 64, "b" * 64


def table(folder: Path, number: int, now: float) -> FileTable:
    slot = folder / str(number)
    slot.mkdir(exist_ok=True)
    return FileTable(slot, lambda: now)


def test_all_processes_tell_of_a_file(tmp_path: Path) -> None:
    one, two = table(tmp_path, 0, 10.0), table(tmp_path, 1, 20.0)
    one.came(A, ["https://o.test/"])
    for _ in range(3):
        one.asked(A, "10.0.0.1")
    two.asked(A, "10.0.0.1")
    two.asked(B, "10.0.0.2")
    told = read_stories(tmp_path, [A])
    assert list(told) == [A]
    assert (told[A].origins, told[A].clients, told[A].requests) == (
        {"https://o.test/": 10.0},
        {"10.0.0.1": 20.0},
        4,
    )


def test_it_goes_on_after_a_restart(tmp_path: Path) -> None:
    first = table(tmp_path, 0, 10.0)
    first.asked(A, "10.0.0.1")
    first.close()
    table(tmp_path, 0, 20.0).asked(A, "10.0.0.1")
    assert read_stories(tmp_path, [A])[A].requests == 2


def test_what_was_noted_longest_ago_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_table, "_ROWS", 3)
    one = table(tmp_path, 0, 10.0)
    for client in ("1", "2", "3", "1", "4"):
        one.asked(A, client)
    assert set(read_stories(tmp_path, [A])[A].clients) == {"1", "3", "4"}


def test_a_name_that_is_too_long_or_odd_is_cut(tmp_path: Path) -> None:
    one = table(tmp_path, 0, 10.0)
    one.came(A, ["ü" * 100, "\udcff"])
    assert set(read_stories(tmp_path, [A])[A].origins) == {"ü" * 63, "?"}


def test_what_is_no_such_file_or_half_of_one_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "files.1").write_bytes(b"x" * 100)
    assert read_stories(tmp_path, [A]) == {}


@pytest.mark.parametrize(
    ("offset", "damage"),
    [(168, b"\0\0\0\0\0\0\xf0\x7f"), (176, b"\0\0\0\0\0\0\xf8\x7f"), (184, b"\xff" * 8), (0, b"\xff" * 8)],
)
def test_a_damaged_row_is_passed_over_and_used_again(tmp_path: Path, offset: int, damage: bytes) -> None:
    """An infinite moment, one that is no number, and words that have no room for one more."""
    first = table(tmp_path, 0, 10.0)
    first.asked(A, "10.0.0.1")
    first.close()
    with (tmp_path / "0" / "files.1").open("r+b") as file:
        file.seek(offset)
        file.write(damage)
    assert read_stories(tmp_path, [A]) == {}
    table(tmp_path, 0, 20.0).asked(A, "10.0.0.1")
    assert read_stories(tmp_path, [A])[A].clients == {"10.0.0.1": 20.0}


def test_clients_that_are_not_to_be_remembered_are_forgotten(tmp_path: Path) -> None:
    visit = Visit("10.0.0.1", "maas", "MAAS", "/x")
    before = Counters(tmp_path, lambda: 10.0)
    before.clients.ended(visit, "hit", 1)
    before.files.asked(A, "10.0.0.1")
    before.files.came(A, ["o"])
    before.close()
    assert len(read_clients(tmp_path, 10.0)) == 1
    after = Counters(tmp_path, lambda: 20.0, remembers_clients=False)
    after.clients.ended(visit, "hit", 1)
    after.files.asked(A, "10.0.0.1")
    after.close()
    assert read_clients(tmp_path, 20.0) == []
    assert (read_stories(tmp_path, [A])[A].clients, read_stories(tmp_path, [A])[A].origins) == (
        {},
        {"o": 10.0},
    )
    assert b"10.0.0.1" not in b"".join(file.read_bytes() for file in tmp_path.glob("*/*") if file.is_file())
