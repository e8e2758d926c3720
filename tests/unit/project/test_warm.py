"""A command that is forked from the process that has read the program behaves as one that was started."""

import os
import select
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands import run_program
from support.warm import WarmProcess, wait_warm

SERVE = ["serve", "--offline", "--listen", "127.0.0.1:0", "--workers", "1", "--data-dir"]


@pytest.fixture
def told() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    yield read, write
    os.close(read)
    os.close(write)


def serving(folder: Path, told: tuple[int, int]) -> WarmProcess:
    """Start the service; return when it has told where it listens."""
    process = WarmProcess([*SERVE, str(folder / "data")], stdout=told[1], stderr=told[1])
    text = b""
    while b"listening on" not in text:
        text += os.read(told[0], 4096)
    return process


@pytest.mark.parametrize(
    "arguments",
    [["sync", "--nonsense"], ["check-config", "--config", "nowhere.toml"], ["completion", "bash"]],
)
def test_its_status_and_words_are_those_of_one_that_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))

    status, out, err = wait_warm(arguments)

    started = run_program(*arguments, folder=tmp_path)
    assert (status, out.decode(), err.decode()) == (started.returncode, started.stdout, started.stderr)


def test_it_hears_signals_and_tells_its_end(tmp_path: Path, told: tuple[int, int]) -> None:
    with serving(tmp_path, told) as process:
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert process.returncode == 0
        process.kill()  # As with Popen, that is no fault when it has ended.


def test_its_status_tells_which_signal_has_ended_it(tmp_path: Path, told: tuple[int, int]) -> None:
    with serving(tmp_path, told) as process:
        process.kill()
        assert process.wait(20) == -signal.SIGKILL


def test_it_ends_when_nobody_waits_for_it_any_more(tmp_path: Path, told: tuple[int, int]) -> None:
    with serving(tmp_path, told) as process:
        ended = os.pidfd_open(process.pid)
    try:
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        assert poll.poll(20_000)
    finally:
        os.close(ended)
