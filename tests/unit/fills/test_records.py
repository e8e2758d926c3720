"""What fills keep in the ledger: the last release reads what this one writes, and the other way round."""

import json
import logging
from typing import Any

import pytest
from support.running import Clock
from support.transfers import Process, listed
from support.tree import TreeItem

from proxy.fills.failures import WRONG_BYTES, KnownFailures
from proxy.fills.records import (
    ABSENT,
    BLOCKED,
    LAST_WRONG_COPY,
    SENT_PARTS,
    UNREACHABLE,
    Blocked,
    LastWrongCopy,
    SentPart,
    Unreachable,
    forget_absence,
    forget_item,
    last_wrong_copies,
)
from proxy.simplestreams.model import Item
from proxy.store.schema import Unreadable

A = "http://a.example/"
SHA = "0" * 64

FORMS: tuple[tuple[Any, Any, Any], ...] = (
    (BLOCKED, {A: Blocked("sha256 differs", 2, 1.5)}, {A: ["sha256 differs", 2, 1.5]}),
    (ABSENT, {A: 1.5}, {A: 1.5}),
    (UNREACHABLE, Unreachable("refused", 1.5), ["refused", 1.5]),
    (SENT_PARTS, (SentPart(A, 0, 10, SHA, ""),), [[A, 0, 10, SHA, ""]]),
    (
        LAST_WRONG_COPY,
        LastWrongCopy(path="p", problem="differs", at=1.5, distrusted_until=2.5),
        {"path": "p", "problem": "differs", "at": 1.5, "distrusted_until": 2.5},
    ),
)
"""Kind, record, and the JSON values of the last release."""


@pytest.fixture
def item(listing: TreeItem) -> Item:
    return listed(listing)


@pytest.mark.parametrize(("kind", "record", "value"), FORMS)
def test_records_have_the_form_of_the_last_release(kind: Any, record: Any, value: Any) -> None:
    assert json.loads(json.dumps(kind.schema.encode(record))) == value
    assert kind.schema.decode(value) == record


def test_parts_of_the_first_releases_have_no_place() -> None:
    assert SENT_PARTS.schema.decode([[A, 0, 10, SHA]]) == (SentPart(A, 0, 10, SHA),)


@pytest.mark.parametrize(("kind", "record", "value"), FORMS)
def test_fields_of_a_newer_release_are_passed_over(kind: Any, record: Any, value: Any) -> None:
    newer = {**value, "more": 5} if kind is LAST_WRONG_COPY else value
    if kind is UNREACHABLE:
        newer = [*value, "more"]
    if kind is BLOCKED:
        newer = {A: [*value[A], "more"]}
    assert kind.schema.decode(newer) == record


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (BLOCKED, {A: ["text", 0, 1.5]}),
        (BLOCKED, {A: ["text"]}),
        (BLOCKED, {A: ["text", 1, 1e300]}),
        (ABSENT, {A: "soon"}),
        (UNREACHABLE, ["refused"]),
        (SENT_PARTS, [[A, 10, 5, SHA]]),
        (SENT_PARTS, [[A, -1, 5, SHA]]),
        (LAST_WRONG_COPY, {"path": "p"}),
    ],
)
def test_half_a_record_is_none(kind: Any, value: Any) -> None:
    """A part that ended before it began would have another hash, and convict who sent nothing wrong."""
    assert isinstance(kind.schema.decode(value), Unreadable)


async def test_what_cannot_be_read_names_nobody_is_told_once_and_gives_way_to_what_is_found(
    process: Process, item: Item, caplog: pytest.LogCaptureFixture
) -> None:
    name = f"{item.digest}/{item.size_bytes}"
    keys = (f"bad/{name}", f"mixed/{name}", f"trouble/{name}", f"absent/{item.path}", f"liar/{A}")
    for key in keys:
        await process.threads.ledger(process.storage.ledger.write, key, {"version": 9, "what": ["ever"]})
    failures = process.facilities.failures
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            known = await failures.known(item)
            assert known == KnownFailures(is_mixed=True, is_suspect=True)
            assert await failures.unreachable(item) is None
    told = [one.getMessage() for one in caplog.records if "record.unreadable" in one.getMessage()]
    assert {line.split()[1] for line in told} == {f"key={key}" for key in keys if not key.startswith("mixed")}
    assert len(told) == len(keys) - 1

    await failures.record_wrong(item, {A: "differs"}, WRONG_BYTES)
    await failures.record_absent({item.path: {A}})
    await failures.record_unreachable(item, "refused")
    known = await failures.known(item)
    assert known.wrong_at == {A: "differs"}
    assert known.absent_at == {A}
    assert await failures.unreachable(item) == "refused"


async def test_people_may_have_an_item_forgotten(process: Process, item: Item, clock: Clock) -> None:
    del clock
    failures, ledger = process.facilities.failures, process.storage.ledger
    await failures.record_wrong(item, {A: "differs"}, WRONG_BYTES)
    await failures.record_absent({item.path: {A}})
    await process.threads.ledger(SENT_PARTS.write, ledger, (), f"{item.digest}/{item.size_bytes}")
    await process.threads.ledger(forget_item, ledger, item.digest)
    assert await failures.known(item) == KnownFailures(absent_at=frozenset({A}))
    await process.threads.ledger(forget_absence, ledger, item.path)
    assert await failures.known(item) == KnownFailures()
    assert await process.threads.ledger(last_wrong_copies, ledger) == {}
