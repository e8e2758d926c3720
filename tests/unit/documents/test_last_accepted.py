"""The two records of what was accepted last: the newer one counts, and replaces the older."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.drafted import INDEX, a_document, a_generation

from proxy.documents.generation import Generation
from proxy.documents.last_accepted import LastAccepted
from proxy.documents.records import ACCEPTED, GENERATION
from proxy.store.ledger import Ledger, LedgerUnavailable
from proxy.store.schema import Unreadable

OLD = a_generation(a_document(INDEX), number=1)
NEW = a_generation(a_document(INDEX, "new"), number=2)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Return an empty ledger."""
    ledger = Ledger(tmp_path / "ledger")
    yield ledger
    ledger.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return where the record beside the ledger is."""
    (tmp_path / "generations").mkdir()
    return tmp_path / "generations" / "test.json"


@pytest.fixture
def last(ledger: Ledger, file: Path) -> LastAccepted:
    """Return the records of a mirror that has none."""
    return LastAccepted("test", ledger, file.parent)


def note(ledger: Ledger, generation: Generation) -> None:
    with ledger.lasting_transaction():
        ACCEPTED.write(ledger, generation, "test")


def copy(file: Path, generation: Generation) -> None:
    file.write_text(json.dumps(GENERATION.encode(generation)))


def copied(file: Path) -> Generation | Unreadable:
    return GENERATION.decode(json.loads(file.read_text()))


def noted(ledger: Ledger) -> Generation | Unreadable | None:
    return ACCEPTED.read(ledger, "test")


def test_at_first_there_is_none(last: LastAccepted) -> None:
    assert last.read() is None


def test_a_generation_is_recorded_in_both_places(last: LastAccepted, ledger: Ledger, file: Path) -> None:
    last.write(OLD)
    assert last.read() == noted(ledger) == copied(file) == OLD
    last.write(NEW)
    assert last.read() == noted(ledger) == copied(file) == NEW


def test_that_it_is_still_current_is_noted_in_the_ledger_alone(
    last: LastAccepted, ledger: Ledger, file: Path
) -> None:
    last.write(OLD)
    confirmed = replace(OLD, checked_at=200.0)
    last.write(confirmed)
    assert (noted(ledger), copied(file)) == (confirmed, OLD)
    assert last.read() == confirmed


@pytest.mark.parametrize("newest", [NEW, replace(OLD, accepted_at=101.0)])
@pytest.mark.parametrize("is_in_the_ledger", [True, False])
def test_the_newer_record_counts_and_replaces_the_older(
    last: LastAccepted,
    ledger: Ledger,
    file: Path,
    newest: Generation,
    caplog: pytest.LogCaptureFixture,
    *,
    is_in_the_ledger: bool,
) -> None:
    note(ledger, newest if is_in_the_ledger else OLD)
    copy(file, OLD if is_in_the_ledger else newest)
    with caplog.at_level(logging.WARNING):
        assert last.read() == newest
    assert [one.partition(" ")[0] for one in caplog.messages] == ["generation.records_differ"]
    assert noted(ledger) == copied(file) == newest
    caplog.clear()
    assert last.read() == newest
    assert not caplog.messages


def test_a_record_that_is_lost_is_made_again_from_the_other(
    last: LastAccepted, ledger: Ledger, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy(file, NEW)
    with caplog.at_level(logging.WARNING):
        assert last.read() == NEW
    assert noted(ledger) == NEW
    file.unlink()
    with caplog.at_level(logging.WARNING):
        assert last.read() == NEW
    assert copied(file) == NEW
    file.write_text("no JSON")
    assert last.read() == NEW
    assert copied(file) == NEW
    assert "generation.records_differ" not in caplog.text


def test_a_record_of_the_same_age_is_left_alone(last: LastAccepted, ledger: Ledger, file: Path) -> None:
    note(ledger, replace(NEW, checked_at=300.0))
    copy(file, NEW)
    last.read()
    assert (noted(ledger), copied(file)) == (replace(NEW, checked_at=300.0), NEW)


def test_dates_alone_replace_nothing(last: LastAccepted, ledger: Ledger, file: Path) -> None:
    bare = {**GENERATION.encode(NEW), "version": 99}
    file.write_text(json.dumps(bare))
    note(ledger, OLD)
    found = last.read()
    assert isinstance(found, Generation)
    assert (found.number, found.keyring) == (2, "")
    assert noted(ledger) == OLD
    assert json.loads(file.read_text()) == bare


def test_what_cannot_be_read_is_not_nothing(last: LastAccepted, file: Path) -> None:
    file.write_text("no JSON")
    assert isinstance(last.read(), Unreadable)
    file.unlink()
    file.mkdir()
    assert isinstance(last.read(), Unreadable)


def test_without_a_ledger_the_file_counts(
    last: LastAccepted, ledger: Ledger, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise LedgerUnavailable("it is gone")

    monkeypatch.setattr(ledger, "records_at", fail)
    assert isinstance(last.read(), Unreadable)
    copy(file, NEW)
    assert last.read() == NEW


def test_a_file_that_cannot_be_written_is_told_of(
    last: LastAccepted, ledger: Ledger, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.mkdir()
    with caplog.at_level(logging.WARNING):
        last.write(NEW)
    assert noted(ledger) == NEW
    assert "generation.copy_not_written" in caplog.text
