"""Who does something: told from a later process of the same id, and taken for dead only when it is."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.descriptors import no_more_descriptors
from support.holding import ROOT, Holding

from proxy.store.processes import Process

NAMED = """
from proxy.store.processes import Process
open("/proc/self/comm", "wb").write(bytes.fromhex(sys.argv[2]))
one = Process.own()
open(sys.argv[1], "w").write(f"{one.pid} {one.started_ticks}")
"""


def started_as(name: bytes, folder: Path) -> tuple[Holding, Process]:
    """Have a process say what it is, under a name of its own."""
    holding = Holding(NAMED, folder / "process", name.hex())
    pid, started_ticks = (folder / "process").read_text().split()
    return holding, Process(int(pid), int(started_ticks))


@pytest.mark.parametrize(
    "name", [b"plain", b"a) S 1 (b", "überwachungsdüse".encode()[:15], b"\xff\xfe"], ids=repr
)
def test_a_process_of_any_name_is_alive_until_it_ends(tmp_path: Path, name: bytes) -> None:
    """Only itself, not what had its id before."""
    holding, process = started_as(name, tmp_path)
    with holding:
        assert process.started_ticks
        assert process.is_alive
        assert not Process(process.pid, process.started_ticks + 1).is_alive
    assert not process.is_alive


def test_who_cannot_look_takes_a_process_for_dead_only_when_there_is_none_of_its_id(tmp_path: Path) -> None:
    """Whoever had no descriptor left to look with: itself when it wrote its record, or whoever reads that."""
    holding, process = started_as(b"plain", tmp_path)
    untold = Process(process.pid, 0)
    with holding:
        assert untold.is_alive
        with no_more_descriptors():
            assert process.is_alive
            assert untold.is_alive
    with no_more_descriptors():
        assert not process.is_alive
    assert not untold.is_alive


@pytest.mark.parametrize("pid", [0, 2**22 + 1, 2**31, 2**53])
def test_an_id_that_no_process_has_is_of_none(pid: int) -> None:
    assert not Process(pid, 0).is_alive
    assert not Process(pid, 1).is_alive


LOOKS_TOO_EARLY = """
from support.descriptors import no_more_descriptors
from proxy.store.processes import Process
with no_more_descriptors():
    assert Process.own().started_ticks == 0
assert Process.own().started_ticks > 0
"""

FORKS = """
import os
from proxy.store.processes import Process
parent = Process.own()
if child := os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
assert Process.own().pid == os.getpid() != parent.pid
assert Process.own().is_alive
"""


@pytest.mark.parametrize("code", [LOOKS_TOO_EARLY, FORKS])
def test_what_a_process_has_found_out_of_itself_counts_for_it_alone_and_what_it_has_not_never(
    code: str,
) -> None:
    """It looks once: not before it can, and again after a fork."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}"],
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
