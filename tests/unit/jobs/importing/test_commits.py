"""Commits that run while others are begun."""

import asyncio

import pytest

from proxy.jobs.importing.commits import COMMITS_AT_ONCE, CommitsInFlight


class Disk:
    """One that makes things durable when it is let, or fails to."""

    def __init__(self) -> None:
        self.begun = 0
        self.ended = 0
        self.gate = asyncio.Event()
        self.problem: OSError | None = None

    async def commit(self) -> None:
        self.begun += 1
        await self.gate.wait()
        self.ended += 1
        if self.problem is not None:
            raise self.problem


async def test_the_disk_has_few_commits_at_once_and_each_is_waited_for() -> None:
    commits, disk = CommitsInFlight(), Disk()
    for _ in range(COMMITS_AT_ONCE):
        await commits.begin(disk.commit, "commit")
    late = asyncio.create_task(commits.begin(disk.commit, "one more"))
    await asyncio.sleep(0)
    assert (disk.begun, late.done()) == (COMMITS_AT_ONCE, False)
    disk.gate.set()
    await late
    await commits.finish()
    assert disk.ended == COMMITS_AT_ONCE + 1


@pytest.mark.parametrize("is_full", [True, False])
async def test_what_a_commit_raises_reaches_whoever_begins_the_next_or_finishes(*, is_full: bool) -> None:
    commits, disk = CommitsInFlight(), Disk()
    disk.problem = OSError("gone")
    for _ in range(COMMITS_AT_ONCE if is_full else 1):
        await commits.begin(disk.commit, "commit")
    disk.gate.set()
    with pytest.raises(OSError, match="gone"):
        await (commits.begin(disk.commit, "one more") if is_full else commits.finish())
    await commits.stop()
    assert disk.begun == disk.ended == (COMMITS_AT_ONCE if is_full else 1)


async def test_an_import_that_stops_has_none_left_behind() -> None:
    commits, disk = CommitsInFlight(), Disk()
    disk.problem = OSError("gone")
    await commits.begin(disk.commit, "commit")
    stopping = asyncio.create_task(commits.stop())
    await asyncio.sleep(0)
    assert not stopping.done()
    disk.gate.set()
    await stopping
    assert disk.ended == 1
