"""All processes see at once whether anything is recorded, and who has yet to write down what was noted."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from proxy.recordings.board import Board


@pytest.fixture
def boards(tmp_path: Path) -> Iterator[tuple[Board, Board]]:
    """Return the views of a worker and of a command."""
    with closing(Board(tmp_path / "board")) as one, closing(Board(tmp_path / "board")) as other:
        yield one, other


def test_a_change_is_seen_at_once(boards: tuple[Board, Board]) -> None:
    worker, command = boards
    assert not worker.is_on
    command.change(on=True)
    assert worker.is_on
    assert worker.turn == 1
    command.change(on=False)
    assert not worker.is_on
    assert worker.turn == 2


def test_whoever_has_noted_something_before_a_change_is_waited_for(boards: tuple[Board, Board]) -> None:
    worker, command = boards
    command.change(on=True)
    first, second = worker.hold(), worker.hold()
    assert command.wait_until_written(0.0)  # It was noted in this turn.
    command.change(on=False)
    assert not command.wait_until_written(0.0)
    worker.let_go(first)
    assert not command.wait_until_written(0.0)
    later = worker.hold()
    worker.let_go(second)
    assert command.wait_until_written(0.0)
    worker.let_go(later)


def test_a_process_that_has_died_is_not_waited_for(boards: tuple[Board, Board], tmp_path: Path) -> None:
    _, command = boards
    dead = Board(tmp_path / "board")
    dead.hold()
    command.change(on=True)
    assert not command.wait_until_written(0.0)
    dead.close()
    assert command.wait_until_written(0.0)
