"""What commands wrote down, told in a server's log."""

import asyncio
import json
import logging
from pathlib import Path

import pytest

from proxy.jobs.audit import Audit, AuditReader, Done, append
from proxy.system.threads import Threads


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.log"


def line(who: str, what: str = "release=noble") -> dict[str, object]:
    return {"time": 1.0, "by": who, "what": what, "action": "pin", "text": "done", "blobs": 1, "bytes": 2}


def test_what_commands_add_is_told_once_and_what_was_there_is_not(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    append(path, line("user early"))
    reader = AuditReader(path)
    reader.tell_commands()
    assert caplog.messages == []
    append(path, line("user ann"))
    append(path, line("client 127.0.0.1"))  # Its worker has told already.
    reader.tell_commands()
    reader.tell_commands()
    assert caplog.messages == [
        "admin.done action=pin by=user ann what=release=noble blobs=1 bytes=2 text=done"
    ]


def test_half_a_line_waits_for_its_end_and_a_new_file_is_read_from_its_beginning(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    reader = AuditReader(path)
    reader.tell_commands()  # There is none yet.
    text = json.dumps(line("user ann")) + "\n"
    path.write_text(text[:20])
    reader.tell_commands()
    path.write_text(text * 3)
    reader.tell_commands()
    assert len(caplog.messages) == 3
    path.write_text(text)
    reader.tell_commands()
    path.unlink()
    reader.tell_commands()
    path.write_text(text)
    reader.tell_commands()
    assert len(caplog.messages) == 5


@pytest.mark.parametrize("is_full", [False, True])
async def test_what_is_done_is_told_in_the_same_form_though_the_disk_is_full(
    path: Path, caplog: pytest.LogCaptureFixture, is_full: bool
) -> None:
    caplog.set_level(logging.INFO)
    reader = AuditReader(path)
    if is_full:
        await asyncio.to_thread(path.symlink_to, "/dev/full")
    threads = Threads()
    try:
        done = Done(action="import", text="is served", blobs=1, bytes=2)
        await Audit(threads, path.parent, "user ann").write_down(done, "usb")
    finally:
        await threads.close()
    told = "admin.done action=import by=user ann what=usb blobs=1 bytes=2 text=is served"
    if is_full:
        assert caplog.messages == [told, "audit.not_written problem=[Errno 28] No space left on device"]
        return
    await asyncio.to_thread(reader.tell_commands)
    assert caplog.messages == [told, told]
    first, second = (one.args for one in caplog.records)
    assert first == second


@pytest.mark.parametrize(
    "odd",
    [
        b"\n",
        b"\xff\xfe\n",
        b"no JSON\n",
        b"[1]\n",
        b'"user"\n',
        b"{}\n",
        b'{"by": 7}\n',
        b"[" * 5000 + b"\n",
        b"x" * 600_000 + b"\n",
        b"x" * (256 * 1024),
        b'{"by": "user a", "text": {"a": [1]}, "blobs": "many"}\n',
    ],
    ids=lambda odd: repr(odd[:30]),
)
def test_an_odd_line_hides_no_other(path: Path, caplog: pytest.LogCaptureFixture, odd: bytes) -> None:
    caplog.set_level(logging.INFO)
    reader = AuditReader(path)
    path.write_bytes(odd)
    with path.open("a") as file:
        file.write("\n")
    append(path, line("user ann", "x" * 10_000))
    for _ in range(5):
        reader.tell_commands()
    (message,) = (one for one in caplog.messages if "by=user ann" in one)
    assert len(message) < 1000
