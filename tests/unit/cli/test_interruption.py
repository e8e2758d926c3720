"""An interruption ends a command, whatever its threads wait for."""

import signal
import subprocess
import sys

import pytest

WORK = """
import asyncio, os, sys, threading
from proxy.cli.interruption import Interruption

reading, writing = os.pipe()

async def work(interruption):
    interruption.watch()
    print("works", flush=True)
    {work}

interruption = Interruption("all is kept", patience_s=0.1)
try:
    asyncio.run(work(interruption))
except (KeyboardInterrupt, asyncio.CancelledError):
    interruption.tell()
    raise SystemExit(interruption.exit_code) from None
"""
FOREVER = "await asyncio.Event().wait()"
IN_A_THREAD = "await asyncio.to_thread(os.read, reading, 1)"
IN_THE_LOOP = "os.read(reading, 1)"
UNREAD = "threading.Thread(target=lambda: print('x' * 10_000_000, file=sys.stderr), daemon=True).start()"


@pytest.mark.parametrize(
    "work", [FOREVER, IN_A_THREAD, IN_THE_LOOP], ids=["waits", "blocks in a thread", "blocks"]
)
@pytest.mark.parametrize(("sent", "ends"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_tells_once_what_is_kept(work: str, sent: signal.Signals, ends: int) -> None:
    with started(work) as process:
        process.send_signal(sent)
        assert process.communicate(timeout=60)[1] == "interrupted; all is kept\n"
    assert process.returncode == ends


def test_a_terminal_or_pipe_that_takes_nothing_holds_up_no_end() -> None:
    with started(f"{UNREAD}; {FOREVER}") as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 143


def test_what_the_parent_wants_ignored_interrupts_nothing() -> None:
    ignoring = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    with started(f"os.kill(os.getpid(), {signal.SIGINT}); await asyncio.sleep(0.1)", ignoring) as process:
        assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 0


def started(work: str, before: str = "") -> "subprocess.Popen[str]":
    # A suite that runs in the background may have inherited that interruptions are ignored.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{before or heard}\n{WORK.format(work=work)}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "works\n"
    return process
