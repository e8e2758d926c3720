"""When a mirror is checked, and by which worker."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.generations import HOUR_S, INDEX, LIST, PRODUCT, SECOND_LIST, STALE_S, on_disk
from support.keys import SigningKey
from support.mirrors import Worker, folder_mirror, open_worker
from support.origin import Origin
from support.running import MOUNT, Clock
from support.tree import SignedTree

from proxy.documents import checks as checks_module
from proxy.documents.freshness import FreshnessPolicy
from proxy.mirror import Mirror
from proxy.store.files import StoreFault


@pytest.fixture
def mirror(origin: Origin, keyring: Path) -> Mirror:
    """Return a mirror of an origin that counts requests."""
    return Mirror(name="test", mount=MOUNT, origins=(origin.url,), keyring=str(keyring))


@pytest.fixture
async def worker(
    tmp_path: Path, mirror: Mirror, clock: Clock, tree: SignedTree, origin: Origin
) -> AsyncIterator[Worker]:
    """Return a worker that has accepted a generation."""
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    async with open_worker(tmp_path / "data", mirror, clock) as worker:
        await worker.check()
        origin.clear()
        yield worker


async def ended(worker: Worker) -> None:
    """Return when no check runs."""
    running = worker.documents.checks.running
    if running is not None:
        await asyncio.wait([running])


async def test_a_client_begins_a_check_when_the_last_one_is_too_long_ago(
    worker: Worker, origin: Origin, clock: Clock
) -> None:
    await worker.served()
    assert worker.documents.checks.running is None
    clock.advance(STALE_S)

    assert (await worker.served()).number == 1

    await ended(worker)
    assert [one.status for one in origin.gets(INDEX)] == [304]


async def test_one_worker_checks_and_the_others_load_what_it_has_accepted(
    tmp_path: Path, mirror: Mirror, worker: Worker, origin: Origin, clock: Clock, tree: SignedTree
) -> None:
    async with open_worker(tmp_path / "data", mirror, clock) as other:
        await other.served()
        tree.add_item(PRODUCT, "20250722", "squashfs")
        tree.publish()
        clock.advance(STALE_S)
        gate = origin.gate(INDEX)
        for one in (worker, other):
            assert (await one.served()).number == 1
        await gate.waiting(1)
        await asyncio.sleep(0.2)  # Four times as long as the pauses between looks at the lock.
        asked = len(origin.gets(INDEX))
        gate.open()
        await ended(worker)
        await ended(other)

        assert asked == 1
        for one in (worker, other):
            assert one.editions.served is not None
            assert one.editions.served.generation.number == 2


async def test_a_mirror_is_checked_in_the_background_until_nobody_has_used_it_for_long(
    tmp_path: Path, mirror: Mirror, clock: Clock, tree: SignedTree, origin: Origin
) -> None:
    """Checks are no uses: the next client wakes it up."""
    tree.publish()
    policy = FreshnessPolicy(fresh_for_s=0.02, idle_after_s=10 * HOUR_S)
    async with open_worker(tmp_path / "data", mirror, clock, policy) as worker:
        await worker.served()
        for _ in range(9):
            before = len(origin.gets(INDEX))
            clock.advance(HOUR_S)
            async with asyncio.timeout(10):
                while len(origin.gets(INDEX)) == before:  # noqa: ASYNC110 - nothing else shows that it woke
                    await asyncio.sleep(0.01)
            await ended(worker)
        clock.advance(2 * HOUR_S)
        before = len(origin.gets(INDEX))

        await asyncio.sleep(0.2)  # Ten times as long as the pauses between looks.
        assert len(origin.gets(INDEX)) == before

        await worker.served()
        await ended(worker)
        assert len(origin.gets(INDEX)) > before


async def test_a_mirror_that_nobody_uses_is_checked_until_its_last_check_was_no_failure(
    tmp_path: Path, mirror: Mirror, clock: Clock, tree: SignedTree, origin: Origin
) -> None:
    """Otherwise its metrics would alarm somebody for ever; also after a restart."""
    tree.publish()
    policy = FreshnessPolicy(fresh_for_s=0.02, idle_after_s=HOUR_S)
    async with open_worker(tmp_path / "data", mirror, clock, policy) as worker:
        await worker.served()
        await origin.stop()
        await worker.documents.checks.revalidate()
        assert worker.documents.checks.trouble.failures > 0
    clock.advance(2 * HOUR_S)

    async with open_worker(tmp_path / "data", mirror, clock, policy) as later:
        await origin.start()
        async with asyncio.timeout(10):
            while (await later.records.trouble()).failures:
                clock.advance(HOUR_S)
                await asyncio.sleep(0.02)
        await ended(later)
        before = len(origin.gets(INDEX))
        clock.advance(2 * HOUR_S)

        await asyncio.sleep(0.2)  # Ten times as long as the pauses between looks.
        assert len(origin.gets(INDEX)) == before


async def test_one_demand_that_comes_while_a_check_runs_is_met_by_the_next(
    worker: Worker, origin: Origin, tree: SignedTree
) -> None:
    gate = origin.gate(INDEX)
    first = asyncio.create_task(worker.documents.checks.revalidate())
    await gate.waiting(1)
    tree.add_item(PRODUCT, "20250722", "squashfs")
    second = asyncio.create_task(worker.documents.checks.revalidate())
    third = asyncio.create_task(worker.documents.checks.revalidate())
    await asyncio.sleep(0)
    tree.publish()
    gate.open()

    await asyncio.gather(first, second, third)

    assert (await worker.served()).number == 2
    assert worker.documents.checks.running is None


async def test_what_is_older_is_accepted_by_the_check_that_was_ordered_so_and_no_other(
    tmp_path: Path, clock: Clock, tree: SignedTree, keyring: Path
) -> None:
    async with open_worker(tmp_path / "data", folder_mirror(tree, keyring), clock) as worker:
        checks = worker.documents.checks
        tree.add_item(PRODUCT, "20250701", "squashfs")
        for updated in (clock.now - 1000, clock.now - 2000, clock.now - 3000):
            tree.publish(updated=updated)
            if updated == clock.now - 2000:
                assert await checks.confirm(accept_older=True) is None
            else:
                await checks.confirm()
        assert (await worker.served()).updated == int(clock.now - 2000)
        assert "older than the one already accepted" in checks.trouble.too_old


async def test_a_pause_after_failures_grows_and_a_demand_ends_it(
    worker: Worker, origin: Origin, clock: Clock
) -> None:
    await origin.stop()
    clock.advance(STALE_S)
    await worker.served()
    await ended(worker)
    for pause_s in (15, 30, 60):
        clock.advance(pause_s - 1)
        await worker.served()
        assert worker.documents.checks.running is None
        clock.advance(1)
        await worker.served()
        assert worker.documents.checks.running is not None
        await ended(worker)
    assert worker.documents.checks.trouble.failures == 4
    await origin.start()

    await worker.documents.checks.revalidate()

    assert worker.documents.checks.trouble.failures == 0


async def test_a_file_that_is_gone_has_the_mirror_checked_once_for_a_while(
    worker: Worker, origin: Origin, clock: Clock
) -> None:
    for _ in range(3):
        worker.documents.checks.check_soon()
        await ended(worker)
    assert [one.headers.get("Cache-Control") for one in origin.gets(INDEX)] == ["no-cache"]
    clock.advance(STALE_S)
    await worker.served()
    await ended(worker)
    assert [one.headers.get("Cache-Control") for one in origin.gets(INDEX)] == ["no-cache", "max-age=0"]
    for _ in range(2):
        worker.documents.checks.check_soon()
        await ended(worker)
    assert len(origin.gets(INDEX)) == 3
    clock.advance(16)
    worker.documents.checks.check_soon()
    await ended(worker)
    assert len(origin.gets(INDEX)) == 4


async def test_a_check_begins_anew_when_the_index_changes_while_its_lists_are_read(
    worker: Worker, origin: Origin, tree: SignedTree
) -> None:
    tree.add_item(PRODUCT, "20250722", "squashfs")
    tree.publish()
    gate = origin.gate(LIST)
    checking = asyncio.create_task(worker.documents.checks.revalidate())
    await gate.waiting(1)
    tree.add_item(PRODUCT, "20250723", "squashfs")
    tree.publish()
    gate.open()

    await checking

    assert worker.documents.checks.trouble.failures == 0
    assert [await worker.read(path) for path in (INDEX, LIST)] == on_disk(tree, INDEX, LIST)


async def test_a_list_that_is_missing_is_asked_for_after_pauses_that_double(
    tmp_path: Path, mirror: Mirror, clock: Clock, tree: SignedTree, origin: Origin
) -> None:
    """From a few seconds, in case it is only being published, up to the time between checks."""
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.add_item(PRODUCT, "20250701", "initrd", content_id="second")
    tree.publish()
    (tree.root / SECOND_LIST).unlink()
    policy = FreshnessPolicy()
    async with open_worker(tmp_path / "data", mirror, clock, policy) as worker:
        await worker.check()
        origin.clear()
        for pause_s in (15, 15, 30, 60, 120, 240, 300, 300):
            before = origin.count(SECOND_LIST)
            clock.advance(pause_s - 1)
            await worker.served()
            await ended(worker)
            assert origin.count(SECOND_LIST) == before
            clock.advance(1)
            await worker.served()
            await ended(worker)
            assert origin.count(SECOND_LIST) == before + 1


async def test_another_origin_is_asked_when_the_documents_of_the_first_are_refused(
    tmp_path: Path, clock: Clock, tree: SignedTree, keyring: Path
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    with SigningKey() as another:
        forged = SignedTree(tmp_path / "forged", another)
        forged.publish()
    origins = tuple(f"{one.root.as_uri()}/" for one in (forged, tree))
    mirror = Mirror(name="test", mount=MOUNT, origins=origins, keyring=str(keyring))
    async with open_worker(tmp_path / "data", mirror, clock) as worker:
        await worker.check()
        assert await worker.read(LIST) == on_disk(tree, LIST)[0]
        trouble = worker.documents.checks.trouble
        assert (trouble.failures, trouble.refusals) == (0, 1)
        assert forged.root.name in trouble.last_refusal


async def test_a_check_whose_result_cannot_be_stored_fails_with_all_that_went_wrong(
    tmp_path: Path, clock: Clock, tree: SignedTree, keyring: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise StoreFault("no space left on device")

    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    origins = (f"{(tmp_path / 'none').as_uri()}/", f"{tree.root.as_uri()}/")
    mirror = Mirror(name="test", mount=MOUNT, origins=origins, keyring=str(keyring))
    async with open_worker(tmp_path / "data", mirror, clock) as worker:
        monkeypatch.setattr(worker.records, "accept", fail)
        await worker.documents.checks.revalidate()
        trouble = worker.documents.checks.trouble
        assert (trouble.failures, trouble.is_local) == (1, True)
        missing, _, disk = trouble.last_problem.partition("; ")
        assert "/none" in missing
        assert disk == "no space left on device"


async def test_closing_is_not_stopped_by_what_a_check_ends_with(
    worker: Worker, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a disk that fails while the check is being recorded as a failure."""
    begun = asyncio.Event()

    async def fail_when_stopped(**_: object) -> bool:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise RuntimeError("stopped") from None
        return True

    async def fail(*_: object) -> None:
        raise RuntimeError("not recorded")

    checks = worker.documents.checks
    monkeypatch.setattr(checks._check, "run", fail_when_stopped)
    monkeypatch.setattr(checks._check, "note_failure", fail)
    clock.advance(STALE_S)
    checks.begin_if_due()
    await begun.wait()
    running = checks.running
    assert running is not None
    await checks.close()
    assert isinstance(running.exception(), RuntimeError)


async def test_a_client_whose_patience_ends_gets_what_a_worker_has_accepted_that_is_still_busy(
    tmp_path: Path,
    mirror: Mirror,
    clock: Clock,
    tree: SignedTree,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its own worker waits for the lock, which the busy one keeps."""
    monkeypatch.setattr(checks_module, "_FIRST_WAIT_S", 0.0)
    tree.publish()
    data_dir = tmp_path / "data"
    async with open_worker(data_dir, mirror, clock) as busy, open_worker(data_dir, mirror, clock) as waiting:
        assert busy.documents.checks._shared.try_lock()
        checks = waiting.documents.checks
        checks.begin_if_due()
        await asyncio.sleep(0)  # The check begins, and finds the lock taken.
        await busy.documents.checks._check.run(past_caches=False, accepts_older=False)

        await checks.wait_for_first()

        assert waiting.editions.served is not None
        assert checks.running is not None
        busy.documents.checks._shared.unlock()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (StoreFault("the ledger is gone"), "the ledger is gone"),
        (RuntimeError("too much"), "an unforeseen error, please report it: RuntimeError: too much in"),
    ],
    ids=["foreseen", "unforeseen"],
)
async def test_whatever_ends_a_check_is_told_and_another_one_comes_after_a_pause(
    worker: Worker,
    origin: Origin,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    told: str,
) -> None:
    async def fail(**_: object) -> bool:
        raise error

    checks = worker.documents.checks
    clock.advance(STALE_S)
    with monkeypatch.context() as patch:
        patch.setattr(checks._check, "run", fail)
        await worker.served()
        await ended(worker)
    assert checks.trouble.last_problem.startswith(told)
    assert checks.trouble.failures == 1

    clock.advance(14)
    await worker.served()
    assert checks.running is None
    clock.advance(1)
    await worker.served()
    await ended(worker)
    assert checks.trouble.failures == 0
    assert len(origin.gets(INDEX)) == 1
