"""The board: what all workers know of a mirror at once, and which of them checks it."""

import os
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.holding import Holding

from proxy.documents.shared_facts import Announced, Announcements, SharedFacts, _slot

NOW = 1_700_000_000.5

HOLD_THE_LOCK = """
from pathlib import Path
from proxy.documents.shared_facts import SharedFacts
board = SharedFacts(Path(sys.argv[1]))
board.announce_accepted(5)
board.note_reader("192.0.2.1", 4, 1_700_000_000)
assert board.try_lock()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a board lies."""
    return tmp_path / "boards" / "maas"


@pytest.fixture
def board(path: Path) -> Iterator[SharedFacts]:
    """Return a worker's view of a new board."""
    with closing(SharedFacts(path)) as board:
        yield board


@pytest.fixture
def other(path: Path, board: SharedFacts) -> Iterator[SharedFacts]:
    """Return another worker's view of it."""
    assert board.announced().accepted == 0
    with closing(SharedFacts(path)) as other:
        yield other


def test_a_new_board_is_empty(board: SharedFacts) -> None:
    assert board.announced().accepted == 0
    assert board.announced() == Announced(accepted=0, held=0)
    assert board.reader("192.0.2.1", NOW, 60) is None


def test_what_one_worker_announces_all_know_at_once(board: SharedFacts, other: SharedFacts) -> None:
    for number in (1, 2, 2**40):
        board.announce_accepted(number)
        assert (board.announced().accepted, other.announced().accepted) == (number, number)


def test_the_layout_is_that_of_other_releases(path: Path) -> None:
    """Their workers may still be at work on the same file."""
    path.parent.mkdir()
    slots, number = 1024, struct.Struct("<Q")
    path.write_bytes(number.pack(5) + bytes(slots * 16) + number.pack(3))
    with closing(SharedFacts(path)) as board:
        assert board.announced() == Announced(accepted=5, held=3)
        board.announce_held(4)
        board.announce_accepted(6)
    data = path.read_bytes()
    assert len(data) == 8 + slots * 16 + 8
    assert (data[:8], data[-8:]) == (number.pack(6), number.pack(4))


def test_what_is_held_is_told_apart_from_what_is_accepted(board: SharedFacts, other: SharedFacts) -> None:
    board.announce_accepted(9)
    board.announce_held(7)
    board.announce_accepted(10)
    assert board.announced() == other.announced() == Announced(accepted=10, held=7)
    other.announce_held(0)
    assert board.announced() == Announced(accepted=10, held=0)


def test_a_file_of_a_release_that_holds_nothing_is_taken_over(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes((7).to_bytes(8, "little") + bytes(1024 * 16))
    with closing(SharedFacts(path)) as board:
        assert board.announced() == Announced(accepted=7, held=0)
        board.announce_held(6)
        assert board.announced() == Announced(accepted=7, held=6)


def test_a_release_that_holds_nothing_may_cut_the_file_while_it_is_in_use(
    path: Path, board: SharedFacts, other: SharedFacts
) -> None:
    """Nobody crashes; workers merely look at the records again."""
    board.announce_accepted(7)
    board.announce_held(6)
    os.truncate(path, 8 + 1024 * 16)
    assert board.announced() == other.announced() == Announced(accepted=7, held=0)
    other.announce_held(6)
    with closing(SharedFacts(path)) as later:
        assert later.announced().accepted == 7


def test_numbers_that_no_worker_wrote_count_as_none(path: Path) -> None:
    """Half of a file that a power cut has left: with them no client could be noted."""
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\xff" * (8 + 1024 * 16 + 8))
    with closing(SharedFacts(path)) as board:
        assert board.announced() == Announced(accepted=0, held=0)
        board.announce_accepted(2**40)
        board.note_reader("192.0.2.1", 2**40 + 5, NOW)
        assert board.announced().accepted == 2**40


@pytest.mark.parametrize("held", [0, 1, 7, 2**48 - 1, 2**48, 2**64 - 1])
@pytest.mark.parametrize("accepted", [0, 1, 7, 2**48 - 1, 2**48, 2**64 - 1])
def test_what_is_announced_is_what_can_be_read(path: Path, accepted: int, held: int) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(accepted.to_bytes(8, "little") + bytes(1024 * 16) + held.to_bytes(8, "little"))
    with closing(SharedFacts(path)) as board:
        now = board.announced()
        assert board.announces(now)
        others = (now._replace(accepted=now.accepted + 1), now._replace(held=now.held + 1), Announced(-1, 0))
        assert not any(board.announces(one) for one in others)


def test_a_board_outlives_its_workers(path: Path) -> None:
    with closing(SharedFacts(path)) as board:
        board.announce_accepted(7)
        board.note_reader("192.0.2.1", 7, NOW)
    with closing(SharedFacts(path)) as again:
        assert (again.announced().accepted, again.reader("192.0.2.1", NOW, 60)) == (7, 7)


def test_a_clients_last_index_is_known_to_all_workers(board: SharedFacts, other: SharedFacts) -> None:
    """It asks the next worker for a list of that very index."""
    board.note_reader("192.0.2.1", 6, NOW)
    board.note_reader("2001:db8::1", 7, NOW)
    other.note_reader("192.0.2.1", 7, NOW + 1)
    assert board.reader("192.0.2.1", NOW + 2, 60) == 7
    assert other.reader("2001:db8::1", NOW + 2, 60) == 7
    assert other.reader("192.0.2.2", NOW + 2, 60) is None


@pytest.mark.parametrize(
    ("later_s", "is_known"), [(0, True), (59, True), (60.6, False), (10**6, False), (-0.4, True), (-2, False)]
)
def test_a_reader_is_forgotten_in_time(board: SharedFacts, later_s: float, *, is_known: bool) -> None:
    """And when a clock was set back."""
    board.note_reader("192.0.2.1", 7, NOW)
    assert (board.reader("192.0.2.1", NOW + later_s, 60) == 7) is is_known


def test_two_clients_in_one_slot_are_never_taken_for_each_other(board: SharedFacts) -> None:
    """The later one takes the place; the earlier one merely gets the current list."""
    clients: dict[int, str] = {}
    for number in range(100_000):
        client = f"198.51.{number // 256}.{number % 256}"
        earlier = clients.setdefault(_slot(client)[1], client)
        if earlier != client:
            break
    board.note_reader(earlier, 6, NOW)
    board.note_reader(client, 7, NOW)
    assert board.reader(earlier, NOW, 60) is None
    assert board.reader(client, NOW, 60) == 7


@given(st.text())
def test_notes_stay_within_the_board(client: str) -> None:
    """No client name writes over the numbers of the generations."""
    key, offset = _slot(client)
    assert len(key) == 8
    assert 8 <= offset <= 8 + 1023 * 16
    assert (offset - 8) % 16 == 0


def test_any_client_can_be_noted(board: SharedFacts) -> None:
    board.announce_accepted(3)
    for number, client in enumerate(["", "unix:", "x" * 1000, "fe80::1%eth0", "\N{SNOWMAN}"]):
        board.note_reader(client, number, NOW)
        assert board.reader(client, NOW, 60) == number
    assert board.announced().accepted == 3


# The lock


def test_one_worker_at_a_time_checks_a_mirror(board: SharedFacts, other: SharedFacts) -> None:
    assert board.try_lock()
    assert not other.try_lock()
    board.unlock()
    assert other.try_lock()
    assert not board.try_lock()


def test_mirrors_are_checked_independently(board: SharedFacts, tmp_path: Path) -> None:
    with closing(SharedFacts(tmp_path / "boards" / "lxd")) as of_another_mirror:
        assert board.try_lock()
        assert of_another_mirror.try_lock()
        of_another_mirror.announce_accepted(9)
    assert board.announced().accepted == 0


def test_a_worker_that_is_killed_leaves_the_lock_and_its_notes(path: Path) -> None:
    with Holding(HOLD_THE_LOCK, path) as worker, closing(SharedFacts(path)) as board:
        assert board.announced().accepted == 5
        assert not board.try_lock()
        worker.kill()
        assert board.try_lock()
        assert (board.announced().accepted, board.reader("192.0.2.1", NOW, 60)) == (5, 4)


def test_closing_lets_go_of_the_lock(board: SharedFacts, path: Path) -> None:
    with closing(SharedFacts(path)) as dying:
        assert dying.try_lock()
    assert board.try_lock()


# Announcements


@pytest.mark.parametrize(
    ("announced", "recorded", "made"),
    [
        ((0, 0), (2, 0), (2, 0)),
        ((1, 0), (2, 1), (2, 1)),
        ((2, 1), (2, 0), (2, 0)),
        ((3, 0), (2, 0), (3, 0)),
    ],
    ids=str,
)
def test_what_is_recorded_and_was_not_announced_is_announced(
    board: SharedFacts, announced: tuple[int, int], recorded: tuple[int, int], made: tuple[int, int]
) -> None:
    """A number of a generation that was accepted never goes back; which one is held does."""
    announcements = Announcements(board)
    board.announce_accepted(announced[0])
    board.announce_held(announced[1])
    assert announcements.make_up(Announced(*announced), Announced(*recorded)) == Announced(*made)
    assert announcements.made() == Announced(*made)
