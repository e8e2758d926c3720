"""What is served is not always what was accepted last."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.editions import CLIENT, OTHER_CLIENT, documents, publish
from support.generations import INDEX, LIST, PRODUCT, SECOND_LIST, STALE_S, exchange_keys
from support.keys import SigningKey
from support.mirrors import Worker, open_worker
from support.origin import Origin
from support.power import PowerCuts
from support.running import Clock
from support.stored import removed
from support.tree import SignedTree

from proxy.digest import Digest
from proxy.documents.editions import GenerationUnknown
from proxy.documents.generation import Generation, GenerationLost
from proxy.documents.mirror_records import MirrorRecords, Recorded
from proxy.documents.records import documents_in_use
from proxy.mirror import Mirror
from proxy.simplestreams.listing import ListingDamaged
from proxy.store import listings
from proxy.store.ledger import LedgerUnavailable


async def first_and_held(worker: Worker, tree: SignedTree) -> list[bytes]:
    """Have a first generation accepted, and hold it; return its index and list."""
    first = publish(tree, "20250701")
    generation = await worker.check()
    await worker.editions.hold(generation.number)
    return first


async def test_what_is_accepted_is_served_unless_another_generation_is_held(
    worker: Worker, tree: SignedTree
) -> None:
    publish(tree, "20250701")
    assert (await worker.check()).number == (await worker.served()).number == 1
    second = publish(tree, "20250722")
    assert (await worker.check()).number == (await worker.served()).number == 2
    assert await documents(worker) == second


async def test_a_held_generation_stays_served_while_newer_ones_are_accepted(
    worker: Worker, tree: SignedTree, clock: Clock
) -> None:
    first = await first_and_held(worker, tree)
    for number in (2, 3):
        publish(tree, f"2025072{number}")
        clock.advance(STALE_S)
        assert (await worker.check()).number == number
        assert (await worker.served()).number == 1
        assert await documents(worker) == first
        assert not worker.documents.is_stale(await worker.documents.current())
    recorded = await worker.records.recorded()
    assert recorded.accepted is not None
    assert recorded.held is not None
    assert (recorded.accepted.number, recorded.held.number) == (3, 1)


async def test_a_generation_that_was_replaced_lately_can_be_held(worker: Worker, tree: SignedTree) -> None:
    first = publish(tree, "20250701")
    await worker.check()
    publish(tree, "20250722")
    await worker.check()

    await worker.editions.hold(1)

    assert await documents(worker, OTHER_CLIENT) == first
    assert (await worker.check()).number == 2
    assert await documents(worker, OTHER_CLIENT) == first


async def test_what_is_not_here_cannot_be_held(worker: Worker, tree: SignedTree) -> None:
    publish(tree, "20250701")
    await worker.check()
    with pytest.raises(GenerationUnknown, match="mirror test has no generation 7 any more"):
        await worker.editions.hold(7)
    assert (await worker.served()).number == 1


async def test_before_anything_is_accepted_nothing_can_be_held(worker: Worker) -> None:
    with pytest.raises(GenerationUnknown, match="mirror test has no generation 1 any more"):
        await worker.editions.hold(1)


async def test_what_a_replaced_generation_named_stays_served_after_a_restart(
    worker: Worker, tree: SignedTree, tmp_path: Path, mirror: Mirror, clock: Clock
) -> None:
    old = tree.add_item(PRODUCT, "20250601", "squashfs")
    publish(tree, "20250701")
    await worker.check()
    tree.remove_version("20250601")
    publish(tree, "20250722")
    await worker.check()

    async with open_worker(tmp_path / "data", mirror, clock) as later:
        assert (await later.served()).number == 2
        assert later.documents.find_item(old.path) is not None


async def test_replaced_generations_that_could_not_be_read_are_looked_for_again_after_a_pause(
    worker: Worker,
    tree: SignedTree,
    tmp_path: Path,
    mirror: Mirror,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No client waits for that."""
    old = tree.add_item(PRODUCT, "20250601", "squashfs")
    publish(tree, "20250701")
    await worker.check()
    tree.remove_version("20250601")
    publish(tree, "20250722")
    await worker.check()
    replaced, looked = MirrorRecords.replaced, []

    async def fail_once(records: MirrorRecords, since: float) -> list[tuple[Generation, float]]:
        looked.append(since)
        if len(looked) == 1:
            raise LedgerUnavailable("disk I/O error")
        return await replaced(records, since)

    monkeypatch.setattr(MirrorRecords, "replaced", fail_once)
    async with open_worker(tmp_path / "data", mirror, clock) as later:
        assert (await later.served()).number == 2
        await later.editions.adopt_announced()
        assert later.editions._adoption is None
        assert later.documents.find_item(old.path) is None
        clock.advance(6)
        await later.editions.adopt_announced()
        assert later.editions._adoption is not None
        await later.editions._adoption
        assert later.documents.find_item(old.path) is not None
    assert len(looked) == 2


async def test_letting_go_serves_the_newest(worker: Worker, tree: SignedTree) -> None:
    await first_and_held(worker, tree)
    second = publish(tree, "20250722")
    await worker.check()

    await worker.editions.let_go()

    assert (await worker.served()).number == 2
    assert await documents(worker, OTHER_CLIENT) == second
    assert (await worker.records.recorded()).held is None
    third = publish(tree, "20250723")
    await worker.check()
    assert await documents(worker, "192.0.2.3") == third


async def test_a_client_gets_the_lists_of_the_index_it_read_across_holding_and_letting_go(
    worker: Worker, tree: SignedTree
) -> None:
    first = await first_and_held(worker, tree)
    assert await worker.read(INDEX, CLIENT) == first[0]
    second = publish(tree, "20250722")
    await worker.check()
    await worker.editions.let_go()
    assert await worker.read(LIST, CLIENT) == first[1]

    assert await worker.read(INDEX, OTHER_CLIENT) == second[0]
    await worker.editions.hold(1)
    assert await worker.read(LIST, OTHER_CLIENT) == second[1]
    assert await documents(worker, "192.0.2.3") == first


async def test_what_only_the_held_generation_had_stays_served_after_it_is_let_go(
    worker: Worker, tree: SignedTree, tmp_path: Path, mirror: Mirror, clock: Clock
) -> None:
    old = tree.add_item(PRODUCT, "20250601", "squashfs")
    await first_and_held(worker, tree)
    tree.remove_version("20250601")
    publish(tree, "20250722")
    await worker.check()
    assert worker.documents.find_item(old.path) is not None

    await worker.editions.let_go()

    assert worker.documents.find_item(old.path) is not None
    async with open_worker(tmp_path / "data", mirror, clock) as later:
        assert (await later.served()).number == 2
        assert later.documents.find_item(old.path) is not None


async def test_nothing_older_than_the_accepted_generation_is_accepted_while_another_is_held(
    worker: Worker, tree: SignedTree, clock: Clock
) -> None:
    first = await first_and_held(worker, tree)
    second = publish(tree, "20250722")
    await worker.check()
    for path, raw in zip((INDEX, LIST), first, strict=True):
        tree.write(path, raw)
    clock.advance(STALE_S)

    assert (await worker.check()).number == 2

    assert "older than the one already accepted" in worker.documents.checks.trouble.too_old
    await worker.editions.let_go()
    assert await documents(worker) == second


async def test_what_is_asked_of_origins_is_compared_with_the_accepted_generation(
    tmp_path: Path, tree: SignedTree, origin: Origin, keyring: Path, clock: Clock
) -> None:
    """Not with the held one, whose index is another."""
    mirror = Mirror(name="test", mount="/test/", origins=(origin.url,), keyring=str(keyring))
    async with open_worker(tmp_path / "data", mirror, clock) as worker:
        await first_and_held(worker, tree)
        publish(tree, "20250722")
        await worker.check()
        origin.clear()

        clock.advance(STALE_S)
        assert (await worker.check()).number == 2

        assert [one.status for one in origin.gets(INDEX)] == [304]
        assert (await worker.served()).number == 1


async def test_a_hold_outlives_its_process(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, clock: Clock
) -> None:
    async with open_worker(tmp_path / "data", mirror, clock) as worker:
        first = await first_and_held(worker, tree)
        second = publish(tree, "20250722")
        await worker.check()

    clock.advance(STALE_S)
    async with open_worker(tmp_path / "data", mirror, clock) as later:
        assert await documents(later) == first
        assert (await later.check()).number == 2
        assert await documents(later) == first
        await later.editions.let_go()

    async with open_worker(tmp_path / "data", mirror, clock) as last:
        assert await documents(last) == second


async def test_a_power_cut_does_not_let_a_held_generation_go(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, clock: Clock
) -> None:
    data, rebooted = tmp_path / "data", tmp_path / "rebooted"
    with PowerCuts() as power:
        async with open_worker(data, mirror, clock) as worker:
            first = await first_and_held(worker, tree)
            await asyncio.to_thread(power.cut, data, rebooted)
    publish(tree, "20250722")

    async with open_worker(rebooted, mirror, clock) as later:
        assert (await later.check()).number == 2
        assert await documents(later) == first


async def test_all_workers_serve_what_one_of_them_was_told_to_hold(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, clock: Clock
) -> None:
    async with (
        open_worker(tmp_path / "data", mirror, clock) as one,
        open_worker(tmp_path / "data", mirror, clock) as other,
    ):
        first = publish(tree, "20250701")
        await one.check()
        assert await documents(other, OTHER_CLIENT) == first
        await one.editions.hold(1)
        second = publish(tree, "20250722")

        assert (await other.check()).number == 2

        for worker in (one, other):
            assert await documents(worker, OTHER_CLIENT) == first
        await other.editions.let_go()
        for worker in (one, other):
            assert await documents(worker, OTHER_CLIENT) == second


async def test_workers_agree_whatever_is_held_and_let_go_while_others_check(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, clock: Clock
) -> None:
    async with (
        open_worker(tmp_path / "data", mirror, clock) as one,
        open_worker(tmp_path / "data", mirror, clock) as other,
    ):
        publish(tree, "20250701")
        number = (await one.check()).number
        for day in range(6):
            publish(tree, f"2025072{day}")
            holding = other.editions.hold(number) if day % 3 else other.editions.let_go()
            await asyncio.gather(one.check(), holding, other.check())
            recorded = await one.records.recorded()
            assert recorded.accepted is not None
            number = recorded.accepted.number
            to_serve = recorded.held or recorded.accepted
            assert (recorded.held is not None) is (day % 3 > 0)
            for worker in (one, other):
                assert (await worker.served()).number == to_serve.number
                assert worker.editions.accepted is not None
                assert worker.editions.accepted.generation.number == number


async def test_no_reply_that_is_ready_goes_out_once_another_worker_has_announced_something(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, clock: Clock
) -> None:
    async with (
        open_worker(tmp_path / "data", mirror, clock) as one,
        open_worker(tmp_path / "data", mirror, clock) as other,
    ):
        publish(tree, "20250701")
        await one.check()

        async def ready() -> list[Callable[[str], bool]]:
            found = await other.documents.find(INDEX, CLIENT)
            item = other.documents.find_item(tree.items[0].path)
            assert found is not None
            assert item is not None
            return [other.documents.currency(*found), other.documents.currency(item, None)]

        publish(tree, "20250722")
        for announce in (one.check, lambda: one.editions.hold(1), one.editions.let_go):
            replies = await ready()
            assert [is_current(CLIENT) for is_current in replies] == [True, True]
            await announce()
            assert [is_current(CLIENT) for is_current in replies] == [False, False]


async def test_a_path_that_two_lists_name_with_other_bytes_is_told_with_what_is_served(
    worker: Worker, tree: SignedTree
) -> None:
    old = tree.add_item(PRODUCT, "20250701", "squashfs", path="shared/disk.img", data=b"old")
    first = tree.add_item(PRODUCT, "20250701", "initrd")
    new = tree.add_item(
        PRODUCT, "20250722", "squashfs", path="shared/disk.img", data=b"newer", content_id="second"
    )
    tree.publish()
    await worker.check()
    edition = await worker.documents.current()
    assert edition.served(first.path) is not None
    (told,) = await asyncio.to_thread(edition.conflicts)
    assert told == (
        f"shared/disk.img: {SECOND_LIST} says sha256 {new.digest[:12]}… of 5 bytes (version 20250722), "
        f"which is served; {LIST} says sha256 {old.digest[:12]}… of 3 bytes (version 20250701)"
    )


async def test_an_item_of_a_list_that_is_damaged_is_not_told_as_absent(
    tmp_path: Path, worker: Worker, tree: SignedTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the list is loaded again when it is wanted."""
    monkeypatch.setattr(listings, "_READ_AT_ONCE_BYTES", 0)
    item = tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    await worker.check()
    assert worker.documents.find_item(item.path) is not None
    (packed,) = (one for one in (tmp_path / "data" / "listings").iterdir() if len(one.name) == 64)
    packed.chmod(0o600)  # Nobody may write to it.
    os.truncate(packed, 10)
    with pytest.raises(ListingDamaged):
        worker.documents.find_item(item.path)
    await worker.served()
    assert worker.documents.find_item(item.path) is not None


async def test_what_can_still_be_read_is_not_forgotten_with_what_is_damaged(
    worker: Worker, tree: SignedTree
) -> None:
    worker.editions.drop_damaged()
    publish(tree, "20250701")
    await worker.check()
    accepted = worker.editions.accepted
    assert accepted is not None
    worker.editions.drop_damaged()
    assert worker.editions.accepted is accepted


async def test_documents_of_both_generations_are_in_use(worker: Worker, tree: SignedTree) -> None:
    await first_and_held(worker, tree)
    publish(tree, "20250722")
    accepted, held = await worker.check(), await worker.served()
    assert accepted.number != held.number
    await worker.write("retired/test", [])

    in_use = await asyncio.to_thread(documents_in_use, worker.storage.ledger)

    assert blobs_of(accepted) | blobs_of(held) <= in_use
    for digest in blobs_of(accepted):
        assert worker.documents.find_digest(digest) is not None


async def test_a_held_generation_whose_documents_are_lost_gives_way_to_the_accepted_one(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_worker(tmp_path / "data", mirror, clock) as worker:
        await first_and_held(worker, tree)
        held = await worker.served()
        second = publish(tree, "20250722")
        await worker.check()
        for document in held.documents.values():
            await worker.storage.threads.slow(removed, worker.storage.store, document.text)
            await worker.storage.threads.slow(removed, worker.storage.store, document.digest)
        await worker.check()
        assert await documents(worker) == second
        with pytest.raises(GenerationLost, match="the store has lost"):
            await worker.editions.hold(1)

    async with open_worker(tmp_path / "data", mirror, clock) as later:
        assert await documents(later) == second
        assert later.editions.is_announced_loaded()
    assert "generation.lost mirror=test" in caplog.text


def blobs_of(generation: Generation) -> set[Digest]:
    return {digest for one in generation.documents.values() for digest in (one.digest, one.text)}


async def test_an_adoption_that_ends_late_does_not_take_back_what_a_check_has_confirmed_meanwhile(
    worker: Worker, tree: SignedTree, clock: Clock
) -> None:
    publish(tree, "20250701")
    generation = await worker.check()
    editions = worker.editions
    async with editions._loading_replaced:
        adoption = asyncio.create_task(editions.adopt())
        async with asyncio.timeout(10):
            while not editions._loading_replaced._waiters:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
        clock.advance(STALE_S)
        await editions.accept(replace(generation, checked_at=clock.now))

    await adoption

    assert (await worker.served()).checked_at == clock.now
    assert worker.documents.checks.running is None


async def test_keys_that_no_longer_verify_the_held_generation_say_nothing_about_the_accepted_one(
    tmp_path: Path,
    mirror: Mirror,
    tree: SignedTree,
    keyring: Path,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_worker(tmp_path / "data", mirror, clock) as worker:
        await first_and_held(worker, tree)
    with SigningKey() as new_key:
        tree.key = new_key
        exchange_keys(keyring, new_key.public_binary())
        second = publish(tree, "20250722")

    async with open_worker(tmp_path / "data", mirror, clock) as later:
        assert (await later.check()).number == 2
        assert await documents(later) == second
        for _ in range(3):
            clock.advance(STALE_S)
            await later.check()
        assert later.documents.why_unverified() == ""
    logged = [one for one in caplog.messages if one.startswith("generation.unproved")]
    assert len(logged) == 1


async def test_a_record_that_is_older_than_what_is_served_here_or_gone_changes_nothing(
    worker: Worker, tree: SignedTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was read before another check ended, or from a ledger that has lost it."""
    publish(tree, "20250701")
    await worker.check()
    old = await worker.records.recorded()
    publish(tree, "20250722")
    assert (await worker.check()).number == 2
    for recorded in (old, old._replace(accepted=None)):

        async def read(recorded: Recorded = recorded) -> Recorded:
            return recorded

        monkeypatch.setattr(worker.records, "recorded", read)
        await worker.editions.adopt()
        assert (await worker.served()).number == 2
