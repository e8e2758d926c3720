"""Records of documents that another release wrote, or half of one: they stop nothing, and delete nothing."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from support.generations import INDEX, LIST, PRODUCT, STALE_S, exchange_keys, on_disk
from support.keys import SigningKey
from support.mirrors import Worker, folder_mirror, open_worker
from support.running import Clock
from support.tree import SignedTree

from proxy.digest import Digest
from proxy.documents.generation import NO_DIGEST, Document, Generation
from proxy.documents.records import GENERATION, documents_in_use
from proxy.documents.trouble import Trouble
from proxy.mirror import Mirror

ODD: tuple[Any, ...] = (
    0,
    7.5,
    True,
    "text",
    [],
    ["text"],
    [1, 2],
    [["text", 1]],
    [[{"number": 1}, 1]],
    {},
    {"version": 2},
    {"version": "two"},
    {"number": 10**400, "documents": 5},
    {"number": 1, "documents": {"a": {}}, "index_path": "a"},
    {"failures": "many", "since": []},
)
odd = pytest.mark.parametrize("value", ODD, ids=lambda value: f"{value!r:.40}")


@pytest.fixture
def mirror(tree: SignedTree, keyring: Path) -> Mirror:
    """Return a mirror of the tree's folder."""
    return folder_mirror(tree, keyring)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return where the data directory is."""
    return tmp_path / "data"


@pytest.fixture
async def accepted(data: Path, mirror: Mirror, clock: Clock, tree: SignedTree) -> AsyncIterator[Generation]:
    """Have two generations accepted, and return the second."""
    publish(tree, "20250701")
    async with open_worker(data, mirror, clock) as worker:
        await worker.check()
        publish(tree, "20250722")
        yield await worker.check()


def publish(tree: SignedTree, version: str) -> list[bytes]:
    tree.add_item(PRODUCT, version, "squashfs")
    tree.publish()
    return on_disk(tree, INDEX, LIST)


def go_back(tree: SignedTree, documents: list[bytes]) -> None:
    """Have the origin publish earlier documents."""
    for path, raw in zip((INDEX, LIST), documents, strict=True):
        tree.write(path, raw)


async def in_use(worker: Worker) -> set[Digest]:
    return await asyncio.to_thread(documents_in_use, worker.storage.ledger)


def blobs_of(generation: Generation) -> set[Digest]:
    return {digest for one in generation.documents.values() for digest in (one.digest, one.text)}


async def copy_of(data: Path) -> Any:
    return json.loads(await asyncio.to_thread((data / "generations" / "test.json").read_text))


def overwrite_copy(data: Path, value: object) -> None:
    (data / "generations" / "test.json").write_text(json.dumps(value))


async def newer(worker: Worker, **changes: object) -> dict[str, Any]:
    """Return the record of what was accepted last as a release to come might write it."""
    record = await worker.record("generation/test")
    assert isinstance(record, dict)
    return {**record, "version": 2, **changes}


# None of them stops checks, statistics or upkeep


@pytest.mark.parametrize("kind", ["served", "retired", "siblings", "trouble"])
async def test_odd_records_stop_nothing(
    data: Path, mirror: Mirror, clock: Clock, tree: SignedTree, accepted: Generation, kind: str
) -> None:
    number = accepted.number
    for value in ODD:
        async with open_worker(data, mirror, clock) as worker:
            await worker.write(f"{kind}/test", value)
            assert (await worker.served()).number == number
            assert blobs_of(accepted) <= await in_use(worker)
            published = publish(tree, f"2026{number}")
            accepted, number = await worker.check(), number + 1
            assert accepted.number == number
            assert [await worker.read(path) for path in (INDEX, LIST)] == published
            status = await worker.documents.status()
            assert (status["failures"], status["generation"]) == (0, number)


@odd
async def test_an_odd_record_in_one_place_is_replaced_by_the_other(
    data: Path, mirror: Mirror, clock: Clock, accepted: Generation, value: Any
) -> None:
    async with open_worker(data, mirror, clock) as worker:
        good = await worker.record("generation/test")
        await worker.write("generation/test", value)
    async with open_worker(data, mirror, clock) as worker:
        assert (await worker.served()).number == accepted.number
        assert await worker.record("generation/test") == good
    overwrite_copy(data, value)
    async with open_worker(data, mirror, clock) as worker:
        assert (await worker.served()).number == accepted.number
    assert json.loads((data / "generations" / "test.json").read_text()) == good


async def test_a_release_to_come_may_write_more(
    data: Path, mirror: Mirror, clock: Clock, tree: SignedTree, accepted: Generation
) -> None:
    """Fields that this one does not know are passed over, at every place."""
    async with open_worker(data, mirror, clock) as worker:
        record: Any = await newer(worker, version=1, of_a_later_release={"a": 1})
        for document in record["documents"].values():
            document["of_a_later_release"] = [1]
        for key, value in {
            "generation/test": record,
            "served/test": record,
            "retired/test": [[record, clock()]],
            "trouble/test": {**asdict(Trouble(refusals=3)), "of_a_later_release": None},
        }.items():
            await worker.write(key, value)
    async with open_worker(data, mirror, clock) as worker:
        assert (await worker.served()).number == accepted.number
        assert (await worker.documents.status())["refusals"] == 3
        publish(tree, "20250723")
        assert (await worker.check()).number == accepted.number + 1


# Nothing is taken for nothing


async def test_the_dates_of_a_record_that_cannot_be_read_keep_older_documents_out(
    data: Path, mirror: Mirror, clock: Clock, tree: SignedTree
) -> None:
    first = publish(tree, "20250701")
    async with open_worker(data, mirror, clock) as worker:
        await worker.check()
        second = publish(tree, "20250722")
        accepted = await worker.check()
        record = await newer(worker)
        await worker.write("generation/test", record)
    overwrite_copy(data, record)
    go_back(tree, first)

    async with open_worker(data, mirror, clock) as worker:
        assert blobs_of(accepted) <= await in_use(worker)
        await worker.documents.checks.revalidate()
        assert worker.editions.served is None
        assert "older than the one already accepted" in worker.documents.checks.trouble.too_old
        assert await worker.record("generation/test") == record

        go_back(tree, second)
        assert (await worker.check()).number == accepted.number + 1
        assert [await worker.read(path) for path in (INDEX, LIST)] == second


async def test_dates_alone_replace_no_record_that_can_be_read(
    data: Path, mirror: Mirror, clock: Clock, tree: SignedTree
) -> None:
    """The file has the generation before; what is newer in the ledger only counts against older ones."""
    first = publish(tree, "20250701")
    async with open_worker(data, mirror, clock) as worker:
        await worker.check()
        copy = (data / "generations" / "test.json").read_bytes()
        publish(tree, "20250722")
        await worker.check()
        record = await newer(worker)
        await worker.write("generation/test", record)
    (data / "generations" / "test.json").write_bytes(copy)
    go_back(tree, first)

    async with open_worker(data, mirror, clock) as worker:
        await worker.documents.checks.revalidate()
        assert worker.editions.accepted is None
        assert await worker.record("generation/test") == record
    assert (data / "generations" / "test.json").read_bytes() == copy


@pytest.mark.parametrize("value", [5, [1], {"version": 9, "all": "different"}], ids=str)
async def test_where_no_date_can_be_read_nothing_is_accepted_before_an_operator_allows_it(
    data: Path, mirror: Mirror, clock: Clock, tree: SignedTree, accepted: Generation, value: Any
) -> None:
    async with open_worker(data, mirror, clock) as worker:
        await worker.write("generation/test", value)
    overwrite_copy(data, value)

    async with open_worker(data, mirror, clock) as worker:
        await worker.documents.checks.revalidate()
        assert worker.editions.served is None
        problem = (await worker.documents.status())["last_problem"]
        assert "the record of what mirror test accepted last cannot be read" in problem
        assert "sstream-proxy refresh --accept-older test" in problem
        assert not await worker.documents.knows_what_it_lists()
        assert await worker.record("generation/test") == value

        assert await worker.documents.checks.confirm(accept_older=True) is None

        assert (await worker.served()).number > accepted.number
        publish(tree, "20250723")
        await worker.check()
        assert not worker.documents.checks.trouble.failures


@pytest.mark.parametrize("name", ["digest", "text"])
async def test_no_file_but_a_blob_is_served_as_a_document(
    data: Path, mirror: Mirror, clock: Clock, accepted: Generation, name: str
) -> None:
    """A record that names any other path cannot be read: the one beside the ledger counts."""
    async with open_worker(data, mirror, clock) as worker:
        record = await worker.record("generation/test")
        assert isinstance(record, dict)
        record["documents"][INDEX][name] = "../../../letter"
        await worker.write("generation/test", record)
    async with open_worker(data, mirror, clock) as worker:
        assert (await worker.served()).documents == accepted.documents
        assert await worker.record("generation/test") == await copy_of(data)


async def test_a_held_generation_that_cannot_be_read_keeps_its_blobs_and_its_record(
    data: Path, mirror: Mirror, clock: Clock, tree: SignedTree, accepted: Generation
) -> None:
    async with open_worker(data, mirror, clock) as worker:
        held = {"version": 2, "documents": [{"bytes": "a" * 64}, {"parts": ["b" * 64]}]}
        await worker.write("served/test", held)
    async with open_worker(data, mirror, clock) as worker:
        publish(tree, "20250723")
        assert (await worker.check()).number == (await worker.served()).number == accepted.number + 1
        assert {"a" * 64, "b" * 64} <= await in_use(worker)
        assert await worker.record("served/test") == held


@pytest.mark.parametrize("of_a_later_release", [{"a" * 64: ["a" * 64]}, [["a" * 64]]], ids=["object", "list"])
async def test_a_replaced_generation_that_cannot_be_read_is_kept_as_long_as_others(
    data: Path, mirror: Mirror, clock: Clock, tree: SignedTree, accepted: Generation, of_a_later_release: Any
) -> None:
    async with open_worker(data, mirror, clock) as worker:
        await worker.write("retired/test", of_a_later_release)
        publish(tree, "20250723")
        await worker.check()
        assert {"a" * 64} | blobs_of(accepted) <= await in_use(worker)

        clock.advance(25 * 3600)
        publish(tree, "20250724")
        await worker.check()
        assert "a" * 64 not in await in_use(worker)


async def test_all_flavours_are_fetched_where_it_cannot_be_read_which_are_asked_for(
    data: Path, mirror: Mirror, clock: Clock, tree: SignedTree
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish(detached=True)
    async with open_worker(data, mirror, clock) as worker:
        await worker.write("siblings/test", {"version": 2})
        accepted = await worker.check()
        assert {"streams/v1/index.json", "streams/v1/index.json.gpg"} <= accepted.documents.keys()


# It is said once


async def test_a_record_that_cannot_be_read_is_told_of_once(
    data: Path, mirror: Mirror, clock: Clock, accepted: Generation, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_worker(data, mirror, clock) as worker:
        for key in ("served/test", "retired/test", "siblings/test", "trouble/test"):
            await worker.write(key, {"version": 2})
    overwrite_copy(data, {"version": 2})
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        async with open_worker(data, mirror, clock) as worker:
            for _ in range(3):
                clock.advance(STALE_S)
                await worker.check()
                await worker.documents.status()
                await in_use(worker)
    told = [one.split(" problem=")[0] for one in caplog.messages if "record.unreadable" in one]
    assert sorted(told) == [
        "record.unreadable key=generations/test.json",
        "record.unreadable key=retired/test",
        "record.unreadable key=served/test",
        "record.unreadable key=siblings/test",
        "record.unreadable key=trouble/test",
    ]
    assert accepted.number == 2


async def test_that_both_records_of_a_generation_differ_is_told(
    data: Path, mirror: Mirror, clock: Clock, accepted: Generation, caplog: pytest.LogCaptureFixture
) -> None:
    """As after a power cut; the newer one counts from then on, in both places."""
    record = await copy_of(data)

    async def told() -> list[str]:
        caplog.clear()
        async with open_worker(data, mirror, clock) as worker:
            assert (await worker.served()).number == accepted.number
        return [one for one in caplog.messages if one.startswith("generation.records_differ")]

    assert await told() == []
    overwrite_copy(data, {**record, "number": 1})
    assert await told() == ["generation.records_differ mirror=test ledger=2 file=1"]
    assert await told() == []
    assert (await copy_of(data))["number"] == 2


async def test_why_a_generation_is_not_verified_is_told_once(
    data: Path,
    mirror: Mirror,
    clock: Clock,
    accepted: Generation,
    keyring: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_worker(data, mirror, clock) as worker:
        assert worker.records.why_unverified() == ""
        assert await worker.records.verified(accepted) is not None
    assert not [one for one in caplog.messages if one.startswith("generation.unproved")]
    with SigningKey() as new_key:
        exchange_keys(keyring, new_key.public_binary())
    caplog.clear()
    async with open_worker(data, mirror, clock) as worker:
        for _ in range(3):
            assert await worker.records.verified(accepted) is None
        assert "does not count under the keys of now" in worker.records.why_unverified()
    told = [one for one in caplog.messages if one.startswith("generation.unproved")]
    assert len(told) == 1


# What the first releases can read


def test_a_record_names_no_later_field_that_says_nothing() -> None:
    """The first releases refuse a record with a field that they do not know."""
    document = Document(path=INDEX, format="index:1.0", digest=NO_DIGEST, size_bytes=5, text=NO_DIGEST)
    generation = Generation(
        number=1,
        keyring="keys",
        accepted_at=1.0,
        checked_at=2.0,
        index_path=INDEX,
        documents={INDEX: document},
    )
    record = GENERATION.encode(generation)
    assert record.keys() == {
        *("number", "keyring", "accepted_at", "checked_at", "index_path", "documents"),
        *("absent", "gaps", "refused"),
    }
    assert record["documents"][INDEX].keys() == {
        *("path", "format", "digest", "size_bytes", "text", "content_id", "updated", "signed_at"),
        *("fingerprint", "origin", "etag", "last_modified"),
    }


async def test_a_last_check_of_which_nothing_is_recorded_went_well(
    data: Path, mirror: Mirror, clock: Clock, accepted: Generation
) -> None:
    async with open_worker(data, mirror, clock) as worker:
        await worker.write("last check/test", {})
        assert accepted.number == 2
        assert await worker.records.trouble() == Trouble()
