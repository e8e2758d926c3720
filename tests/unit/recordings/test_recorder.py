"""What is noted is written down, once, whatever the disk and the clients do."""

import resource
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from proxy.digest import Digest
from proxy.recordings.asked import MOST_ABSENT, Kind, Request, Taken
from proxy.recordings.board import Board
from proxy.recordings.folder import RecordingFolder
from proxy.recordings.recorder import Recorder
from proxy.recordings.recording import Recording
from proxy.simplestreams.model import Item
from proxy.store.ledger import Ledger
from proxy.store.pins import Pins
from proxy.system.threads import Threads

NOW = 1000.0
LAB = Recording(name="lab", since=NOW, begun_at=NOW)


def item(number: int) -> Item:
    return Item(f"noble/{number}", Digest(f"{number:064x}"), 5)


def got(number: int) -> Request:
    return Request(Kind.GOT, "maas", item(number).path, item(number))


class Desk:
    """A recorder, and the recording that it writes."""

    def __init__(self, recorder: Recorder, folder: RecordingFolder, pins: Pins, threads: Threads) -> None:
        self.recorder = recorder
        self.folder = folder
        self.pins = pins
        self.threads = threads

    async def taken(self) -> Taken:
        """Write down what was noted, and return what the recording has."""
        await self.recorder.write_down()
        return await self.threads.disk(self.folder.taken, LAB)

    async def pinned(self) -> set[Digest]:
        """Return what the recording keeps."""
        return await self.threads.ledger(self.pins.pinned_by, LAB.pin)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    threads = Threads()
    ledger = await threads.ledger(Ledger, tmp_path / "ledger", lambda: NOW)
    with closing(await threads.disk(Board, tmp_path / "boards/.recordings")) as board:
        folder, pins = RecordingFolder(tmp_path / "recordings", board), Pins(ledger)
        recorder = Recorder(folder, threads, pins, lambda *_: None, lambda: NOW, remembers_clients=False)
        await threads.disk(folder.begin, LAB)
        yield Desk(recorder, folder, pins, threads)
        await recorder.close()
    await threads.ledger(ledger.close)
    await threads.close()


async def test_each_file_is_one_line_and_pinned(desk: Desk, tmp_path: Path) -> None:
    for number in (1, 2, 1, 1):
        desk.recorder.note(got(number), f"10.0.0.{number}")
    await desk.taken()
    desk.recorder.note(got(1), "10.0.0.9")
    taken = await desk.taken()
    assert [one.path for one in taken.of_kind(Kind.GOT)] == ["noble/1", "noble/2"]
    assert await desk.pinned() == {item(1).digest, item(2).digest}
    lines = (tmp_path / "recordings/lab/asked.jsonl").read_text()
    assert lines.count('"asked"') == 2
    assert "10.0.0." not in lines  # Clients are not to be remembered.


async def test_paths_that_a_client_makes_up_take_no_room_from_files(desk: Desk) -> None:
    for number in range(2 * MOST_ABSENT):
        desk.recorder.note(Request(Kind.ABSENT, "maas", f"made/up/{number}"), "10.0.0.1")
    desk.recorder.note(got(1), "10.0.0.1")
    taken = await desk.taken()
    desk.recorder.note(Request(Kind.ABSENT, "maas", "one/more"), "10.0.0.1")
    assert (await desk.taken()).files.keys() == taken.files.keys()
    assert len(taken.of_kind(Kind.ABSENT)) == MOST_ABSENT
    assert len(taken.of_kind(Kind.GOT)) == 1


async def test_what_cannot_be_written_is_written_later(desk: Desk, tmp_path: Path) -> None:
    asked = tmp_path / "recordings/lab/asked.jsonl"
    await desk.threads.disk(asked.mkdir)
    desk.recorder.note(got(1), "10.0.0.1")
    await desk.recorder.write_down()
    await desk.threads.disk(desk.folder.settle, NOW)
    command = await desk.threads.disk(Board, tmp_path / "boards/.recordings")
    assert not await desk.threads.disk(command.wait_until_written, 0.0)
    await desk.threads.disk(asked.rmdir)
    desk.recorder.note(got(2), "10.0.0.1")
    assert len((await desk.taken()).files) == 2
    assert await desk.pinned() == {item(1).digest, item(2).digest}
    assert await desk.threads.disk(command.wait_until_written, 0.0)
    command.close()


async def test_a_line_that_was_cut_off_is_passed_over(desk: Desk, tmp_path: Path) -> None:
    desk.recorder.note(got(1), "10.0.0.1")
    await desk.taken()
    asked = tmp_path / "recordings/lab/asked.jsonl"

    def cut() -> None:
        with asked.open("ab") as file:
            file.write(b'\n{"asked": {"kind": "got", "mirr')

    await desk.threads.disk(cut)
    desk.recorder.note(got(2), "10.0.0.1")
    assert [one.path for one in (await desk.taken()).of_kind(Kind.GOT)] == ["noble/1", "noble/2"]


async def test_a_recording_that_is_deleted_takes_nothing_more(desk: Desk) -> None:
    desk.recorder.note(got(1), "10.0.0.1")
    await desk.taken()
    await desk.threads.disk(desk.folder.delete, "lab", NOW)
    assert not desk.recorder.is_on
    await desk.threads.disk(desk.folder.begin, LAB)
    desk.recorder.note(got(2), "10.0.0.1")
    assert [one.path for one in (await desk.taken()).of_kind(Kind.GOT)] == ["noble/2"]


async def test_what_a_full_disk_cuts_off_is_written_down_again(desk: Desk, tmp_path: Path) -> None:
    desk.recorder.note(got(1), "10.0.0.1")
    await desk.taken()
    path = tmp_path / "recordings/lab/asked.jsonl"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    desk.recorder.note(got(2), "10.0.0.1")
    desk.recorder.note(got(3), "10.0.0.1")
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, limits[1]))
    try:
        assert len((await desk.taken()).files) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [one.path for one in (await desk.taken()).files.values()] == [item(n).path for n in (1, 2, 3)]


async def test_what_a_full_disk_leaves_no_room_for_is_counted(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.recordings.recorder._MOST_NOTED", 3)
    for number in range(5):
        desk.recorder.note(got(number), "10.0.0.1")
    path = tmp_path / "recordings/lab/asked.jsonl"
    path.mkdir()
    await desk.recorder.write_down()
    path.rmdir()
    taken = await desk.taken()
    assert (len(taken.files), taken.unnoted) == (3, 2)
