"""Pins of other releases: what cannot be read protects all the same, and is kept."""

import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.stored import recorded
from support.tampering import tamper

from proxy.digest import digest_of
from proxy.store.ledger import Ledger
from proxy.store.pins import Pins

ONE, TWO = digest_of(b"one"), digest_of(b"two")
OF_A_NEWER_RELEASE: Any = {"version": 2, "names": {"lab": {"until": 5}}}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(Ledger(tmp_path)) as ledger:
        yield ledger


@pytest.fixture
def pins(ledger: Ledger) -> Pins:
    return Pins(ledger)


@pytest.mark.parametrize(
    "value", [OF_A_NEWER_RELEASE, "lab", 7, True, [OF_A_NEWER_RELEASE], [["lab"]]], ids=repr
)
def test_a_pin_of_another_form_protects_its_blob(ledger: Ledger, pins: Pins, value: object) -> None:
    ledger.write(f"pin/{ONE}", value)
    assert pins.is_protected(ONE)
    assert pins.protected() == {ONE}
    assert pins.names() == {}


def test_half_a_record_protects_its_blob_and_is_told_once(
    tmp_path: Path, pins: Pins, caplog: pytest.LogCaptureFixture
) -> None:
    pins.pin_all("lab", [ONE])
    assert tamper(tmp_path, "records", "UPDATE Cache SET value = '[\"la' WHERE key = ?", f"pin/{ONE}") == 1
    caplog.set_level(logging.WARNING)
    for _ in range(3):
        assert pins.is_protected(ONE)
        assert pins.protected() == {ONE}
    assert [record.getMessage().split(" problem=")[0] for record in caplog.records] == [
        f"record.unreadable key=pin/{ONE}"
    ]


def test_pinning_beside_what_cannot_be_read_keeps_that(ledger: Ledger, pins: Pins) -> None:
    ledger.write(f"pin/{ONE}", OF_A_NEWER_RELEASE)
    pins.pin_all("mine", [ONE])
    pins.pin_all("mine", [ONE])
    assert pins.names() == {ONE: ["mine"]}
    assert (
        OF_A_NEWER_RELEASE
        in next(entry for entry in recorded(ledger, f"pin/{ONE}") if entry != "mine").values()
    )
    pins.unpin(ONE, "mine")
    assert pins.names() == {}
    assert pins.is_protected(ONE)


def test_an_entry_that_is_no_name_stays_beside_names(ledger: Ledger, pins: Pins) -> None:
    ledger.write(f"pin/{ONE}", [OF_A_NEWER_RELEASE, "lab"])
    pins.pin_all("mine", [ONE])
    pins.repin("mine", [TWO])
    pins.unpin(ONE, "lab")
    assert pins.names() == {TWO: ["mine"]}
    assert recorded(ledger, f"pin/{ONE}") == [OF_A_NEWER_RELEASE]
    assert pins.protected() == {ONE, TWO}


def test_unpinning_what_was_never_pinned_by_that_name_changes_nothing(ledger: Ledger, pins: Pins) -> None:
    ledger.write(f"pin/{ONE}", OF_A_NEWER_RELEASE)
    pins.unpin(ONE, "mine")
    pins.unpin(TWO, "mine")
    assert ledger.records("pin/") == {f"pin/{ONE}": OF_A_NEWER_RELEASE}


def test_an_operator_can_forget_a_pin_that_cannot_be_read(ledger: Ledger, pins: Pins) -> None:
    ledger.write(f"pin/{ONE}", OF_A_NEWER_RELEASE)
    pins.forget(ONE)
    assert not pins.is_protected(ONE)
