"""Kinds of records: what is read of the ledger, and what the log says of what cannot be."""

import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.tampering import tamper

from proxy.store.ledger import Ledger
from proxy.store.records import Kind, known
from proxy.store.schema import Schema, Unreadable

NAMES = Kind("names/", Schema(tuple[str, ...]))
MOMENT = Kind("moment", Schema(float))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(Ledger(tmp_path / "ledger")) as ledger:
        yield ledger


def test_records_are_written_read_and_forgotten_by_name(ledger: Ledger) -> None:
    NAMES.write(ledger, ("a", "b"), "one")
    NAMES.write(ledger, (), "two")
    MOMENT.write(ledger, 1.5)

    assert NAMES.read(ledger, "one") == ("a", "b")
    assert NAMES.read_all(ledger) == {"one": ("a", "b"), "two": ()}
    assert NAMES.read_all(ledger, "o") == {"one": ("a", "b")}
    assert NAMES.names(ledger) == ["one", "two"]
    assert MOMENT.read(ledger) == 1.5
    NAMES.forget(ledger, "one")
    assert NAMES.read(ledger, "one") is None


def test_several_kinds_are_read_with_one_query(ledger: Ledger) -> None:
    NAMES.write(ledger, ("a",), "one")
    found = ledger.records_at(NAMES.key("one"), NAMES.key("two"), MOMENT.key())
    assert NAMES.among(ledger, found, "one") == ("a",)
    assert NAMES.among(ledger, found, "two") is None
    assert MOMENT.among(ledger, found) is None


@pytest.mark.parametrize("text", ['["a", 5]', "null", '["a', "7", "{}", ""])
def test_what_cannot_be_read_is_there_and_told_once(
    ledger: Ledger, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    NAMES.write(ledger, ("a",), "one")
    NAMES.write(ledger, ("b",), "two")
    tamper(ledger.directory, "records", "UPDATE Cache SET value = ? WHERE key = 'names/one'", text)

    with caplog.at_level(logging.WARNING):
        record = NAMES.read(ledger, "one")
        assert isinstance(record, Unreadable)
        assert NAMES.read_all(ledger) == {"one": record, "two": ("b",)}

    assert known(record) is None
    assert known(("b",)) == ("b",)
    assert NAMES.names(ledger) == ["one", "two"]
    assert [one.getMessage() for one in caplog.records] == [
        f"record.unreadable key=names/one problem={record.problem}"
    ]


def test_a_table_full_of_rubbish_does_not_fill_the_log(
    ledger: Ledger, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.store.ledger._MOST_TOLD", 3)
    for number in range(5):
        ledger.write(f"names/{number}", number)
    assert len(NAMES.read_all(ledger)) == 5
    assert len(caplog.records) == 3
