"""How full the store is, also while the ledger cannot be asked."""

from pathlib import Path

from support.transfers import run_process

from proxy.digest import digest_of
from proxy.store.usage import StoreUsage


async def test_what_only_the_ledger_knows_is_nothing_while_it_cannot_be_asked(tmp_path: Path) -> None:
    async with run_process(tmp_path / "data") as process:
        for data in (b"one", b"three"):
            await process.threads.disk(process.store.put, data)
        usage = await process.threads.disk(process.storage.usage.read_from_disk)
    assert usage == StoreUsage(
        blobs=2,
        bytes=8,
        pinned_blobs=0,
        pinned_bytes=0,
        pins={},
        reserved_bytes=0,
        free_bytes=usage.free_bytes,
        limit_bytes=None,
        min_free_bytes=0,
        quarantined=0,
    )
    assert usage.free_bytes > 0


async def test_pins_keep_what_is_here_and_await_what_is_not(tmp_path: Path) -> None:
    here, awaited = digest_of(b"here"), digest_of(b"awaited")
    async with run_process(tmp_path / "data") as process:
        ledger, storage = process.threads.ledger, process.storage
        await process.threads.disk(process.store.put, b"here")
        await ledger(storage.blobs.add, here, 4)
        await ledger(storage.blobs.add, digest_of(b"other"), 5)
        await ledger(storage.pins.pin_all, "noble", [here, awaited])
        await ledger(storage.pins.pin_all, "lts", [here])
        usage = await ledger(storage.usage.read)
    assert (usage.blobs, usage.bytes, usage.pinned_blobs, usage.pinned_bytes) == (2, 9, 1, 4)
    assert usage.pins == {
        "noble": {"blobs": 1, "bytes": 4, "awaited_blobs": 1},
        "lts": {"blobs": 1, "bytes": 4, "awaited_blobs": 0},
    }


async def test_what_processes_share_lies_where_another_release_looks_for_it(tmp_path: Path) -> None:
    """Both may run for a while, as one takes over from the other."""
    async with run_process(tmp_path / "data"):
        assert (tmp_path / "data" / "boards" / ".health").is_file()
        assert (tmp_path / "data" / "ledger" / "records" / "cache.db").is_file()
