"""Lines on their way to real pipes, sockets and files: whole, in order, and nobody waits for a reader."""

import contextlib
import fcntl
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from select import PIPE_BUF
from typing import NamedTuple

import pytest

from proxy.logs.destination import Destination, standard_error
from proxy.logs.writer import ROOM_BYTES, ROOM_FOR_TROUBLE_BYTES, LineWriter

WITHIN_S = 10.0
LINE = "x" * 99 + "\n"


class Pipe(NamedTuple):
    """A pipe, and what writes lines to it."""

    read_end: int
    write_end: int
    writer: LineWriter

    def read_lines(self, until: Callable[[list[str]], bool]) -> list[str]:
        """Read until there is enough."""
        data = b""
        while not (data.endswith(b"\n") and until(data.decode().splitlines())):
            more = os.read(self.read_end, 65536)
            assert more, "the pipe has ended"
            data += more
        return data.decode().splitlines()


def dropped_note(count: int) -> str:
    return f"dropped {count}\n"


def made(fd: int) -> LineWriter:
    return LineWriter(standard_error({}, fd), dropped_note)


@pytest.fixture
def pipe(request: pytest.FixtureRequest) -> Iterator[Pipe]:
    """Open a pipe, or the stream socket that the journal is."""
    if getattr(request, "param", "pipe") == "pipe":
        read_end, write_end = os.pipe()
    else:
        read_end, write_end = (end.detach() for end in socket.socketpair())
    writer = made(write_end)
    yield Pipe(read_end, write_end, writer)
    with contextlib.suppress(OSError):
        os.set_blocking(read_end, False)
        while not writer.settle(0.01):
            with contextlib.suppress(BlockingIOError):
                os.read(read_end, 1024 * 1024)
    for fd in (read_end, write_end):
        os.close(fd)


def fill(writer: LineWriter, lines: int) -> float:
    """Put so many numbered lines; return how long the slowest took."""
    slowest = 0.0
    for number in range(lines):
        began = time.perf_counter()
        writer.put(f"{number:098d}\n")
        slowest = max(slowest, time.perf_counter() - began)
    return slowest


def test_a_line_is_there_at_once_when_there_are_few(pipe: Pipe) -> None:
    for number in range(3):
        began = time.monotonic()
        pipe.writer.put(f"line {number}\n")
        assert os.read(pipe.read_end, 100) == f"line {number}\n".encode()
        assert time.monotonic() - began < 10
        assert pipe.writer._waiting_bytes == 0


def test_many_lines_are_few_writes(tmp_path: Path) -> None:
    """As many as stay together whatever others write: of a pipe PIPE_BUF, of a socket and a file more."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        # Each write is a message of its own.
        writer = made(ours.fileno())
        for _ in range(1000):
            writer.put(LINE)
        sizes: list[int] = []
        while sum(sizes) < 1000 * len(LINE):
            sizes.append(len(theirs.recv(65536)))
        assert writer.settle(WITHIN_S)
    assert PIPE_BUF < max(sizes) <= 4 * PIPE_BUF
    assert len(sizes) < 10
    assert all(size % len(LINE) == 0 for size in sizes)
    with (tmp_path / "log").open("ab") as file:
        assert standard_error({}, file.fileno()).largest_write_bytes > 4 * PIPE_BUF


def test_lines_of_several_threads_are_all_written(tmp_path: Path) -> None:
    with (tmp_path / "log").open("ab") as file:
        writer = made(file.fileno())
        threads = [threading.Thread(target=fill, args=(writer, 2000)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert writer.settle(WITHIN_S)
    lines = (tmp_path / "log").read_text().splitlines()
    assert sorted(map(int, lines)) == sorted([*range(2000)] * 4)


def test_nobody_waits_for_a_reader_that_has_stopped_and_it_is_told_what_is_lacking(pipe: Pipe) -> None:
    """Kept is what has room; the note stands where the lines are lacking."""
    counted: list[int] = []
    lines = 3 * ROOM_BYTES // 99
    assert fill(pipe.writer, lines // 2) < 1
    pipe.writer.count_dropped_by(counted.append)
    assert fill(pipe.writer, lines // 2) < 1
    held_bytes = pipe.writer._waiting_bytes + len(pipe.writer._data) - pipe.writer._written
    assert held_bytes < ROOM_BYTES + 2 * PIPE_BUF
    assert not pipe.writer.settle(0.1)

    got = pipe.read_lines(lambda lines: lines[-1].startswith("dropped"))
    pipe.writer.put("again\n")
    got += pipe.read_lines(lambda lines: lines[-1] == "again")

    first = [int(line) for line in got[:-2] if not line.startswith("dropped")]
    kept = next(number for number, line in enumerate(got) if line.startswith("dropped"))
    assert first[:kept] == list(range(kept))
    assert got[-1] == "again"
    assert sum(counted) == 2 * (lines // 2) - len(first)
    assert sum(int(line.split()[1]) for line in got if line.startswith("dropped")) == sum(counted)


def test_a_flood_leaves_room_for_trouble(pipe: Pipe) -> None:
    fill(pipe.writer, 3 * ROOM_BYTES // 99)
    pipe.writer.put("trouble\n", ROOM_FOR_TROUBLE_BYTES)
    got = pipe.read_lines(lambda lines: lines[-1] == "trouble")
    assert got[-2].startswith("dropped")


def test_a_reader_that_comes_back_gets_what_it_missed(tmp_path: Path) -> None:
    """A write to a pipe without a reader fails; what it was to write is kept."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    read_end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    write_end = os.open(path, os.O_WRONLY)
    os.close(read_end)
    writer = made(write_end)
    writer.put("missed\n")
    assert not writer.settle(0.1)
    with path.open("rb", buffering=0) as reader:
        assert reader.read(100) == b"missed\n"
    assert writer.settle(WITHIN_S)
    os.close(write_end)


def test_a_disk_that_was_full_gets_what_was_kept() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    writer = made(full)
    writer.put("kept\n")
    assert not writer.settle(0.1)
    read_end, write_end = os.pipe()
    os.dup2(write_end, full)
    assert os.read(read_end, 100) == b"kept\n"
    assert writer.settle(WITHIN_S)
    for fd in (full, read_end, write_end):
        os.close(fd)


def test_a_pipe_that_somebody_made_non_blocking_gets_all(pipe: Pipe) -> None:
    """And stays so: others share it, who know why."""
    os.set_blocking(pipe.write_end, False)
    lines = ROOM_BYTES // 2 // 99
    fill(pipe.writer, lines)
    assert not pipe.writer.settle(0.2)
    got = pipe.read_lines(lambda got: len(got) >= lines)
    assert list(map(int, got)) == list(range(lines))
    assert not os.get_blocking(pipe.write_end)


def test_a_pipe_stays_as_blocking_as_it_was(pipe: Pipe) -> None:
    flags = fcntl.fcntl(pipe.write_end, fcntl.F_GETFL)
    pipe.writer.put(LINE)
    assert pipe.writer.settle(WITHIN_S)
    assert fcntl.fcntl(pipe.write_end, fcntl.F_GETFL) == flags


@pytest.mark.parametrize("pipe", ["pipe", "socket"], indirect=True)
def test_lines_of_several_processes_stay_whole_though_the_reader_is_slow(pipe: Pipe) -> None:
    children = []
    for letter in "abc":
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(BaseException):
                for number in range(600):
                    pipe.writer.put(letter * (1 + number * 7919 % 3999) + "\n", 10 * ROOM_BYTES)
                pipe.writer.settle(60)
            os._exit(0)
        children.append(pid)
    os.close(pipe.write_end)
    data = b""
    while more := os.read(pipe.read_end, 3000):
        data += more
    for pid in children:
        os.waitpid(pid, 0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), pipe.write_end)
    lines = data.decode().splitlines()
    assert len(lines) == 3 * 600
    assert [line for line in lines if len(set(line)) != 1] == []


def test_a_child_leaves_its_parents_lines_to_the_parent(pipe: Pipe) -> None:
    """Also when the parent's thread stands in a write: forking does not wait for the reader."""
    fill(pipe.writer, 3 * ROOM_BYTES // 99)
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        pipe.writer.put("child\n")
        os._exit(0 if len(pipe.writer._lines) == 1 and not pipe.writer._untold else 1)
    assert time.monotonic() - began < 20
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    got = pipe.read_lines(lambda lines: lines[-1].startswith("dropped"))
    assert [line for line in got if line == "child"] == []


def test_no_thread_is_there_while_the_process_forks(pipe: Pipe) -> None:
    pipe.writer.put(LINE)
    pid = os.fork()
    if pid == 0:
        # The parent's line is out, and what the child says comes after it.
        pipe.writer.put("child\n")
        os._exit(0 if pipe.writer.settle(WITHIN_S) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    pipe.writer.put("parent\n")
    got = pipe.read_lines(lambda lines: len(lines) == 3)
    assert got == [LINE.strip(), "child", "parent"]


def test_whoever_counts_dropped_lines_may_log_itself(pipe: Pipe) -> None:
    """As the collector may, at any moment."""
    counted: list[int] = []

    def count(lines: int) -> None:
        counted.append(lines)
        pipe.writer.put(LINE)

    fill(pipe.writer, 2 * ROOM_BYTES // 99)
    pipe.writer.count_dropped_by(count)
    # The thread may only now have filled the pipe, and so have made room once more.
    fill(pipe.writer, 2 * ROOM_BYTES // 99)
    assert len(counted) >= 2
    pipe.writer.count_dropped_by(None)


def test_whatever_is_logged_while_lines_are_taken_is_written_too(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the collector may, at any moment, in the thread itself."""

    def encode(text: str) -> bytes:
        if "first" in text:
            pipe.writer.put("second\n")
        return text.encode()

    monkeypatch.setattr("proxy.logs.writer.encoded", encode)
    pipe.writer.put("first\n")
    assert pipe.read_lines(lambda lines: len(lines) == 2) == ["first", "second"]


def test_what_is_no_open_file_stops_nobody() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    os.close(write_end)
    writer = LineWriter(Destination(write_end, PIPE_BUF, is_journal=False), dropped_note)
    writer.put(LINE)
    assert not writer.settle(0.05)
    os.dup2(os.open(os.devnull, os.O_WRONLY), write_end)
    assert writer.settle(WITHIN_S)


def test_a_thread_that_fails_is_followed_by_another_which_writes_what_it_left(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one may that gets no memory; nothing is lost."""
    failed = threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda _: failed.set())
    pipe.writer.put("first\n")
    assert pipe.writer.settle(WITHIN_S)
    with monkeypatch.context() as patch:
        patch.setattr("proxy.logs.writer.encoded", lambda text: text.no_memory)
        pipe.writer.put("second\n")
        assert failed.wait(WITHIN_S)
    pipe.writer.put("third\n")
    assert pipe.writer.settle(WITHIN_S)
    assert os.read(pipe.read_end, 100) == b"first\nsecond\nthird\n"
